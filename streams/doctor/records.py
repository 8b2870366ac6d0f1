"""Looks at what is in the logs: who wrote it, in which format, how far the workers are behind it.

And whether the logs are those that they were: each newest record of metrics.unique names the raw record that
it was made from, and the fence in Redis a record of metrics.unique.
"""

import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import timedelta
from typing import NamedTuple

from aiokafka.errors import KafkaError
from faust.types import TP

from streams.doctor.finding import Finding, broken, ok, warning
from streams.doctor.logs import LogEnds, Logs, reading
from streams.errors import MalformedRecord, NewerFormat
from streams.kafka.clients import administering
from streams.kafka.histories import Emitted, read_emitted
from streams.kafka.log_reader import LogRecord
from streams.kafka.positions import LogRange
from streams.settings import Settings
from streams.wire import raw, rejected, unique
from streams.wire.decision import digest
from streams.wire.headers import SESSION, check_format

PART = "kafka"
REQUEST_TIMEOUT_MS = 5_000
LATE_S = 60.0
"""From so old an unhandled record on the workers are behind."""
CLOCK_S = 5.0
SHOWN = 4
SET_BACK = (
    "Let a worker run: it goes on at the last place that the logs have in common. Find out who deleted the "
    "topic or set Kafka back: what was not refined by then is gone. This line ends with the next message"
)


class GroupLag(NamedTuple):
    """How far the group's commits are behind a topic."""

    records: int
    oldest_s: float | None
    """The age of the oldest record that is not handled; None if there is none, or its time is not known."""


class Read(NamedTuple):
    """What the logs hold, as far as it matters here."""

    ends: LogEnds
    sources: Mapping[TP, LogRecord]
    """The raw records from which the newest of metrics.unique say that they were made."""
    lags: Mapping[str, GroupLag]
    """By topic."""
    beyond: Sequence[TP]
    """Where the group's commits lie beyond the log's end."""


async def examine_records(settings: Settings) -> list[Finding]:
    """Look at the logs.

    Raises:
        Outage: Kafka does not answer.
    """
    async with reading(settings) as logs:
        read = await _read(logs, settings)
    return list(of_records(read, settings, time.time()))


async def _read(logs: Logs, settings: Settings) -> Read:
    topics = (settings.raw_topic, settings.unique_topic, settings.rejected_topic)
    ends = await logs.ends([TP(topic, n) for topic in topics for n in range(settings.topic_partitions)])
    wanted = {}
    for emitted_at, emitted in emissions(ends, settings.unique_topic).items():
        tp = TP(settings.raw_topic, emitted_at.partition)
        if tp in ends.ranges and ends.ranges[tp].start <= emitted.raw_offset < ends.ranges[tp].end:
            wanted[tp] = emitted.raw_offset
    sources = await logs.read(wanted)
    committed = await _committed(settings)
    behind = {tp: at for tp, at in committed.items() if tp in ends.ranges and at < ends.ranges[tp].end}
    behind = {tp: max(at, ends.ranges[tp].start) for tp, at in behind.items()}
    oldest = await logs.read({tp: at for tp, at in behind.items() if at < ends.ranges[tp].end})
    beyond = [tp for tp, at in committed.items() if tp in ends.ranges and at > ends.ranges[tp].end]
    return Read(ends, sources, _lags(topics[:2], behind, ends.ranges, oldest), beyond)


async def _committed(settings: Settings) -> Mapping[TP, int]:
    try:
        async with administering(settings, timeout_ms=REQUEST_TIMEOUT_MS) as admin:
            told = await admin.list_consumer_group_offsets(settings.consumer_group)
    except (KafkaError, OSError):
        return {}  # a broker that does not tell; one that is away, others have said of
    return {TP(*place): offset.offset for place, offset in told.items() if offset.offset >= 0}


def _lags(
    topics: Iterable[str],
    behind: Mapping[TP, int],
    ranges: Mapping[TP, LogRange],
    oldest: Mapping[TP, LogRecord],
) -> Mapping[str, GroupLag]:
    lags = {}
    now_ms = time.time() * 1_000
    for topic in topics:
        records = sum(ranges[tp].end - at for tp, at in behind.items() if tp.topic == topic)
        times = [record.timestamp_ms for tp, record in oldest.items() if tp.topic == topic]
        lags[topic] = GroupLag(records, (now_ms - min(times)) / 1_000 if times and records else None)
    return lags


def emissions(ends: LogEnds, unique_topic: str) -> Mapping[TP, Emitted]:
    """Return the newest record of each partition of metrics.unique, as evidence."""
    found = {}
    for tp, record in ends.newest.items():
        if tp.topic == unique_topic and (emitted := read_emitted(record, tp.partition)) is not None:
            found[tp] = emitted
    return found


def of_records(read: Read, settings: Settings, now_s: float) -> Iterable[Finding]:
    """Return what is to be said of the logs."""
    yield from of_formats(read.ends, settings)
    yield from of_writers(read.ends, settings)
    yield from of_histories(read, settings)
    yield from of_lags(read.lags)
    yield from of_kafkas_clock(read.ends, now_s)


def of_formats(ends: LogEnds, settings: Settings) -> Iterable[Finding]:
    """Return what is to be said of the records' formats."""
    readers: Mapping[str, Callable[[bytes], object]] = {
        settings.raw_topic: raw.decode,
        settings.unique_topic: unique.decode,
        settings.rejected_topic: rejected.decode,
    }
    newer, strange = [], []
    for tp, record in sorted(ends.newest.items()):
        try:
            check_format(record.headers)
            readers[tp.topic](record.value)
        except NewerFormat as refusal:
            newer.append(str(refusal.at(f"{tp.topic}[{tp.partition}] offset {record.offset}")))
        except MalformedRecord:
            strange.append(f"{tp.topic}[{tp.partition}] offset {record.offset}")
    if newer:
        yield broken(PART, newer[0], "Run the version that wrote it: docs/upgrading.md")
    if strange:
        seen = f"{_some(strange)} cannot be read: something else writes to that topic"
        yield warning(PART, seen, "Let nobody but metric-streams write there, or use another TOPIC_PREFIX")
    if ends.newest and not newer and not strange:
        yield ok(PART, f"the newest records of {len(ends.newest)} partitions can be read")


def of_writers(ends: LogEnds, settings: Settings) -> Iterable[Finding]:
    """Return what is to be said of who wrote the newest records."""
    groups, sessions = set(), set()
    for tp, record in ends.newest.items():
        if tp.topic == settings.unique_topic and (emitted := read_emitted(record, tp.partition)):
            groups.add(emitted.group)
        elif tp.topic == settings.raw_topic and SESSION in record.headers:
            sessions.add(record.headers[SESSION].decode(errors="replace"))
    ours, client = settings.consumer_group, settings.mqtt_client_id
    if others := sorted(groups - {"", ours}):
        seen = f"{settings.unique_topic} was written by the group {others[0]}, and CONSUMER_GROUP is {ours}"
        yield broken(PART, seen, "Set CONSUMER_GROUP to that, or hand over: metric-streams setup --adopt")
    strange = [name for name in sorted(sessions) if name != client and not name.startswith(f"{client}-")]
    if strange and len(strange) == len(sessions):
        seen = f"{settings.raw_topic} came by the MQTT session {strange[0]}, and MQTT_CLIENT_ID is {client}"
        mend = "Call the doctor as the worker is; a changed id leaves behind what the old session holds"
        yield warning(PART, seen, mend)


def of_histories(read: Read, settings: Settings) -> Iterable[Finding]:
    """Return what is to be said of whether metrics.raw is the log that metrics.unique was made from."""
    gone = []
    for tp, emitted in sorted(emissions(read.ends, settings.unique_topic).items()):
        raw_tp = TP(settings.raw_topic, tp.partition)
        log = read.ends.ranges.get(raw_tp)
        if log is None or emitted.raw_offset < log.start:
            continue  # there is none, of which another line tells, or retention has removed it
        source = read.sources.get(raw_tp)
        is_other = source is not None and bool(emitted.digest) and digest(source.value) != emitted.digest
        if emitted.raw_offset >= log.end or is_other:
            gone.append(f"{raw_tp.topic}[{raw_tp.partition}]")
    if gone:
        seen = f"{_some(gone)} is not the log any more that {settings.unique_topic} was made from"
        yield broken(PART, seen, SET_BACK)
    lost = [f"{tp.topic}[{tp.partition}]" for tp in sorted(read.beyond) if tp.topic == settings.unique_topic]
    if lost:
        seen = f"{_some(lost)} ends before what the group has read of it: it was set back or made anew"
        yield broken(PART, seen, SET_BACK)


def of_lags(lags: Mapping[str, GroupLag]) -> Iterable[Finding]:
    """Return what is to be said of how far the workers are behind."""
    for topic, lag in lags.items():
        if lag.oldest_s is not None and lag.oldest_s > LATE_S:
            age = timedelta(seconds=round(lag.oldest_s))
            seen = f"{topic}: {lag.records:,} records are not handled, the oldest for {age}"
            mend = "See what the workers wait for; if they wait for nothing, run more of them"
            yield warning(PART, seen, mend)
        else:
            yield ok(PART, f"{topic}: {lag.records:,} records are not handled")


def of_kafkas_clock(ends: LogEnds, now_s: float) -> Iterable[Finding]:
    """Return what is to be said of Kafka's clock, which tells the time in records alone."""
    times = [record.timestamp_ms / 1_000 for record in ends.newest.values()]
    if times and (ahead_s := max(times) - now_s) > CLOCK_S:
        seen = f"Kafka's newest record is {timedelta(seconds=round(ahead_s))} ahead of this machine's clock"
        yield broken("clocks", seen, "Let Kafka's machines, and this one, keep time by NTP")


def _some(names: Sequence[str]) -> str:
    more = f" and {len(names) - SHOWN} more" if len(names) > SHOWN else ""
    return ", ".join(names[:SHOWN]) + more
