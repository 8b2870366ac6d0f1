"""What one tenant sends holds up neither the event loop nor the partitions of others."""

import asyncio
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress

from streams.counters import Statistics
from streams.ingress.chunk_writer import MAX_BATCH_BYTES, Headers, Written
from streams.ingress.chunking import partition_of
from streams.ingress.flow import Flow
from streams.ingress.write_queue import UNDER_WAY_BYTES, WAITING_BYTES
from streams.mqtt.inbox import TAKE_BYTES
from streams.mqtt.testing import FakeTransport
from streams.settings import Settings
from streams.wire.raw import decode
from tests.parts.eventually import eventually

PARTITIONS, HOSTILE = 8, "hostile"
HONEST = next(
    name
    for name in map("honest-{}".format, range(100))
    if partition_of(name, PARTITIONS) != partition_of(HOSTILE, PARTITIONS)
)
LARGE = b"x" * 64 * 1024


class SlowKafka:
    """Answers for no partition that is slow; like aiokafka, it lets a full batch wait for the one before."""

    def __init__(self, *slow: str) -> None:
        self.slow = {partition_of(tenant, PARTITIONS) for tenant in slow}
        self.topics: list[str] = []
        self.under_way: Counter[int] = Counter()
        self.most_under_way = 0
        self._answers: list[tuple[int, int, Written]] = []
        self._moved = asyncio.Event()

    async def open(self) -> None:
        """Be ready."""

    async def close(self) -> None:
        """Do nothing."""

    def has_room(self, partition: int, size_bytes: int) -> bool:
        """Tell whether the record goes into the batch that is gathered."""
        return not self.under_way[partition] or self.under_way[partition] + size_bytes <= MAX_BATCH_BYTES

    async def write(self, partition: int, value: bytes, _headers: Headers) -> Written:
        """Queue a record, if need be once there is room for it."""
        while not self.has_room(partition, len(value)):
            self._moved.clear()
            await self._moved.wait()
        self.under_way[partition] += len(value)
        self.most_under_way = max(self.most_under_way, self.under_way[partition])
        self.topics += [message.topic for message in decode(value)]
        written: Written = asyncio.get_running_loop().create_future()
        self._answers.append((partition, len(value), written))
        self.answer()
        return written

    def answer(self) -> None:
        """Answer for the partitions that are not slow."""
        waiting = [one for one in self._answers if one[0] in self.slow]
        for partition, size, written in [one for one in self._answers if one[0] not in self.slow]:
            self.under_way[partition] -= size
            written.set_result(None)
        self._answers = waiting
        self._moved.set()

    def recover(self) -> None:
        """Be slow no more."""
        self.slow.clear()
        self.answer()


@asynccontextmanager
async def carrying(kafka: SlowKafka, statistics: Statistics) -> AsyncIterator[FakeTransport]:
    broker = FakeTransport(receive_maximum=5_000, statistics=statistics)
    connection = await broker.connect()
    settings = Settings(topic_partitions=PARTITIONS, chunk_linger_ms=0.0, chunk_linger_max_ms=0.0)
    running = asyncio.create_task(Flow(settings, statistics, connection, kafka).run())
    yield broker
    running.cancel()
    with suppress(asyncio.CancelledError):
        await running


def publish(broker: FakeTransport, tenant: str, count: int = 1, payload: bytes = LARGE) -> None:
    for number in range(count):
        broker.publish(f"metrics/{tenant}/{number}/cpu", payload)


async def test_a_partition_that_kafka_takes_slowly_holds_up_no_other() -> None:
    kafka = SlowKafka(HOSTILE)
    async with carrying(kafka, Statistics()) as broker:
        publish(broker, HOSTILE, 40)
        publish(broker, HONEST, payload=b"{}")
        await eventually(lambda: f"metrics/{HONEST}/0/cpu" in kafka.topics)
        assert kafka.topics.count(f"metrics/{HOSTILE}/39/cpu") == 0

        kafka.recover()
        await eventually(lambda: broker.waiting == 0)
    hostile = [int(topic.split("/")[2]) for topic in kafka.topics if HOSTILE in topic]
    assert hostile == list(range(40))
    assert kafka.most_under_way <= UNDER_WAY_BYTES


async def test_a_chunk_of_small_messages_waits_no_more_behind_large_ones_than_one_of_its_size() -> None:
    kafka = SlowKafka(HOSTILE)
    async with carrying(kafka, Statistics()) as broker:
        publish(broker, HOSTILE, 3_000, b'{"value": 1}' + b" " * 500)
        publish(broker, HONEST, payload=b"{}")
        await eventually(lambda: f"metrics/{HONEST}/0/cpu" in kafka.topics)


async def test_others_have_a_turn_while_much_is_taken() -> None:
    statistics, kafka = Statistics(), SlowKafka()
    async with carrying(kafka, statistics) as broker:
        publish(broker, HOSTILE, 100)
        seen, most = 0, 0
        while broker.waiting:
            await asyncio.sleep(0)
            most, seen = max(most, statistics.messages["received"] - seen), statistics.messages["received"]
        assert seen == 100
        assert most <= TAKE_BYTES // len(LARGE)


async def test_what_waits_for_kafka_is_bounded_in_bytes_and_flows_again() -> None:
    statistics, kafka = Statistics(), SlowKafka(HOSTILE)
    async with carrying(kafka, statistics) as broker:
        publish(broker, HOSTILE, 400)
        for _ in range(200):
            await asyncio.sleep(0)
        bound = WAITING_BYTES + UNDER_WAY_BYTES + TAKE_BYTES
        assert WAITING_BYTES <= statistics.messages["received"] * len(LARGE) <= bound

        kafka.recover()
        await eventually(lambda: broker.waiting == 0)
        assert statistics.messages["acknowledged"] == 400
