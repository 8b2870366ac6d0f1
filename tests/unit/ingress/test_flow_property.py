"""The flow, its chunks and acknowledgements together: any messages, durable in any order."""

import asyncio
from collections.abc import Callable, Coroutine
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from hypothesis import event, given, settings
from hypothesis import strategies as st

from streams.counters import Statistics
from streams.errors import DeliveryFailed
from streams.ingress.chunk_writer import Headers, Written
from streams.ingress.chunking import partition_of, tenant_level
from streams.ingress.flow import Flow
from streams.mqtt.testing import FakeTransport
from streams.settings import Settings
from streams.wire.raw import decode

PARTITIONS, MAX_MESSAGES, MAX_BYTES = 4, 5, 1_024
TENANTS = [f"tenant-{number}" for number in range(6)]
TURNS_TO_SETTLE = 30


class Message(NamedTuple):
    """One that a device publishes."""

    tenant: str
    size: int
    qos: int
    retained: bool


class Answer(NamedTuple):
    """Kafka takes one of the chunks that it was asked to, counted round."""

    number: int


class Moment(NamedTuple):
    """The event loop runs until nothing moves, and perhaps the linger ends."""

    lingered: bool


messages = st.builds(
    Message,
    st.sampled_from(TENANTS),
    st.sampled_from([1, 1, 300, 700, 2_000]),
    st.sampled_from([1, 1, 1, 0]),
    st.sampled_from([False, False, False, True]),
)
moments = st.builds(Moment, st.booleans())
acts = st.lists(st.one_of(messages, messages, moments, st.builds(Answer, st.integers(0, 9))), max_size=60)


@dataclass
class Kafka:
    """Answers each write when and how the test says."""

    written: list[tuple[int, bytes]] = field(default_factory=list)
    asked: list[tuple[int, bytes, Written]] = field(default_factory=list)
    durable: set[bytes] = field(default_factory=set)

    async def open(self) -> None:
        """Be ready."""

    async def write(self, partition: int, value: bytes, _headers: Headers) -> Written:
        """Queue a record."""
        await asyncio.sleep(0)
        answer: Written = asyncio.get_running_loop().create_future()
        self.written.append((partition, value))
        self.asked.append((partition, value, answer))
        return answer

    def has_room(self, partition: int, _size_bytes: int) -> bool:
        """Have room for one record of a partition."""
        return all(asked != partition for asked, _, _ in self.asked)

    async def close(self) -> None:
        """Do nothing."""

    def take(self, number: int) -> None:
        """Let a record that waits become durable, in whatever order."""
        if self.asked:
            _, value, answer = self.asked.pop(number % len(self.asked))
            self.durable |= {message.payload_bytes() for message in decode(value)}
            answer.set_result(None)

    def refuse(self, number: int) -> None:
        """Refuse a record that waits."""
        _, _, answer = self.asked.pop(number % len(self.asked))
        answer.set_exception(DeliveryFailed("metrics.raw", "refused by the test"))


class Bench:
    """A flow on a connection, with a clock that the test moves."""

    def __init__(self, linger_ms: float, receive_maximum: int) -> None:
        self.now = 1_000.0
        self.linger_s = linger_ms / 1_000
        self.settings = Settings(
            topic_partitions=PARTITIONS,
            chunk_linger_ms=linger_ms,
            chunk_linger_max_ms=linger_ms,
            chunk_max_messages=MAX_MESSAGES,
            chunk_max_bytes=MAX_BYTES,
        )
        self.broker = FakeTransport(receive_maximum=receive_maximum)
        self.kafka = Kafka()
        self.published: list[tuple[Message, tuple[str, bytes]]] = []

    async def start(self) -> None:
        self.connection = await self.broker.connect()
        self.flow = Flow(self.settings, Statistics(), self.connection, self.kafka, monotonic=lambda: self.now)
        self.running = asyncio.create_task(self.flow.run())
        await self.settle()

    async def settle(self) -> None:
        for _ in range(TURNS_TO_SETTLE):
            await asyncio.sleep(0)

    async def do(self, act: Message | Answer | Moment) -> None:
        if isinstance(act, Message):
            payload = b"%d " % len(self.published) + b"x" * act.size
            self.published.append((act, (f"metrics/{act.tenant}/edge-1/cpu", payload)))
            self.broker.publish(*self.published[-1][1], qos=act.qos, retained=act.retained)
        elif isinstance(act, Answer):
            self.kafka.take(act.number)
            await self.settle()
        else:
            if act.lingered:
                self.now += self.linger_s
                self.connection.inbox.wake()
            await self.settle()

    async def stop(self) -> None:
        """Stand by, as ingress does: what came is written, and acknowledged when it is durable."""
        await self.settle()
        self.running.cancel()
        with suppress(asyncio.CancelledError):
            await self.running
        finishing = asyncio.create_task(self.flow.finish())
        while not finishing.done():
            self.kafka.take(0)
            await asyncio.sleep(0)
        await finishing

    @property
    def to_acknowledge(self) -> list[tuple[str, bytes]]:
        return [sent for message, sent in self.published if message.qos]

    def check_acknowledgements(self) -> None:
        """They are those of the first messages, in order, and each but a retained one is durable."""
        acknowledged = self.broker.acknowledged
        assert acknowledged == self.to_acknowledge[: len(acknowledged)]
        retained = {sent for message, sent in self.published if message.retained}
        assert all(sent in retained or sent[1] in self.kafka.durable for sent in acknowledged)


def live(work: Callable[[Bench], Coroutine[Any, Any, None]], linger_ms: float, receive_maximum: int) -> Bench:
    bench = Bench(linger_ms, receive_maximum)

    async def begin() -> None:
        await bench.start()
        await work(bench)

    asyncio.run(begin())
    return bench


async def _carry(bench: Bench, history: list[Message | Answer | Moment]) -> None:
    for act in history:
        await bench.do(act)
        bench.check_acknowledgements()


lingers_ms = st.sampled_from([0.0, 1_000.0])
receive_maximums = st.sampled_from([1, 7, 2_000])


@settings(deadline=None)
@given(acts, lingers_ms, receive_maximums)
def test_acknowledgements_follow_the_order_of_arrival_and_durability_and_leave_nothing_out(
    history: list[Message | Answer | Moment], linger_ms: float, receive_maximum: int
) -> None:
    async def work(bench: Bench) -> None:
        await _carry(bench, history)
        while bench.broker.waiting:  # Receive Maximum holds back what was not acknowledged
            await bench.do(Moment(lingered=True))
            await bench.do(Answer(0))
        await bench.stop()

    bench = live(work, linger_ms, receive_maximum)
    bench.check_acknowledgements()
    assert bench.broker.acknowledged == bench.to_acknowledge


@settings(deadline=None)
@given(acts, lingers_ms, st.integers(0, 9))
def test_nothing_is_acknowledged_any_more_once_kafka_has_refused_a_chunk(
    history: list[Message | Answer | Moment], linger_ms: float, refused: int
) -> None:
    async def work(bench: Bench) -> None:
        await _carry(bench, history)
        await bench.do(Moment(lingered=True))
        if not bench.kafka.asked:
            event("nothing to refuse")
            bench.connection.drop(DeliveryFailed("metrics.raw", "at the end of the test"))
        else:
            bench.kafka.refuse(refused)
        await bench.settle()
        acknowledged = list(bench.broker.acknowledged)
        while bench.kafka.asked:
            bench.kafka.take(0)
            await bench.settle()
        assert bench.broker.acknowledged == acknowledged
        bench.check_acknowledgements()
        assert isinstance(bench.running.exception(), DeliveryFailed)

    live(work, linger_ms, 2_000)


@settings(deadline=None)
@given(acts, lingers_ms)
def test_chunks_keep_to_their_limits_their_partition_and_the_order_of_arrival(
    history: list[Message | Answer | Moment], linger_ms: float
) -> None:
    async def work(bench: Bench) -> None:
        await _carry(bench, history)
        await bench.stop()

    bench = live(work, linger_ms, 2_000)
    carried: dict[int, list[tuple[str, bytes]]] = {partition: [] for partition in range(PARTITIONS)}
    for partition, value in bench.kafka.written:
        chunk = decode(value)
        assert 1 <= len(chunk) <= MAX_MESSAGES
        assert len(value) <= MAX_BYTES or len(chunk) == 1
        carried[partition] += [(message.topic, message.payload_bytes()) for message in chunk]
    for partition, found in carried.items():
        assert found == [
            sent
            for message, sent in bench.published
            if not message.retained and partition_of(tenant_level(sent[0]), PARTITIONS) == partition
        ]
