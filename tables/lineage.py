"""Where a decision stands among all that a partition remembers, its own and what it has inherited. Pure.

A rank is one number: of two decisions about an id the one with the higher rank is the later one. The index
has 48 bits for it.

    1 <47 bits of offset>                      a decision of the partition's own
    0 <7 bits of generation> <40 of offset>    one of a partition in which its tenants were before

Each growth at least doubles the number of partitions, and a tenant moves from p to p + k * partitions. So of
those in which it was one after the other each has a binary digit more than the one before: its generation.
"""

from streams.errors import MalformedRecord
from streams.models import Origin
from streams.wire.decision import LARGEST_INHERITED_OFFSET, LARGEST_OFFSET

OWN = LARGEST_OFFSET + 1
_OFFSET_BITS = LARGEST_INHERITED_OFFSET.bit_length()


def is_own(rank: int) -> bool:
    """Tell whether a decision is the partition's own."""
    return rank >= OWN


def offset_of(rank: int) -> int:
    """Return the offset, in its own partition, of the chunk that a decision is about."""
    return rank - OWN if is_own(rank) else rank & LARGEST_INHERITED_OFFSET


def rank_of(origin: Origin) -> int:
    """Return the rank of a decision that was inherited."""
    return origin.partition.bit_length() << _OFFSET_BITS | origin.offset


class Lineage:
    """The partitions from which one has inherited, by generation."""

    __slots__ = ("_epochs", "_partitions")

    def __init__(self) -> None:
        self._partitions: dict[int, int] = {}
        self._epochs: dict[int, int] = {}

    def __bool__(self) -> bool:
        return bool(self._partitions)

    def enter(self, origin: Origin, epoch: int) -> int:
        """Note a decision that was inherited, and the epoch that it was made in; return its rank.

        Raises:
            MalformedRecord: if another partition of its generation is known.
        """
        generation = origin.partition.bit_length()
        known = self._partitions.setdefault(generation, origin.partition)
        if known != origin.partition:
            raise MalformedRecord(f"tenants cannot have come from both {known} and {origin.partition}")
        self._epochs[generation] = max(epoch, self._epochs.get(generation, 0))
        return rank_of(origin)

    def origin_at(self, rank: int) -> Origin:
        """Return where a decision was made that was inherited."""
        return Origin(self._partitions[rank >> _OFFSET_BITS], offset_of(rank))

    def epoch_at(self, rank: int) -> int:
        """Return the last epoch of the partition in which such a decision was made."""
        return self._epochs[rank >> _OFFSET_BITS]
