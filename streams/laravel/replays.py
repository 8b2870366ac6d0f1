"""Tells which chunks were handed off before: those of which the log itself shows that they were.

Between handoff and metrics.unique. refine emits a chunk again after a crash, and a worker that was frozen
may do so much later. Such a replay has the epoch, raw offset and digest of a chunk that was handed off. A
lower offset alone proves nothing: what is not proved is handed off, since rows stay single.

With it refine has gone back, and all that it emits from there on is handed off again, too: were a later chunk
skipped because it had been handed off before, the older values of an earlier one would stay.
"""

import logging
from collections.abc import Iterable, Sequence
from typing import NamedTuple

from streams.counters import Note, Statistics
from streams.kafka.histories import Emitted, Histories

log = logging.getLogger(__name__)

REMEMBERED = 512
NOWHERE = (-1, -1)
"""Before every place."""
UNPROVED = (
    "%s[%d] offset %d: raw offset %d comes behind %d, but no record proves that it was handed off before. It "
    "is handed off, and so is what follows it. Rows that were written before are written again, in order"
)


class ChunkId(NamedTuple):
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
        self.newest = NOWHERE
        self.end = 0
        self.told = -1
        self.went_back_to, self.went_back_at = NOWHERE, -1
        """Where refine has gone back to, and the offset on metrics.unique at which it began there."""

    def note(self, chunk: ChunkId, unique_offset: int, *, is_replay: bool = False) -> None:
        self.end = max(self.end, unique_offset + 1)
        place = chunk.place
        # refine has gone back: what it had emitted from there on counts as not handed off, since it comes
        # anew.
        if place < self.newest and not is_replay:
            self.digests = {known: digest for known, digest in self.digests.items() if known < place}
            self.newest = NOWHERE
            self.went_back_to, self.went_back_at = place, unique_offset
        self.digests[place] = chunk.digest
        self.newest = max(self.newest, place)
        # The oldest first; what is older than all of these is looked up in the log.
        while len(self.digests) > REMEMBERED:
            del self.digests[next(iter(self.digests))]


class Replays:
    """What was handed off of each partition: the latest in memory, the rest in the log."""

    def __init__(self, histories: Histories, statistics: Statistics, topic: str) -> None:
        self._histories = histories
        self._statistics = statistics
        self._topic = topic
        self._partitions: dict[int, _Partition] = {}

    async def restart(self, partition: int, handed_off: Iterable[Emitted]) -> None:
        """Begin with the chunks of the log that lie before a partition's position.

        Raises:
            Outage: if Kafka does not answer.
        """
        remembered = _Partition()
        for emitted in handed_off:
            chunk = ChunkId(emitted.epoch, emitted.raw_offset, emitted.digest)
            is_replay = chunk.place < remembered.newest and (
                await self._proof(partition, remembered, chunk, emitted.offset)
            )
            remembered.note(chunk, emitted.offset, is_replay=is_replay)
        self._partitions[partition] = remembered

    def note(self, partition: int, chunk: ChunkId, unique_offset: int, *, is_replay: bool = False) -> None:
        """Note a chunk that was handed off, or skipped as a replay."""
        self._partitions.setdefault(partition, _Partition()).note(chunk, unique_offset, is_replay=is_replay)

    def goes_back(self, partition: int, chunk: ChunkId, together: Sequence[ChunkId] = ()) -> bool:
        """Tell whether a chunk lies before one that was handed off, or is handed off with it before it."""
        known = self._partitions.setdefault(partition, _Partition())
        return chunk.place < max([known.newest, *(other.place for other in together)])

    def is_behind(self, partition: int, unique_offset: int) -> bool:
        """Tell whether this very record was handed off, since one at or behind its offset was."""
        return unique_offset < self._partitions.setdefault(partition, _Partition()).end

    async def is_proved(
        self, partition: int, chunk: ChunkId, unique_offset: int, together: Sequence[ChunkId] = ()
    ) -> bool:
        """Tell whether the log shows that a chunk was handed off before.

        Args:
            partition: of metrics.unique.
            chunk: that is there at `unique_offset`.
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
        # The log cannot tell yet: they are handed off together with this one.
        if beside:
            return any(chunk.is_same(digest) for digest in beside) or (
                place in known.digests and chunk.is_same(known.digests[place])
            )
        proof = await self._proof(partition, known, chunk, unique_offset)
        if not proof and place not in known.digests and known.told != unique_offset:
            known.told = unique_offset  # once, however often the push is tried
            self._statistics.notes[Note.UNPROVED_REPLAYS] += 1
            log.error(UNPROVED, self._topic, partition, unique_offset, chunk.raw_offset, newest[1])
        return proof

    async def _proof(self, partition: int, known: _Partition, chunk: ChunkId, unique_offset: int) -> bool:
        """Tell whether a chunk was handed off, and if refine has gone back to before it, since then."""
        place = chunk.place
        if place in known.digests:
            return chunk.is_same(known.digests[place])
        return any(
            chunk.is_same(emitted.digest)
            for emitted in await self._histories.find_emitted(partition, place, unique_offset)
            if emitted.offset >= known.went_back_at or place < known.went_back_to
        )
