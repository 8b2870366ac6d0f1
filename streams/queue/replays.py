"""Tells which chunks were handed off before: those of which the log itself shows that they were.

Between handoff and metrics.unique. refine emits a chunk again after a crash, and a worker that was frozen
may do so much later. Such a replay has the epoch, raw offset and digest of a chunk that was handed off. A
lower offset alone proves nothing: what is not proved is handed off, since rows stay single.
"""

import logging
from collections.abc import Iterable, Sequence
from typing import NamedTuple

from streams.kafka.histories import Emitted, Histories
from streams.statistics import Statistics

log = logging.getLogger(__name__)

REMEMBERED = 512
UNPROVED = (
    "%s[%d] offset %d: raw offset %d comes behind %d, but nothing shows that it was handed off before: it is "
    "handed off. If it was, its rows are written once more, with the same content"
)


class Chunk(NamedTuple):
    """What a chunk of metrics.unique is known by."""

    epoch: int
    raw_offset: int
    digest: bytes
    """Of its raw record; empty where an older version has emitted it."""

    @property
    def place(self) -> tuple[int, int]:
        """By which chunks follow each other."""
        return self.epoch, self.raw_offset

    def is_same(self, digest: bytes) -> bool:
        """Tell whether a chunk with the same epoch and raw offset is the same one."""
        return not self.digest or not digest or self.digest == digest


class _Partition:
    def __init__(self) -> None:
        self.digests: dict[tuple[int, int], bytes] = {}
        self.newest = (-1, -1)
        self.end = 0
        self.told = -1

    def note(self, chunk: Chunk, unique_offset: int) -> None:
        self.end = max(self.end, unique_offset + 1)
        place = chunk.place
        self.digests[place] = chunk.digest
        self.newest = max(self.newest, place)
        while len(self.digests) > REMEMBERED:
            del self.digests[next(iter(self.digests))]


class Replays:
    """What was handed off of each partition: the latest in memory, the rest in the log."""

    def __init__(self, histories: Histories, statistics: Statistics, topic: str) -> None:
        self._histories = histories
        self._statistics = statistics
        self._topic = topic
        self._partitions: dict[int, _Partition] = {}

    def restart(self, partition: int, handed_off: Iterable[Emitted]) -> None:
        """Begin with the chunks of the log that lie before a partition's position."""
        self._partitions[partition] = remembered = _Partition()
        for emitted in handed_off:
            chunk = Chunk(emitted.epoch, emitted.raw_offset, emitted.digest)
            remembered.note(chunk, emitted.offset)

    def note(self, partition: int, chunk: Chunk, unique_offset: int) -> None:
        """Note a chunk that was handed off."""
        self._partitions.setdefault(partition, _Partition()).note(chunk, unique_offset)

    def is_behind(self, partition: int, unique_offset: int) -> bool:
        """Tell whether this very record was handed off, since one at or behind its offset was."""
        return unique_offset < self._partitions.setdefault(partition, _Partition()).end

    async def is_proved(
        self, partition: int, chunk: Chunk, unique_offset: int, together: Sequence[Chunk] = ()
    ) -> bool:
        """Tell whether the log shows that a chunk was handed off before.

        Args:
            partition: of metrics.unique.
            chunk: that stands there at `unique_offset`.
            unique_offset: all before it was handed off, or is handed off with it.
            together: the chunks that are handed off with it, before it.

        Raises:
            Outage: if Kafka does not answer.
        """
        known = self._partitions.setdefault(partition, _Partition())
        place = chunk.place
        beside = [other.digest for other in together if other.place == place]
        newest = max([known.newest, *(other.place for other in together)])
        if place > newest:
            return False
        if place in known.digests or beside:
            return any(
                chunk.is_same(digest) for digest in (*beside, known.digests.get(place)) if digest is not None
            )
        for emitted in await self._histories.find_emitted(partition, place, unique_offset):
            if chunk.is_same(emitted.digest):
                return True
        if known.told != unique_offset:  # once, however often the push is tried
            known.told = unique_offset
            self._statistics.notes["unproved_replays"] += 1
            log.error(UNPROVED, self._topic, partition, unique_offset, chunk.raw_offset, newest[1])
        return False
