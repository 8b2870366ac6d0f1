"""The messages of a record, of whichever of our topics it is. Pure.

A record carries a chunk; people look for single messages.
"""

from collections.abc import Callable, Iterator, Sequence
from enum import StrEnum
from typing import Any, NamedTuple

import msgspec

from streams.browse.coordinate import Coordinate
from streams.errors import MalformedRecord
from streams.models import Message, Reading, Reason, RejectedMessage, Stage
from streams.wire import raw, rejected, unique

KEPT_BYTES = 1024
"""How much is kept of a record that somebody else wrote."""


class TopicKind(StrEnum):
    """Which of our topics a message is on."""

    RAW = "raw"
    UNIQUE = "unique"
    REJECTED = "rejected"


class TopicRecord(NamedTuple):
    """A record as its topic holds it."""

    kind: str
    """As `TopicKind`, or the name of another topic of ours behind the prefix."""
    partition: int
    offset: int
    written_ms: int
    """When the broker took it, in milliseconds of Unix time."""
    value: bytes
    headers: dict[str, bytes]
    key: bytes = b""


class Browsed(NamedTuple):
    """One message of a record."""

    record: TopicRecord
    coordinate: Coordinate
    """Where it is in ``metrics.raw``."""
    body: Message | RejectedMessage | Reading
    reason: Reason | None = None
    stage: Stage | None = None

    @property
    def names(self) -> tuple[str, str, str]:
        """Tenant, agent and metric, as far as the message names them; unchecked."""
        body = self.body
        if isinstance(body, Reading):
            return body.tenant_id, body.agent_id, body.metric_name
        _, tenant, agent, metric = (*body.topic.split("/", 3), "", "", "", "")[:4]
        return tenant.lower(), agent, metric

    @property
    def text(self) -> str:
        """All of it that a person may look for."""
        body = self.body
        if isinstance(body, Reading):
            return msgspec.json.encode(body).decode()
        detail = body.detail if isinstance(body, RejectedMessage) else ""
        return f"{body.topic}\n{payload_text(body)}\n{detail}"

    def as_dict(self) -> dict[str, Any]:
        """Return it as JSON shows it: where it is, why it was rejected, and the message itself."""
        shown: dict[str, Any] = {"coordinate": str(self.coordinate)}
        if self.reason is not None:
            shown |= {"stage": self.stage, "reason": self.reason}
        shown |= msgspec.to_builtins(self.body)
        return shown


def payload_text(body: Message | RejectedMessage) -> str:
    """Return a payload for people: what is not UTF-8 as U+FFFD, what should be base64 and is not as it is."""
    if body.payload is not None:
        return body.payload
    try:
        return Message(body.topic, None, body.payload_base64).payload_bytes().decode(errors="replace")
    except ValueError:  # somebody else's record
        return body.payload_base64 or ""


def messages_of(record: TopicRecord) -> Iterator[Browsed]:
    """Yield a record's messages in order; one that somebody else wrote yields its beginning as a message."""
    try:
        yield from _READ[TopicKind(record.kind)](record)
    except MalformedRecord:
        beginning = record.value[:KEPT_BYTES].decode(errors="replace")
        message = Message(topic="", payload=beginning, size_bytes=len(record.value))
        yield Browsed(record, Coordinate(record.partition, record.offset, 0), message)


def _raw(record: TopicRecord) -> Sequence[Browsed]:
    return [
        Browsed(record, Coordinate(record.partition, record.offset, index), message)
        for index, message in enumerate(raw.decode(record.value))
    ]


def _unique(record: TopicRecord) -> Sequence[Browsed]:
    chunk = unique.decode(record.value)
    at = chunk.origin
    return [
        Browsed(record, Coordinate(at.partition, at.offset, reading.index), reading)
        for reading in chunk.readings
    ]


def _rejected(record: TopicRecord) -> Sequence[Browsed]:
    chunk = rejected.decode(record.value)
    at = chunk.origin
    return [
        Browsed(record, Coordinate(at.partition, at.offset, each.index), each, chunk.reason, chunk.stage)
        for each in chunk.messages
    ]


_READ: dict[TopicKind, Callable[[TopicRecord], Sequence[Browsed]]] = {
    TopicKind.RAW: _raw,
    TopicKind.UNIQUE: _unique,
    TopicKind.REJECTED: _rejected,
}
