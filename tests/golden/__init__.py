"""Records and payloads that others must be able to read, byte for byte, each with a line break at its end."""

from pathlib import Path


def golden(name: str) -> bytes:
    """Return a golden file's content."""
    return (Path(__file__).parent / name).read_bytes().removesuffix(b"\n")
