"""What is fuzzed, one small module each.

A target has ``fuzz(data)``, which raises where a claim about the bytes does not hold, ``SEEDS`` to begin
with, and ``WORDS`` that the engine mixes in. None needs the engine, so a finding can be replayed anywhere.
"""

from collections.abc import Sequence
from importlib import import_module
from pkgutil import iter_modules
from typing import Protocol, cast


class Target(Protocol):
    """A module of this package."""

    SEEDS: Sequence[bytes]
    WORDS: Sequence[bytes]

    def fuzz(self, data: bytes) -> None:
        """Raise where a claim does not hold."""


def names() -> list[str]:
    """Return the targets' names."""
    return sorted(module.name for module in iter_modules(__path__))


def load(name: str) -> Target:
    """Import a target, of this package or by its full name."""
    return cast("Target", import_module(name if "." in name else f"{__name__}.{name}"))
