"""Reads records of our topics, up to their present end or on and on, on a connection of its own.

Without a group, so it moves nobody's position. What is fetched and not yet taken is bounded, however long the
topics are.
"""

import asyncio
import time
from collections.abc import AsyncGenerator, AsyncIterator, Collection, Mapping, Sequence
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass

from aiokafka import AIOKafkaConsumer, TopicPartition
from aiokafka.errors import IncompatibleBrokerVersion, KafkaError, UnsupportedVersionError

from streams.browse.filters import Filter
from streams.browse.messages import Browsed, TopicKind, TopicRecord, messages_of
from streams.errors import MetricStreamsError, Outage
from streams.kafka.clients import new_consumer
from streams.kafka.outages import as_outage
from streams.kafka.positions import LogRange
from streams.progress import OnProgress, quiet
from streams.settings import Settings

REQUEST_TIMEOUT_MS = 10_000
START_LIMIT_S = 20.0
STALL_LIMIT_S = 20.0
"""A scan that gets nothing for so long ends as an outage."""
STOP_LIMIT_S = 5.0
POLL_MS = 200
PARTITION_BYTES, FETCH_BYTES = 512 * 1024, 4 * 1024 * 1024
"""What one answer of a broker brings at most, but for a single record that is larger."""
RECORDS_AT_ONCE = 200


@dataclass(frozen=True, kw_only=True)
class Range:
    """Where to begin and to end. The times are the broker's, of when it took the record.

    Attributes:
        since_ms: Unix time in milliseconds; None for the beginning.
        until_ms: the first time that is too late; None for the present end.
        newest: of each partition only so many records before the end.
        only: the partitions to read; None for all.
        starts: by partition, up to where an earlier look has read; None for the beginning.
        ends: by partition, where an earlier look has found the end; None for the present one.
    """

    since_ms: int | None = None
    until_ms: int | None = None
    newest: int | None = None
    only: Collection[int] | None = None
    starts: Mapping[int, int] | None = None
    ends: Mapping[int, int] | None = None

    def holds(self, written_ms: int) -> bool:
        """Tell whether a record of that time is wanted."""
        return (self.since_ms is None or written_ms >= self.since_ms) and (
            self.until_ms is None or written_ms < self.until_ms
        )


EVERYTHING = Range()


class OpenTopics:
    """Topics that are being read.

    Attributes:
        ranges: what is to be read of each partition: from where, and where it ended when it was asked.
        read: how many records of these ranges have been passed.
    """

    def __init__(
        self,
        consumer: AIOKafkaConsumer,
        kinds: Mapping[str, str],
        ranges: Mapping[TopicPartition, LogRange],
        span: Range,
    ) -> None:
        self.ranges = ranges
        self.read = 0
        self._consumer = consumer
        self._kinds = kinds
        self._span = span

    @property
    def total(self) -> int:
        """How many records a scan passes."""
        return sum(held.end - held.start for held in self.ranges.values())

    async def scan(self) -> AsyncGenerator[TopicRecord, None]:
        """Yield the records up to the end that the topics had when they were opened.

        Each partition's in order; where a topic is followed by another partition's is not said.

        Raises:
            Outage: Kafka does not answer.
        """
        left = {tp for tp, held in self.ranges.items() if held.start < held.end}
        # A partition with nothing to read would be fetched in vain.
        self._consumer.pause(*(self.ranges.keys() - left))
        heard = time.monotonic()
        while left:
            batches = await self._next(list(left))
            # aiokafka tries again by itself, without a word, for as long as it is asked.
            if not batches and time.monotonic() - heard > STALL_LIMIT_S:
                raise Outage("kafka", f"no record came for {STALL_LIMIT_S:g} s, though there are more")
            for tp, records in batches.items():
                end = self.ranges[tp].end
                for record in records:
                    # Written since the scan began: with it a busy topic would have no end.
                    if record.offset < end:
                        self.read += 1
                        if self._span.holds(record.written_ms):
                            yield record
            if batches:
                heard = time.monotonic()  # behind them: whoever takes them may take their time
            left -= await self._finished(left)

    async def record_at(self, kind: str, partition: int, offset: int) -> TopicRecord | None:
        """Return the record at an offset; None where the log has none there. Not to be mixed with a scan.

        Raises:
            Outage: Kafka does not answer.
        """
        [tp] = [tp for tp in self.ranges if self._kinds[tp.topic] == kind and tp.partition == partition]
        held = self.ranges[tp]
        if not held.start <= offset < held.end:
            return None
        self._consumer.pause(*(self.ranges.keys() - {tp}))
        self._consumer.resume(tp)
        self._consumer.seek(tp, offset)
        heard = time.monotonic()
        while time.monotonic() - heard <= STALL_LIMIT_S:
            for records in (await self._next([tp], most=1)).values():
                return records[0] if records[0].offset == offset else None
        raise Outage("kafka", f"no record came for {STALL_LIMIT_S:g} s, though there is one")

    async def follow(self) -> AsyncGenerator[TopicRecord, None]:
        """Yield records as they come, for as long as it is asked; an outage of Kafka is waited out."""
        while True:
            for records in (await self._next(list(self.ranges))).values():
                for record in records:
                    if self._span.holds(record.written_ms):
                        yield record

    async def _next(
        self, partitions: Sequence[TopicPartition], *, most: int = RECORDS_AT_ONCE
    ) -> dict[TopicPartition, list[TopicRecord]]:
        try:
            batches = await self._consumer.getmany(*partitions, timeout_ms=POLL_MS, max_records=most)
        except (KafkaError, OSError) as error:
            raise Outage("kafka", f"the topics cannot be read: {error!r}") from error
        return {
            tp: [
                TopicRecord(
                    self._kinds[tp.topic],
                    tp.partition,
                    record.offset,
                    record.timestamp,
                    record.value or b"",
                    dict(record.headers),
                    record.key or b"",
                )
                for record in records
            ]
            for tp, records in batches.items()
        }

    async def _finished(self, left: Collection[TopicPartition]) -> set[TopicPartition]:
        done = {tp for tp in left if await self._consumer.position(tp) >= self.ranges[tp].end}
        if done:
            self._consumer.pause(*done)
        return done


@asynccontextmanager
async def opened(
    settings: Settings, kinds: Collection[str], span: Range = EVERYTHING
) -> AsyncIterator[OpenTopics]:
    """Open topics to be read, in one of both ways.

    Args:
        settings: name the topics.
        kinds: which of them, as `TopicKind` or another one's name behind the prefix.
        span: where to begin and to end.

    Raises:
        MetricStreamsError: one of them does not exist.
        Outage: Kafka does not answer.
    """
    names = {f"{settings.topic_prefix}.{kind}": kind for kind in kinds}
    consumer = _consumer(settings)
    try:
        try:
            ranges = await asyncio.wait_for(_begin(consumer, settings, list(names), span), START_LIMIT_S)
        except (KafkaError, TimeoutError, OSError) as error:
            raise await as_outage(settings, error) from error
        yield OpenTopics(consumer, names, ranges, span)
    finally:
        with suppress(KafkaError, TimeoutError, OSError):
            await asyncio.wait_for(consumer.stop(), STOP_LIMIT_S)


async def scan_messages(
    settings: Settings,
    kind: TopicKind,
    wanted: Filter,
    span: Range = EVERYTHING,
    *,
    on_progress: OnProgress = quiet,
) -> AsyncGenerator[Browsed, None]:
    """Yield the messages that are wanted, up to the present end.

    To be closed by whoever leaves it early (`contextlib.aclosing`), as any generator that holds a connection.

    Args:
        settings: name the topic.
        kind: which one.
        wanted: which messages.
        span: of which time.
        on_progress: told how many records of how many have been read.

    Raises:
        MetricStreamsError: the topic does not exist.
        Outage: Kafka does not answer.
    """
    async with opened(settings, [kind], span) as topics:
        on_progress(0, topics.total)
        async for record in topics.scan():
            for message in messages_of(record):
                if wanted.matches(message):
                    yield message
            on_progress(topics.read, topics.total)


async def follow_messages(
    settings: Settings, kinds: Collection[TopicKind], wanted: Filter, span: Range
) -> AsyncGenerator[Browsed, None]:
    """Yield the messages that are wanted, and go on with those that come; closed as `scan_messages` is.

    Args:
        settings: name the topics.
        kinds: which of them.
        wanted: which messages.
        span: where to begin; ``Span(newest=0)`` for what comes from now on.

    Raises:
        MetricStreamsError: a topic does not exist.
        Outage: Kafka does not answer at the start, or refuses.
    """
    async with opened(settings, kinds, span) as topics:
        async for record in topics.follow():
            for message in messages_of(record):
                if wanted.matches(message):
                    yield message


def _consumer(settings: Settings) -> AIOKafkaConsumer:
    return new_consumer(
        settings,
        "browse",
        request_timeout_ms=REQUEST_TIMEOUT_MS,
        fetch_max_wait_ms=POLL_MS,
        fetch_max_bytes=FETCH_BYTES,
        max_partition_fetch_bytes=PARTITION_BYTES,
        # Retention may take what lies ahead: then it goes on at what is left.
        auto_offset_reset="earliest",
    )


async def _begin(
    consumer: AIOKafkaConsumer, settings: Settings, topics: Sequence[str], span: Range
) -> dict[TopicPartition, LogRange]:
    await consumer.start()
    # Asked for all topics: to ask for one that is missing may create it.
    missing = set(topics) - await consumer.topics()
    if missing:
        raise MetricStreamsError(
            f"Kafka has no topic {', '.join(sorted(missing))}: metric-streams setup creates it"
        )
    numbers = [n for n in range(settings.topic_partitions) if span.only is None or n in span.only]
    partitions = [TopicPartition(topic, number) for topic in topics for number in numbers]
    consumer.assign(partitions)
    starts = await consumer.beginning_offsets(partitions) if partitions else {}
    ends = await consumer.end_offsets(partitions) if partitions else {}
    since = await _at(consumer, partitions, span.since_ms)
    until = await _at(consumer, partitions, span.until_ms)
    ranges = {}
    for tp in partitions:
        end = ends[tp] if until is None else until.get(tp, ends[tp])
        if span.ends is not None:
            end = min(end, span.ends.get(tp.partition, end))
        start = max(starts[tp], starts[tp] if since is None else since.get(tp, end))
        if span.starts is not None:
            start = max(start, span.starts.get(tp.partition, start))
        if span.newest is not None:
            start = max(start, end - span.newest)
        ranges[tp] = LogRange(min(start, end), end)
        consumer.seek(tp, ranges[tp].start)
    return ranges


async def _at(
    consumer: AIOKafkaConsumer, partitions: Sequence[TopicPartition], time_ms: int | None
) -> dict[TopicPartition, int] | None:
    """Return the first offsets that are not older, of those partitions that have one; None if all may be."""
    if time_ms is None or not partitions:
        return None
    try:
        found = await consumer.offsets_for_times(dict.fromkeys(partitions, time_ms))
    except (IncompatibleBrokerVersion, UnsupportedVersionError):
        return None  # each record's own time tells
    return {tp: at.offset for tp, at in found.items() if at is not None}
