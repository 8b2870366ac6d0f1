"""Spans of chunks from stage to stage, on a fake of what collects them; nothing where there is none."""

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass, field

import mqtt5
import pytest

from streams.ingress.testing import FakeChunkWriter
from streams.kafka.producer import Outgoing
from streams.kafka.record_loop import Record
from streams.models import Origin
from streams.otel import OtelSpans
from streams.spans import Attributes, Senders, Span, TracedWriter, traced, traced_emit
from streams.wire import raw, unique

DEVICE = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"
NOT_SAMPLED = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-00"
AT = "2026-11-23T14:00:00.250000Z"
TOPIC = "metrics/7c9e6679-7425-40de-944b-e07fc1f90ae7/edge-1/cpu"


@dataclass
class FakeSpan:
    stage: str
    attributes: Attributes
    parent: bytes
    links: Sequence[str]
    since_ns: int | None
    header: bytes
    ended: list[BaseException | None] = field(default_factory=list)

    def end(self, error: BaseException | None = None) -> None:
        self.ended.append(error)


class FakeSpans:
    """Keeps spans."""

    def __init__(self) -> None:
        self.begun: list[FakeSpan] = []

    def begin(
        self,
        stage: str,
        attributes: Attributes,
        *,
        parent: bytes = b"",
        links: Sequence[str] = (),
        since_ns: int | None = None,
    ) -> Span:
        header = b"span %d" % len(self.begun)
        self.begun.append(FakeSpan(stage, attributes, parent, links, since_ns, header))
        return self.begun[-1]


def published(payload: bytes, *properties: tuple[str, str]) -> memoryview:
    packet = mqtt5.PublishPacket(
        TOPIC, payload, qos=mqtt5.QoS.AT_LEAST_ONCE, packet_id=7, user_properties=list(properties)
    )
    return memoryview(packet.write())


def chunk(*payloads: bytes) -> bytes:
    return raw.join([raw.encode_message(TOPIC, payload, AT, 1) for payload in payloads])


async def test_where_nothing_collects_spans_the_work_is_the_work_itself() -> None:
    async def work(records: Sequence[Record]) -> None:
        raise NotImplementedError

    async def emit(records: Sequence[Outgoing]) -> None:
        raise NotImplementedError

    assert traced(work, None, "refine", "metrics.raw") is work
    assert traced_emit(emit, None, "metrics.unique") is emit


async def test_a_chunk_is_timed_from_its_oldest_message_until_kafka_has_it() -> None:
    spans, kafka = FakeSpans(), FakeChunkWriter()
    writer = TracedWriter(kafka, spans, "metrics.raw", Senders())
    await writer.open()
    kafka.away = True
    written = await writer.write(3, chunk(b'{"value": 1}', b"{}"), [("messages", b"2")])
    (span,) = spans.begun
    assert span.since_ns == 1_795_442_400_250_000_000
    assert span.attributes["partition"] == 3
    assert not span.ended
    kafka.come_back()
    await written
    await asyncio.sleep(0)
    assert span.ended == [None]
    assert kafka.log[0].headers["traceparent"] == span.header
    assert kafka.log[0].headers["messages"] == b"2"


async def test_a_chunk_that_kafka_does_not_take_ends_its_span_with_the_error() -> None:
    spans, kafka = FakeSpans(), FakeChunkWriter()
    writer = TracedWriter(kafka, spans, "metrics.raw", Senders())
    await writer.open()
    kafka.away = True
    written = await writer.write(3, chunk(b"{}"), [])
    await writer.close()
    error = (await asyncio.gather(written, return_exceptions=True))[0]
    await asyncio.sleep(0)
    assert isinstance(error, Exception)
    assert spans.begun[0].ended == [error]


async def test_what_refine_emits_carries_on_the_trace_of_its_chunk() -> None:
    spans, sent = FakeSpans(), list[Outgoing]()

    async def emit(records: Sequence[Outgoing]) -> None:
        sent.extend(records)

    emitting = traced_emit(emit, spans, "metrics.unique")

    async def work(records: Sequence[Record]) -> None:
        for each in records:
            value = unique.encode(Origin(each.partition, each.offset), [])
            others = Outgoing("metrics.rejected", b"{}", each.partition, [])
            await emitting([Outgoing("metrics.unique", value, each.partition, [("a", b"b")]), others])

    records = [Record(3, 5, b"", {"traceparent": b"of ingress"}), Record(3, 6, b"", {})]
    await traced(work, spans, "refine", "metrics.raw")(records)
    assert [(span.parent, span.attributes["offset"]) for span in spans.begun] == [
        (b"of ingress", 5),
        (b"", 6),
    ]
    assert [span.ended for span in spans.begun] == [[None], [None]]
    headers = [record.headers for record in sent]
    assert headers == [
        [("a", b"b"), ("traceparent", b"span 0")], [], [("a", b"b"), ("traceparent", b"span 1")], [],
    ]  # fmt: skip


async def test_partitions_that_are_at_work_at_once_keep_their_traces_apart() -> None:
    spans, sent, both = FakeSpans(), list[Outgoing](), asyncio.Barrier(2)

    async def emit(records: Sequence[Outgoing]) -> None:
        sent.extend(records)

    emitting = traced_emit(emit, spans, "metrics.unique")

    async def work(records: Sequence[Record]) -> None:
        (each,) = records
        await both.wait()
        value = unique.encode(Origin(each.partition, each.offset), [])
        await emitting([Outgoing("metrics.unique", value, each.partition, [])])

    refine = traced(work, spans, "refine", "metrics.raw")
    await asyncio.gather(*(refine([Record(partition, 5, b"", {})]) for partition in (0, 1)))
    by_partition = {span.attributes["partition"]: span.header for span in spans.begun}
    assert {record.partition: dict(record.headers)["traceparent"] for record in sent} == by_partition


async def test_work_that_fails_ends_its_spans_with_the_error() -> None:
    spans = FakeSpans()

    async def work(records: Sequence[Record]) -> None:
        raise ValueError(len(records))

    with pytest.raises(ValueError, match="1"):
        await traced(work, spans, "handoff", "metrics.unique")([Record(3, 5, b"", {})])
    assert isinstance(spans.begun[0].ended[0], ValueError)


@pytest.mark.parametrize(
    ("properties", "found"),
    [
        ([("traceparent", DEVICE)], [DEVICE]),
        ([("a", "b"), ("traceparent", DEVICE)], [DEVICE]),
        ([("traceparent", NOT_SAMPLED)], []),
        ([("traceparent", "rubbish")], []),
        ([("traceparent", DEVICE + "0")], []),
        ([], []),
    ],
)
@pytest.mark.parametrize(
    "payload", [b'{"value": 1}', b'{"a": "\\"\xc3\xa9"}', b"\xff\x00", b"", b"x" * 70_000]
)
def test_a_device_that_traces_its_message_is_found_with_the_chunk_that_holds_it(
    payload: bytes, properties: list[tuple[str, str]], found: list[str]
) -> None:
    senders = Senders()
    view = published(payload, *properties)
    assert senders.read(view)[1] == len(view)
    assert senders.found_in(chunk(b'{"value": 2}')) == []
    assert senders.found_in(chunk(b'{"value": 2}', payload)) == found
    assert senders.found_in(chunk(payload)) == []


def is_sampled(span: Span) -> bool:
    return int(span.header[-2:], 16) & 1 == 1


async def test_with_opentelemetry_one_trace_leads_from_the_device_through_the_stages() -> None:
    spans = OtelSpans("http://127.0.0.1:9", 0.0, "here")
    await spans.start()
    try:
        first = spans.begin("ingress", {}, links=[DEVICE])
        second = spans.begin("refine", {}, parent=first.header)
        assert first.header[:36] == second.header[:36] == DEVICE.encode()[:36]
        assert is_sampled(first)
        assert is_sampled(second)
        assert first.header != second.header
        other = spans.begin("ingress", {})
        assert not is_sampled(other)  # a share of 0
        assert not is_sampled(spans.begin("refine", {}, parent=other.header))
    finally:
        await spans.stop()


async def test_before_the_start_and_after_the_end_nothing_is_sampled() -> None:
    spans = OtelSpans("http://127.0.0.1:9", 1.0, "here")
    assert not is_sampled(spans.begin("ingress", {}))
    await spans.start()
    assert is_sampled(spans.begin("ingress", {}))
    await spans.stop()
    assert not is_sampled(spans.begin("ingress", {}))
