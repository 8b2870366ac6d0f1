"""Compares what metrics.raw and metrics.unique say of each other: how far one history is that of the other.

Between the positions of refine and handoff and the logs. Each record of metrics.unique names the raw record
that it was made from, by offset and digest. So the newest one whose raw record is still there is the last
place that both logs have in common, whatever was set back or made anew.
"""

from collections.abc import Sequence
from typing import NamedTuple

from faust.types import TP

from streams.errors import MalformedRecord
from streams.kafka.log_reader import LogReader, LogRecord
from streams.kafka.positions import Anchor, LogRange
from streams.wire.headers import GROUP, ChainLink, read_digest, read_epoch
from streams.wire.unique import decode_origin

TAIL_RECORDS = 64
"""So many records are read at the end of metrics.unique: more than two workers may have emitted twice."""


class Emitted(NamedTuple):
    """A record of metrics.unique, as evidence."""

    offset: int
    epoch: int
    raw_offset: int
    digest: bytes
    """Of the raw record that it was made from; empty where an older version wrote it."""
    group: str
    """The consumer group that wrote it; empty where an older version did."""
    link: ChainLink | None
    anchor: Anchor

    @property
    def place(self) -> tuple[int, int]:
        """By which records follow each other, but for those that were emitted twice."""
        return self.epoch, self.raw_offset


class Histories:
    """The logs of all partitions, as evidence for each other."""

    def __init__(self, reader: LogReader, *, raw_topic: str, unique_topic: str) -> None:
        self._reader = reader
        self._raw_topic = raw_topic
        self._unique_topic = unique_topic

    async def unique_range(self, partition: int, at_least: int = 0) -> LogRange:
        """Return the offsets that metrics.unique holds; `at_least` as in `LogReader.range`.

        Raises:
            Outage: if Kafka does not answer.
        """
        return await self._reader.range(TP(self._unique_topic, partition), at_least)

    async def raw_range(self, partition: int, at_least: int = 0) -> LogRange:
        """Return the offsets that metrics.raw holds; `at_least` as in `LogReader.range`.

        Raises:
            Outage: if Kafka does not answer.
        """
        return await self._reader.range(TP(self._raw_topic, partition), at_least)

    async def raw_anchors(self, partition: int, start: int, end: int) -> dict[int, Anchor]:
        """Return what the raw records from `start` up to, not including, `end` are known by.

        Raises:
            Outage: if Kafka does not answer.
        """
        records = await self._reader.read(TP(self._raw_topic, partition), start, end - start)
        return {record.offset: record.anchor for record in records}

    async def emitted(self, partition: int, end: int, count: int = TAIL_RECORDS) -> list[Emitted]:
        """Return the records of metrics.unique that end before an offset, the oldest first.

        Raises:
            Outage: if Kafka does not answer.
        """
        start = max(0, end - count)
        records = await self._reader.read(TP(self._unique_topic, partition), start, end - start)
        return [emitted for record in records if (emitted := read_emitted(record, partition)) is not None]

    async def find_emitted(self, partition: int, place: tuple[int, int], end: int) -> list[Emitted]:
        """Return the records before an offset that have an epoch and raw offset, as far as they can be found.

        They lie in that order, but for those that were emitted twice.

        Raises:
            Outage: if Kafka does not answer.
        """
        low, high = (await self.unique_range(partition)).start, end
        while low < high:
            middle = (low + high) // 2
            around = await self.emitted(partition, middle + 1, count=1)
            if around and around[0].place < place:
                low = middle + 1
            else:
                high = middle
        # To both sides: those that were emitted twice do not lie in order, and may have led the halving
        # astray.
        window = await self.emitted(partition, min(end, low + TAIL_RECORDS), count=2 * TAIL_RECORDS)
        return [emitted for emitted in window if emitted.place == place]

    async def last_common(self, partition: int, below: int | None = None) -> Emitted | None:
        """Return the newest record of metrics.unique whose raw record is still there; None if there is none.

        Args:
            partition: of both topics.
            below: looks at records of metrics.unique before this offset alone.

        Raises:
            Outage: if Kafka does not answer.
        """
        log = await self.unique_range(partition)
        end = log.end if below is None else min(below, log.end)
        bad, step, good = end, 1, None
        while good is None and bad > log.start:
            # In steps that double, then in halves: nearly always the last record is common, and each look is
            # a fetch.
            at = max(log.start, end - step)
            good = await self._common(partition, at)
            bad, step = (bad if good else at), 2 * step
        while good is not None and good.offset + 1 < bad:
            middle = (good.offset + bad) // 2
            better = await self._common(partition, middle)
            good, bad = (better, bad) if better else (good, middle)
        return good

    async def _common(self, partition: int, at: int) -> Emitted | None:
        found = await self.emitted(partition, at + 1, count=1)
        return found[0] if found and await self.raw_has(partition, found[0]) else None

    async def raw_has(self, partition: int, emitted: Emitted) -> bool:
        """Tell whether the raw record is still there that a record of metrics.unique was made from.

        Raises:
            Outage: if Kafka does not answer.
        """
        at = emitted.raw_offset
        anchor = (await self.raw_anchors(partition, at, at + 1)).get(at)
        return anchor is not None and anchor.digest == emitted.digest


def read_emitted(record: LogRecord, partition: int) -> Emitted | None:
    """Return what a record of metrics.unique proves; None if somebody else wrote it."""
    found = record.headers
    try:
        origin, epoch = decode_origin(record.value), read_epoch(found)
    except MalformedRecord:
        return None
    if origin.partition != partition:
        return None
    group, anchor = found.get(GROUP, b"").decode(errors="replace"), record.anchor
    return Emitted(record.offset, epoch, origin.offset, read_digest(found), group, anchor.link, anchor)


def is_unbroken(tail: Sequence[Emitted]) -> int | None:
    """Return the offset of the first record that does not follow its writer's one before; None if all do.

    A gap means that metrics.unique has lost what that writer had emitted in between. One is settled where
    refine has gone back since: then a later record is about no later raw record than the one behind the gap.
    """
    seen: dict[bytes, int] = {}
    for at, emitted in enumerate(tail):
        if emitted.link is None:
            continue
        before = seen.get(emitted.link.writer)
        is_gap = before is not None and emitted.link.seq > before + 1
        if is_gap and not any(later.place <= emitted.place for later in tail[at + 1 :]):
            return emitted.offset
        seen[emitted.link.writer] = emitted.link.seq
    return None
