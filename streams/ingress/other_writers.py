"""Notices what others write to ``metrics.raw`` between our records, and whether it stands above our term.

A worker of a second consumer group on the same topics may lead for a moment, until it is refused. What we
write under our term behind its records would be skipped as late. Our election does not change by that,
and between a look at the log and the next record anything may land. But each record tells where it landed.
Where offsets are missing, somebody else has written: that is read before ours counts as written.
"""

from streams.errors import DeliveryFailed
from streams.ingress.raw_tail import NEWEST, Tail, highest_term
from streams.wire.term import NO_TERM, Term

UNTOLD = 2 * NEWEST
"""So many records are looked at where one of ours may stand anywhere behind the last that told its place."""


class OtherWriters:
    """Knows where our next record should land in each partition.

    Args:
        tail: reads what landed there instead.
        topic: named in what is raised.
    """

    def __init__(self, tail: Tail, topic: str) -> None:
        self._tail = tail
        self._topic = topic
        self._next: dict[int, int] | None = None
        self._ours = NO_TERM
        self.highest = NO_TERM
        """The highest term that was found between our records."""

    def begin(self, ours: Term, ends: dict[int, int]) -> None:
        """Watch from now on, under this term.

        Args:
            ours: what we write under.
            ends: by partition, the offset that the next record will have.
        """
        self._ours, self._next = ours, dict(ends)

    def before(self, partition: int, offset: int) -> range | None:
        """Note where our record has landed; return the offsets right before it that others took."""
        if self._next is None:
            return None
        expected = self._next.get(partition, offset)
        if offset < 0:  # Kafka knew the record already, and no longer tells where it stands
            return range(expected, expected + UNTOLD) if expected >= 0 else None
        # Also where others wrote before it: those are looked at once.
        self._next[partition] = offset + 1
        return range(expected, offset) or None

    async def examine(self, partition: int, offsets: range) -> None:
        """Return if what stands at these offsets leaves our term the highest.

        What `rejected replay` puts back does, and what we wrote ourselves without being told so.

        Raises:
            DeliveryFailed: it does not: what we wrote behind it must be written again, under a higher one.
            Outage: if Kafka does not answer.
        """
        found = highest_term(await self._tail.between(partition, offsets))
        self.highest = max(self.highest, found)
        if found > self._ours:
            raise DeliveryFailed(
                self._topic,
                f"another consumer group has written to partition {partition} under a higher term; what we "
                "wrote behind it is written again",
            )
