"""Reads single records of a log: the proof that a position is about this log and no other.

On a connection of its own, without a group: it disturbs nobody's position, and nobody's theirs.
"""

import asyncio
from collections import Counter
from collections.abc import Awaitable, Callable, Sequence
from contextlib import suppress
from typing import NamedTuple, Protocol, TypeVar

from aiokafka import AIOKafkaConsumer, TopicPartition
from aiokafka.errors import KafkaError
from faust.types import TP

from streams.errors import Outage
from streams.kafka.clients import new_consumer, started
from streams.kafka.outages import as_outage
from streams.kafka.positions import Anchor, LogRange
from streams.settings import Settings

T_co = TypeVar("T_co", covariant=True)
T = TypeVar("T")

REQUEST_TIMEOUT_MS = 5_000
FETCH_WAIT_MS = 50
FETCH_BYTES = 1024 * 1024
READ_LIMIT_S = 10.0
CLOSE_LIMIT_S = 2.0
DOUBTS, DOUBT_S = 10, 0.1
"""How often a log that seems too short is measured again, and after how long."""


class LogRecord(NamedTuple):
    """A record as its log holds it."""

    offset: int
    value: bytes
    headers: dict[str, bytes]
    timestamp_ms: int = 0

    @property
    def anchor(self) -> Anchor:
        """What the record is known by."""
        return Anchor.of(self.offset, self.value, self.headers)


class LogReader(Protocol):
    """Reads what a partition's log holds."""

    async def range(self, tp: TP, at_least: int = 0) -> LogRange:
        """Return the offsets that the log holds now.

        Args:
            tp: the partition.
            at_least: where it must end at least, unless it was set back: that is believed only of a log
                which still seems too short a second later.

        Raises:
            Outage: if Kafka does not answer.
        """
        ...

    async def read(self, tp: TP, start: int, count: int = 1) -> Sequence[LogRecord]:
        """Return up to `count` records from offset `start` on; none from where the log holds none.

        Raises:
            Outage: if Kafka does not answer.
        """
        ...

    async def offset_at(self, tp: TP, timestamp_ms: int) -> int | None:
        """Return the offset of the first record that is not older; None if all are.

        Raises:
            Outage: if Kafka does not answer.
        """
        ...


async def still_there(reader: LogReader, tp: TP, anchor: Anchor | None) -> bool:
    """Tell whether a log still has a record, as far as it can be told.

    Where retention has removed it, or where there never was one, nothing speaks against it.

    Raises:
        Outage: if Kafka does not answer.
    """
    if anchor is None:
        return True
    log = await reader.range(tp, anchor.offset + 1)
    if anchor.offset < log.start:
        return True
    found = await reader.read(tp, anchor.offset) if anchor.offset < log.end else []
    return bool(found) and found[0].anchor == anchor


async def sure_range(
    measure: Callable[[], Awaitable[LogRange]],
    at_least: int,
    sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
) -> LogRange:
    """Measure a log, again if it seems shorter than it must be.

    A broker may hand out a record before it counts it as part of the log (Tansu does).

    Raises:
        Outage: if Kafka does not answer.
    """
    log = await measure()
    for _ in range(DOUBTS):
        if log.end >= at_least:
            break
        await sleep(DOUBT_S)
        log = await measure()
    return log


class KafkaLogReader:
    """The real one. It connects when it is first asked, and anew after a failure."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._consumer: AIOKafkaConsumer | None = None
        self._asking = asyncio.Lock()

    async def start(self) -> None:
        """Do nothing: it connects when it is first asked."""

    async def stop(self) -> None:
        """Disconnect."""
        consumer, self._consumer = self._consumer, None
        if consumer is not None:
            with suppress(KafkaError, TimeoutError, OSError):
                await asyncio.wait_for(consumer.stop(), CLOSE_LIMIT_S)

    async def range(self, tp: TP, at_least: int = 0) -> LogRange:
        """Return the offsets that the log holds now."""
        return await sure_range(lambda: self._ask(tp, self._range), at_least)

    async def read(self, tp: TP, start: int, count: int = 1) -> Sequence[LogRecord]:
        """Return up to `count` records from offset `start` on."""

        async def ask(consumer: AIOKafkaConsumer, tp: TopicPartition) -> list[LogRecord]:
            log = await self._range(consumer, tp)
            # A fetch beyond the end would wait for records to come.
            first, end = max(start, log.start), min(start + count, log.end)
            return await self._fetch(consumer, tp, first, end) if first < end else []

        return await self._ask(tp, ask)

    async def offset_at(self, tp: TP, timestamp_ms: int) -> int | None:
        """Return the offset of the first record that is not older."""

        async def ask(consumer: AIOKafkaConsumer, tp: TopicPartition) -> int | None:
            found = (await consumer.offsets_for_times({tp: timestamp_ms}))[tp]
            return None if found is None else int(found.offset)

        return await self._ask(tp, ask)

    @staticmethod
    async def _range(consumer: AIOKafkaConsumer, tp: TopicPartition) -> LogRange:
        starts, ends = await consumer.beginning_offsets([tp]), await consumer.end_offsets([tp])
        return LogRange(starts[tp], ends[tp])

    async def _fetch(
        self, consumer: AIOKafkaConsumer, tp: TopicPartition, start: int, end: int
    ) -> list[LogRecord]:
        """Return the records from `start` up to, not including, `end`, all of which the log has.

        Raises:
            TimeoutError: if none comes, though the log has more.
        """
        consumer.assign([tp])
        consumer.seek(tp, start)
        found: list[LogRecord] = []
        while await consumer.position(tp) < end:
            batches = await consumer.getmany(tp, timeout_ms=REQUEST_TIMEOUT_MS, max_records=end - start)
            found += [
                LogRecord(record.offset, record.value or b"", dict(record.headers), record.timestamp)
                for record in batches.get(tp, [])
                if record.offset < end
            ]
            if not batches and await self._has_more(consumer, tp, end):
                # What did not come proves nothing: taken for a log without it, decisions would be dropped.
                raise TimeoutError(f"no record came within {REQUEST_TIMEOUT_MS / 1e3:g} s")
            if not batches:
                break  # the log lost them meanwhile
        return found

    async def _has_more(self, consumer: AIOKafkaConsumer, tp: TopicPartition, end: int) -> bool:
        log, at = await self._range(consumer, tp), int(await consumer.position(tp))
        return log.start <= at < min(log.end, end)

    async def _ask(self, tp: TP, question: "Question[T]") -> T:
        # One at a time, since the consumer is assigned to one partition.
        async with self._asking:
            try:
                return await asyncio.wait_for(self._answer(tp, question), READ_LIMIT_S)
            except (KafkaError, TimeoutError, OSError) as error:
                # What was cut off leaves the consumer in the middle of a fetch: the next question gets a new
                # one.
                await self.stop()
                detail = (await as_outage(self._settings, error)).detail
                raise Outage("kafka", f"{tp.topic}[{tp.partition}] cannot be read: {detail}") from error

    async def _answer(self, tp: TP, question: "Question[T]") -> T:
        return await question(await self._connected(), TopicPartition(*tp))

    async def _connected(self) -> AIOKafkaConsumer:
        if self._consumer is None:
            consumer = new_consumer(
                self._settings,
                "reader",
                request_timeout_ms=REQUEST_TIMEOUT_MS,
                fetch_max_wait_ms=FETCH_WAIT_MS,
                max_partition_fetch_bytes=FETCH_BYTES,
                # An offset that the log does not hold is an answer. Reset to another one, it would be taken
                # for that record.
                auto_offset_reset="none",
            )
            self._consumer = await started(consumer, consumer.stop)
        return self._consumer


class Question(Protocol[T_co]):
    """Asks a consumer about a partition."""

    async def __call__(self, consumer: AIOKafkaConsumer, tp: TopicPartition, /) -> T_co:
        """Return the answer."""
        ...


async def _at_once(_seconds: float) -> None:
    """Wait for nothing."""


class FakeLogReader:
    """Reads logs in memory, for tests without a server; ``away`` makes it an outage."""

    def __init__(self, records: Callable[[TP], Sequence[LogRecord]]) -> None:
        self._records = records
        self.starts: dict[TP, int] = {}
        """Before these offsets retention has removed everything."""
        self.late: Counter[TP] = Counter()
        """Measurements that do not know of the last record yet."""
        self.away = False

    async def range(self, tp: TP, at_least: int = 0) -> LogRange:
        """Return the offsets that the log holds now."""
        return await sure_range(lambda: self._measure(tp), at_least, _at_once)

    async def _measure(self, tp: TP) -> LogRange:
        records = list(self._answer(tp))
        if self.late[tp] and records:
            self.late[tp] -= 1
            records.pop()
        start = self.starts.get(tp, 0)
        return LogRange(records[0].offset, records[-1].offset + 1) if records else LogRange(start, start)

    async def read(self, tp: TP, start: int, count: int = 1) -> Sequence[LogRecord]:
        """Return up to `count` records from offset `start` on."""
        return [record for record in self._answer(tp) if start <= record.offset < start + count]

    async def offset_at(self, tp: TP, timestamp_ms: int) -> int | None:
        """Return the offset of the first record that is not older."""
        newer = (record.offset for record in self._answer(tp) if record.timestamp_ms >= timestamp_ms)
        return next(newer, None)

    def _answer(self, tp: TP) -> Sequence[LogRecord]:
        if self.away:
            raise Outage("kafka", "is away")
        start = self.starts.get(tp, 0)
        return [record for record in self._records(tp) if record.offset >= start]
