"""Collects what every stage knows of one message; a part that is away leaves its stage out, and says so."""

from contextlib import aclosing
from dataclasses import dataclass, field

from faust.types import TP

from streams.browse.coordinate import Coordinate
from streams.browse.filters import Filter
from streams.browse.messages import Browsed, TopicKind, TopicRecord, messages_of
from streams.browse.reader import Range, scan_messages
from streams.errors import MalformedRecord, MetricStreamsError, NewerFormat, Outage
from streams.growth.heirs import former_partitions
from streams.kafka.log_reader import KafkaLogReader, LogRecord
from streams.laravel.fence import Fence
from streams.models import Message, Reading
from streams.rejections.listing import Rejected
from streams.rejections.marks import read_marks
from streams.settings import Settings
from streams.topics import seen_changelog
from streams.tracing.database import Stored, find_stored
from streams.tracing.queue import QueuedJob, find_job, read_fence
from streams.tracing.search import job_of
from streams.wire.decision import Decision, decode, digest
from streams.wire.mark import Fate

DECISIONS = 2_000
"""Rows of the changelog that are looked at, from when the chunk was written on."""
RETRIES = 200
"""Records of metrics.unique behind the one that was found, in which it may be again."""


@dataclass
class Way:
    """What is known of one message."""

    coordinate: Coordinate
    raw: Browsed | None = None
    chunk_messages: int = 0
    decision: Decision | None = None
    decision_written_ms: int = 0
    emitted: list[Browsed] = field(default_factory=list)
    """Where it is on metrics.unique: several times where it was emitted again after a crash."""
    rejected: list[Browsed] = field(default_factory=list)
    mark: Fate | None = None
    """What has become of it since it was rejected."""
    put_back: Coordinate | None = None
    """Where it is on metrics.raw since then."""
    fence: Fence | None = None
    job: str | None = None
    """Its uuid."""
    queued: QueuedJob | None = None
    stored: Stored | None = None
    away: dict[str, str] = field(default_factory=dict)
    """The parts that gave no answer, and why."""

    @property
    def reading(self) -> Reading | None:
        """What refine made of it."""
        body = self.emitted[0].body if self.emitted else None
        return body if isinstance(body, Reading) else None


async def follow(settings: Settings, at: Coordinate) -> Way:
    """Return all that is known of the message at a coordinate.

    Raises:
        MetricStreamsError: there is no such message.
        Outage: Kafka does not answer.
    """
    way = Way(at)
    reader = KafkaLogReader(settings)
    try:
        await _read_raw(settings, reader, way)
        await _read_decision(settings, reader, way)
    finally:
        # Before the rest, which needs no Kafka or connects by itself.
        await reader.stop()
    since_ms = way.raw.record.written_ms if way.raw else None
    way.emitted = await _copies(settings, TopicKind.UNIQUE, at, since_ms)
    way.rejected = [] if way.emitted else await _copies(settings, TopicKind.REJECTED, at, since_ms)
    await _look_for_replay(settings, way)
    await _ask_redis(settings, way)
    await _ask_postgres(settings, way)
    return way


async def _read_raw(settings: Settings, reader: KafkaLogReader, way: Way) -> None:
    at = way.coordinate
    if at.partition >= settings.topic_partitions:
        raise MetricStreamsError(f"{settings.raw_topic} has {settings.topic_partitions} partitions from 0 on")
    tp = TP(settings.raw_topic, at.partition)
    log = await reader.range(tp)
    if at.offset < log.start:
        return  # retention has removed it; what it became may still be there
    if at.offset >= log.end:
        raise MetricStreamsError(
            f"{tp.topic}[{tp.partition}] ends at offset {log.end}: {at} is not there yet"
        )
    for record in await reader.read(tp, at.offset):
        messages = _messages(record, at.partition)
        way.chunk_messages = len(messages)
        way.raw = next((each for each in messages if at.holds(each.coordinate)), None)
        if way.raw is None:
            raise MetricStreamsError(f"the chunk {at.partition}-{at.offset} holds {len(messages)} messages")


def _messages(record: LogRecord, partition: int) -> list[Browsed]:
    offset, value, headers, written_ms = record
    return list(messages_of(TopicRecord(TopicKind.RAW, partition, offset, written_ms, value, headers)))


async def _read_decision(settings: Settings, reader: KafkaLogReader, way: Way) -> None:
    """Look for the decision about the chunk, which is known by the digest of its record."""
    if way.raw is None:
        return
    tp = TP(seen_changelog(settings), way.coordinate.partition)
    wanted = digest(way.raw.record.value)
    try:
        start = await reader.offset_at(tp, way.raw.record.written_ms)
        rows = [] if start is None else await reader.read(tp, start, DECISIONS)
    except Outage as outage:
        way.away["the changelog"] = outage.detail
        return
    for row in rows:
        try:
            decision = decode(row.value)
        except (MalformedRecord, NewerFormat):
            continue  # a tombstone, or none of ours
        if decision.digest == wanted:
            way.decision, way.decision_written_ms = decision, row.timestamp_ms
            return


async def _copies(settings: Settings, kind: TopicKind, at: Coordinate, since_ms: int | None) -> list[Browsed]:
    found: list[Browsed] = []
    span = Range(since_ms=since_ms, only=[at.partition])
    async with aclosing(scan_messages(settings, kind, Filter(coordinates=[at]), span)) as messages:
        async for message in messages:
            found.append(message)
            if len(found) > 1 and message.record.offset - found[0].record.offset > RETRIES:
                break
    index = found[0].coordinate.index if found else None
    return [each for each in found if each.coordinate.index == index]


async def _look_for_replay(settings: Settings, way: Way) -> None:
    """Tell whether a rejected message was put back or dismissed, and where it went."""
    if not way.rejected:
        return
    message = way.rejected[0]
    way.mark = (await read_marks(settings)).of(message)
    if way.mark is not Fate.REPLAYED:
        return
    rejected, since_ms = Rejected(message, way.mark), message.record.written_ms
    first = rejected.first
    # Its tenant may have moved since.
    only = former_partitions(rejected.body.topic, way.coordinate.partition, settings.topic_partitions)
    span = Range(since_ms=since_ms, only=only)
    async with aclosing(scan_messages(settings, TopicKind.RAW, Filter(), span)) as messages:
        async for each in messages:
            if isinstance(each.body, Message) and each.body.first == first:
                way.put_back = each.coordinate


async def _ask_redis(settings: Settings, way: Way) -> None:
    reading = way.reading
    if reading is None:
        return
    way.job = job_of(way.emitted[0].record, way.coordinate, reading.tenant_id)
    try:
        way.fence = await read_fence(settings, way.coordinate.partition)
        way.queued = await find_job(settings, way.job) if way.job else None
    except MetricStreamsError as error:
        way.away["redis"] = str(error)


async def _ask_postgres(settings: Settings, way: Way) -> None:
    if (reading := way.reading) is None:
        return
    try:
        way.stored = await find_stored(settings, reading, way.job)
    except Outage as outage:
        way.away["postgres"] = outage.detail
