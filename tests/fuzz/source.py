"""Structured values from the fuzzer's bytes."""

from collections.abc import Sequence
from typing import TypeVar

T = TypeVar("T")


class Source:
    """Takes values off the front of some bytes; once they are used up, everything is zero or empty."""

    def __init__(self, data: bytes) -> None:
        self._data = data
        self._at = 0

    def __bool__(self) -> bool:
        return self._at < len(self._data)

    def take(self, count: int) -> bytes:
        """Take up to `count` bytes."""
        taken = self._data[self._at : self._at + count]
        self._at += len(taken)
        return taken

    def line(self) -> bytes:
        """Take what stands before the next line break, and the break itself."""
        line = self._data[self._at :].partition(b"\n")[0]
        self._at += len(line) + 1
        return line

    def rest(self) -> bytes:
        """Take everything."""
        return self.take(len(self._data))

    def number(self, count: int = 1) -> int:
        """Take an unsigned number of `count` bytes."""
        return int.from_bytes(self.take(count))

    def pick(self, options: Sequence[T]) -> T:
        """Choose by one byte."""
        return options[self.number() % len(options)]

    def block(self) -> bytes:
        """Take bytes that begin with how many they are, in two bytes."""
        return self.take(self.number(2))

    def text(self) -> str:
        """Take a short text; what is no UTF-8 is replaced."""
        return self.take(self.number() % 64).decode(errors="replace")
