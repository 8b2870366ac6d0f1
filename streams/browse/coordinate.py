"""A message's place in ``metrics.raw``, as people write it. Pure.

3-1841      the chunk: partition and offset of its record
3-1841-4    a message of it, by its index
"""

import re
from dataclasses import dataclass
from typing import Self

from streams.errors import BadArgument

_WRITTEN = re.compile(r"([0-9]{1,9})-([0-9]{1,18})(?:-([0-9]{1,9}))?", re.ASCII)


@dataclass(frozen=True, slots=True)
class Coordinate:
    """A chunk of ``metrics.raw``, or a message of it."""

    partition: int
    offset: int
    index: int | None = None
    """None for the whole chunk."""

    @classmethod
    def parse(cls, text: str) -> Self:
        """Read what a person has written.

        >>> Coordinate.parse("3-1841-4")
        Coordinate(partition=3, offset=1841, index=4)

        Raises:
            BadArgument: if it is none.
        """
        match = _WRITTEN.fullmatch(text.strip())
        if match is None:
            raise BadArgument(f"{text!r} is no coordinate: write PARTITION-OFFSET or PARTITION-OFFSET-INDEX")
        return cls(int(match[1]), int(match[2]), None if match[3] is None else int(match[3]))

    def __str__(self) -> str:
        message = "" if self.index is None else f"-{self.index}"
        return f"{self.partition}-{self.offset}{message}"

    def holds(self, other: "Coordinate") -> bool:
        """Tell whether another one is this, or a message of this chunk."""
        same_chunk = (self.partition, self.offset) == (other.partition, other.offset)
        return same_chunk and self.index in {None, other.index}
