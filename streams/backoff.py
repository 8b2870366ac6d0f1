"""How long to wait before trying again."""

import random
from collections.abc import Iterator


def delays(first_s: float = 0.1, most_s: float = 5.0) -> Iterator[float]:
    """Yield waits in seconds: each twice the one before, up to `most_s`, less up to half at random.

    The random part keeps many workers from coming back to a server in the same instant.
    """
    delay_s = first_s
    while True:
        yield delay_s * random.uniform(0.5, 1.0)  # noqa: S311 - spreads load, guards nothing
        delay_s = min(delay_s * 2, most_s)
