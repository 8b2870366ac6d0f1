"""Finds where a message is in metrics.raw, by its dedupe id or by the uuid of the job that carried it."""

import re
from collections.abc import AsyncIterator, Iterator
from contextlib import aclosing

import msgspec

from streams.browse.coordinate import Coordinate
from streams.browse.filters import Filter
from streams.browse.messages import Browsed, TopicKind, TopicRecord, messages_of, payload_text
from streams.browse.reader import Range, opened, scan_messages
from streams.errors import MalformedRecord
from streams.laravel.job_names import job_names
from streams.laravel.replays import ChunkId
from streams.models import Message, Reading, RejectedMessage
from streams.settings import Settings
from streams.wire.headers import read_digest, read_epoch

UUID = re.compile(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}", re.ASCII)


class _Identified(msgspec.Struct):
    dedupe_id: object = None


_payloads = msgspec.json.Decoder(_Identified)


async def search(settings: Settings, wanted: str, since_ms: int) -> list[Coordinate]:
    """Return where the messages are that have this dedupe id, or went in this job; the oldest first.

    Args:
        settings: name the topics.
        wanted: a dedupe id, the key that stands for one, or a job's uuid.
        since_ms: Unix time in milliseconds from which on to look.

    Raises:
        MetricStreamsError: a topic does not exist.
        Outage: Kafka does not answer.
    """
    span = Range(since_ms=since_ms)
    found: dict[Coordinate, int] = {}
    async for at, written_ms in _in_unique(settings, wanted, span):
        # A chunk may have been emitted twice: the first time counts.
        found.setdefault(at, written_ms)
    for kind in (TopicKind.REJECTED, TopicKind.RAW):
        async with aclosing(scan_messages(settings, kind, Filter(text=wanted), span)) as messages:
            async for message in messages:
                if names(message, wanted):
                    found[message.coordinate] = (
                        message.record.written_ms
                    )  # of raw, where it is there, at last
    return sorted(found, key=lambda at: (found[at], at.partition, at.offset, at.index or 0))


async def _in_unique(settings: Settings, wanted: str, span: Range) -> AsyncIterator[tuple[Coordinate, int]]:
    is_uuid = UUID.fullmatch(wanted) is not None
    async with opened(settings, [TopicKind.UNIQUE], span) as topics:
        async for record in topics.scan():
            messages = list(messages_of(record))
            hits = [message for message in messages if names(message, wanted)]
            # Names of jobs are worked out anew for each chunk, which costs more than to compare ids.
            if not hits and is_uuid:
                hits = list(_of_job(record, messages, wanted))
            for message in hits:
                yield message.coordinate, record.written_ms


def _of_job(record: TopicRecord, messages: list[Browsed], wanted: str) -> Iterator[Browsed]:
    """Yield the messages of a chunk that went in a job."""
    for tenant in {message.names[0] for message in messages}:
        if messages and job_of(record, messages[0].coordinate, tenant) == wanted:
            yield from (message for message in messages if message.names[0] == tenant)


def job_of(record: TopicRecord, at: Coordinate, tenant_id: str) -> str | None:
    """Return the uuid of the job in which a tenant's readings of a chunk went; None if it is none of ours.

    Args:
        record: of metrics.unique.
        at: of the chunk in metrics.raw.
        tenant_id: whose job.
    """
    try:
        chunk = ChunkId(read_epoch(record.headers), at.offset, read_digest(record.headers))
    except MalformedRecord:
        return None
    return job_names(record.partition, chunk, tenant_id)[0]


def names(message: Browsed, wanted: str) -> bool:
    """Tell whether a message has a dedupe id, or the key that stands for one."""
    body = message.body
    if isinstance(body, Reading):
        return wanted in {body.dedupe_id, body.key}
    return _named(body, wanted)


def _named(body: Message | RejectedMessage, wanted: str) -> bool:
    text = payload_text(body)
    try:
        return str(_payloads.decode(text).dedupe_id) == wanted
    except (msgspec.MsgspecError, RecursionError, UnicodeError):
        return f'"{wanted}"' in text  # it was rejected, as it cannot be read
