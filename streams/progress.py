"""How far a look through many records has come, for whoever shows that."""

from collections.abc import Callable

OnProgress = Callable[[int, int], None]
"""Told how many are done, and of how many."""


def quiet(done: int, total: int) -> None:
    """Show nothing."""
