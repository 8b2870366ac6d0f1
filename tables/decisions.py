"""When each decision that a partition remembers was made, and where the index has its ids.

Owned by a partition's state, beside the index in `tables.fingerprints`. At low rates a chunk holds one
message, so a decision may cost no more than an id. Offsets of ``metrics.raw`` are dense, so the decisions lie
in blocks of typed arrays that are addressed by the offset itself: 16 bytes for each decision and 4 for each
of its ids. A dict of tuples took 210 for each decision.
"""

from array import array
from bisect import bisect_left, insort
from collections.abc import Iterator
from typing import NamedTuple

BLOCK = 512
"""Decisions in a block: a byte of overhead for each, and never much that waits for the last to leave."""
_NUMBER_BITS = BLOCK.bit_length() - 1
_WITHIN = BLOCK - 1

_ABSENT = 0xFFFF_FFFF
_NO_TIMES = array("d", [0.0]) * BLOCK
_NO_COUNTS = array("I", [0]) * BLOCK
_NO_STARTS = array("I", [_ABSENT]) * BLOCK


class Remembered(NamedTuple):
    """A decision, of which the index has the fingerprints."""

    offset: int
    decided_at: float
    """Unix time in seconds."""
    ids: int
    """How many fingerprints it had."""


class _Block:
    """The decisions of `BLOCK` successive offsets."""

    __slots__ = ("counts", "decided_at", "first", "held", "places", "starts")

    def __init__(self) -> None:
        self.decided_at = _NO_TIMES[:]
        self.starts = _NO_STARTS[:]  # in `places`
        self.counts = _NO_COUNTS[:]
        self.places = array("I")
        self.held = 0
        self.first = BLOCK
        """No decision stands before here: saves eviction from walking over those that are gone."""


class Decisions:
    """The decisions of one partition by offset, in any order of arrival."""

    __slots__ = ("_blocks", "_numbers", "ids")

    def __init__(self) -> None:
        self._blocks: dict[int, _Block] = {}
        self._numbers: list[int] = []  # of the blocks, ascending
        self.ids = 0

    def __iter__(self) -> Iterator[Remembered]:
        """Yield every decision, the oldest (which is the one with the lowest offset) first."""
        for number in self._numbers:
            block = self._blocks[number]
            for at in range(block.first, BLOCK):
                if block.starts[at] != _ABSENT:
                    yield Remembered(number * BLOCK + at, block.decided_at[at], block.counts[at])

    def decided_at(self, offset: int) -> float:
        """Return when a decision that is held was made, in Unix time."""
        return self._blocks[offset >> _NUMBER_BITS].decided_at[offset & _WITHIN]

    def holds(self, offset: int) -> bool:
        """Tell whether a decision is held."""
        block = self._blocks.get(offset >> _NUMBER_BITS)
        return block is not None and block.starts[offset & _WITHIN] != _ABSENT

    def any_between(self, low: int, high: int) -> bool:
        """Tell whether a decision is held that is later than `low` and earlier than `high`."""
        for number in self._numbers[bisect_left(self._numbers, (low + 1) >> _NUMBER_BITS) :]:
            first = number * BLOCK
            starts = self._blocks[number].starts[max(low + 1 - first, 0) : max(high - first, 0)]
            if any(start != _ABSENT for start in starts):
                return True
            if first >= high:
                return False
        return False

    def put(self, offset: int, decided_at: float, places: "array[int]") -> None:
        """Take in a decision that is not held."""
        number, at = offset >> _NUMBER_BITS, offset & _WITHIN
        block = self._blocks.get(number)
        if block is None:
            block = self._blocks[number] = _Block()
            insort(self._numbers, number)
        block.decided_at[at] = decided_at
        block.starts[at] = len(block.places)
        block.counts[at] = len(places)
        block.places += places
        block.held += 1
        if at < block.first:  # noqa: PLR1730 - min() is a call, a quarter of what this takes
            block.first = at
        self.ids += len(places)

    def pop(self, offset: int) -> "array[int] | None":
        """Forget a decision; return the places of its ids, or None if it is not held."""
        number, at = offset >> _NUMBER_BITS, offset & _WITHIN
        block = self._blocks.get(number)
        if block is None or block.starts[at] == _ABSENT:
            return None
        start, count = block.starts[at], block.counts[at]
        places = block.places[start : start + count]
        # The places stay in the array until the block goes: to close the gap would move all behind it.
        block.starts[at] = _ABSENT
        block.held -= 1
        self.ids -= count
        if not block.held:
            del self._blocks[number]
            # Nearly always the first, since the oldest are evicted first.
            self._numbers.remove(number)
        while block.held and block.starts[block.first] == _ABSENT:
            block.first += 1
        return places
