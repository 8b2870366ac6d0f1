"""A target whose claim does not hold, to see that the engine, and not only a seed, finds that out."""

from streams.laravel.numeric import read_numeric

SEEDS = [b"1"]
WORDS = [b"."]


def fuzz(data: bytes) -> None:
    """Claim that no number has a fraction."""
    assert "." not in (read_numeric(data.decode(errors="replace")) or ""), "a fraction"
