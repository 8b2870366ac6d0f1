"""A span of each chunk at each stage, from ingress to handoff: one trace, told by whoever collects them.

The agents know nothing of it: what they are handed (a writer, the work of the loop, what emits) is wrapped
where it is wired, and only where OTEL_EXPORTER_OTLP_ENDPOINT is set. From stage to stage goes the header
``traceparent`` (W3C Trace Context, https://www.w3.org/TR/trace-context/). A device that sends one as an
MQTT 5 user property, with the flag that says it is sampled, finds the chunk of its message in its own trace,
or linked to it where another came first.
"""

import re
import time
from collections import deque
from collections.abc import Awaitable, Callable, Mapping, Sequence
from contextlib import ExitStack
from contextvars import ContextVar
from functools import partial
from types import TracebackType
from typing import Any, Protocol, TypeAlias

import mqtt5

from streams.ingress.chunk_writer import ChunkWriter, Headers, Written
from streams.kafka.producer import Outgoing
from streams.timings import INGRESS
from streams.wire import raw, unique

TRACEPARENT = "traceparent"
SAMPLED = re.compile(r"00-[0-9a-f]{32}-[0-9a-f]{16}-[0-9a-f][13579bdf]")
"""Version 00, whose last flag says that the sender records it."""
US, NS_PER_US = 1_000_000, 1_000
MOST_WAITING = 1_000
"""Publications with a trace of their own that have not been seen in a chunk yet."""
_RECEIVED_AT = re.compile(rb'(?<!\\)"received_at":"([0-9T:.Z-]+)"')


Attributes: TypeAlias = Mapping[str, str | int]


class Span(Protocol):
    """One chunk at one stage."""

    @property
    def header(self) -> bytes:
        """The ``traceparent`` by which what follows belongs to it."""
        ...

    def end(self, error: BaseException | None = None) -> None:
        """The stage is through with the chunk, or has failed."""
        ...


class Spans(Protocol):
    """Begins spans."""

    def begin(
        self,
        stage: str,
        attributes: Attributes,
        *,
        parent: bytes = b"",
        links: Sequence[str] = (),
        since_ns: int | None = None,
    ) -> Span:
        """Begin one.

        Args:
            stage: its name.
            attributes: what it is about.
            parent: the ``traceparent`` of the stage before; empty for none.
            links: those of devices.
            since_ns: Unix time in nanoseconds, if it began before now.
        """
        ...


class TracedRecord(Protocol):
    """A record of a topic, as the agents' loop has it."""

    @property
    def partition(self) -> int:
        """Of the topic."""
        ...

    @property
    def offset(self) -> int:
        """In the partition."""
        ...

    @property
    def headers(self) -> dict[str, bytes]:
        """By name."""
        ...


_open: ContextVar[Mapping[int, Span]] = ContextVar("spans of the chunks at work, by offset")


class Senders:
    """What devices have said of their own traces, until their messages are in a chunk."""

    def __init__(self) -> None:
        self._waiting: deque[tuple[bytes, str]] = deque(maxlen=MOST_WAITING)

    def read(self, view: memoryview) -> tuple[Any, int]:
        """Read a packet as the codec does, and note whether its sender traces it."""
        packet, size = mqtt5.read(view)
        if isinstance(packet, mqtt5.PublishPacket):
            for name, value in packet.user_properties or ():
                if name == TRACEPARENT and SAMPLED.fullmatch(value):
                    encoded = raw.encode_message(packet.topic, packet.payload or b"", "?", 0)
                    # As it stands in a chunk up to the time of its arrival, which is not known here.
                    self._waiting.append((encoded.rpartition(b'"?"')[0], value))
        return packet, size

    def found_in(self, chunk: bytes) -> list[str]:
        """Take those whose messages a chunk holds."""
        if not self._waiting:
            return []
        found = [(message, sender) for message, sender in self._waiting if message in chunk]
        for each in found:
            self._waiting.remove(each)
        return [sender for _, sender in found]


class TracedWriter:
    """Writes chunks of ingress, a span for each: from the arrival of its oldest message until Kafka has it.

    Args:
        writer: the real one.
        spans: begins them.
        topic: metrics.raw.
        senders: what devices have said.
    """

    def __init__(self, writer: ChunkWriter, spans: Spans, topic: str, senders: Senders) -> None:
        self._writer = writer
        self._spans = spans
        self._topic = topic
        self._senders = senders
        self.open, self.close, self.has_room = writer.open, writer.close, writer.has_room

    async def write(self, partition: int, value: bytes, headers: Headers) -> Written:
        """Queue a record."""
        arrived = _RECEIVED_AT.search(value)
        arrived_at = raw.unix_s(arrived[1].decode()) if arrived else None
        attributes: Attributes = {"topic": self._topic, "partition": partition, "bytes": len(value)}
        span = self._spans.begin(
            INGRESS,
            attributes,
            links=self._senders.found_in(value),
            since_ns=None if arrived_at is None else round(arrived_at * US) * NS_PER_US,
        )
        with ExitStack() as unless_queued:
            unless_queued.push(partial(_end, span))
            written = await self._writer.write(partition, value, [*headers, (TRACEPARENT, span.header)])
            unless_queued.pop_all()
        written.add_done_callback(lambda done: span.end(None if done.cancelled() else done.exception()))
        return written


def _end(
    span: Span,
    _kind: type[BaseException] | None,
    error: BaseException | None,
    _trace: TracebackType | None,
) -> None:
    """End a span as a block is left: with what it has failed with, if it has."""
    span.end(error)


Work = Callable[[Sequence[Any]], Awaitable[None]]
Emit = Callable[[Sequence[Outgoing]], Awaitable[Any]]


def traced(work: Work, spans: Spans | None, stage: str, topic: str) -> Work:
    """Return the work on records of a topic with a span for each; the work itself where there are none."""
    if spans is None:
        return work
    begin = spans.begin

    async def work_traced(records: Sequence[TracedRecord]) -> None:
        now_ns, opened = time.time_ns(), dict[int, Span]()
        with ExitStack() as afterwards:
            for each in records:
                attributes: Attributes = {"topic": topic, "partition": each.partition, "offset": each.offset}
                parent = each.headers.get(TRACEPARENT, b"")
                span = opened[each.offset] = begin(stage, attributes, parent=parent, since_ns=now_ns)
                afterwards.push(partial(_end, span))
            afterwards.callback(_open.reset, _open.set(opened))
            await work(records)

    return work_traced


def traced_emit(emit: Emit, spans: Spans | None, unique_topic: str) -> Emit:
    """Return what emits records such that those of metrics.unique carry on their chunk's trace."""
    if spans is None:
        return emit

    async def emit_traced(records: Sequence[Outgoing]) -> Any:
        opened = _open.get({})
        return await emit([_carrying_on(each, opened, unique_topic) for each in records])

    return emit_traced


def _carrying_on(record: Outgoing, opened: Mapping[int, Span], unique_topic: str) -> Outgoing:
    if record.topic != unique_topic or record.value is None:
        return record
    span = opened.get(unique.decode_origin(record.value).offset)
    return record if span is None else record._replace(headers=[*record.headers, (TRACEPARENT, span.header)])
