"""The producer on a real Kafka: which errors break it, and that its renewal loses nobody's records.

A record that Kafka refuses for its size has used up a sequence number (aiokafka counts when it sends), so the
next one that Kafka does take is out of order for it: a real fatal error.
"""

import asyncio
from collections.abc import AsyncIterator
from types import SimpleNamespace
from typing import Any

import pytest
from aiokafka.admin import AIOKafkaAdminClient, NewTopic
from aiokafka.admin.config_resource import ConfigResource, ConfigResourceType
from aiokafka.errors import OutOfOrderSequenceNumber

from streams.errors import DeliveryFailed
from streams.kafka import producer as module
from streams.kafka.producer import Outgoing, Producer, WatchedProducer, deliver
from tests.parts.eventually import eventually
from tests.parts.kafka import Kafka
from tests.parts.topics import read_topic

PARTITIONS = 4
SMALL, LARGE = b"small", b"x" * 4_000
REFUSES_LARGE = {"max.message.bytes": "2000"}


class Bench:
    """Faust's producer on a real Kafka, without a Faust app around it."""

    def __init__(self, bootstrap: str, topic: str) -> None:
        self.topic = topic
        self.bootstrap = bootstrap
        self.made = 0
        self.producer: Any = Producer.__new__(Producer)
        self.producer._renewing = asyncio.Lock()
        self.producer._retiring = set()
        self.producer._new_producer = self._make
        self.producer._producer = self._make()
        self.app: Any = SimpleNamespace(producer=SimpleNamespace(send=self._send, renew_if_broken=self.renew))

    def _make(self) -> WatchedProducer:
        self.made += 1
        return WatchedProducer(bootstrap_servers=self.bootstrap, enable_idempotence=True, acks="all")

    async def _send(self, topic: str, key: Any, value: bytes, *others: Any) -> Any:
        return await self.producer._producer.send(topic, value, key, *others)

    async def renew(self) -> None:
        await self.producer.renew_if_broken()

    async def deliver(self, value: bytes, partition: int = 0) -> None:
        await deliver(self.app, [Outgoing(self.topic, value, partition, [])])

    async def persist(self, value: bytes, partition: int) -> int:
        """Deliver as an agent does; return how many tries failed."""
        for failed in range(20):
            try:
                await self.deliver(value, partition)
            except DeliveryFailed:
                continue
            return failed
        raise AssertionError("twenty tries failed")

    async def values(self) -> list[bytes]:
        return sorted(record.value for record in await read_topic(self.bootstrap, self.topic))


@pytest.fixture
async def bench(kafka: Kafka, unique: str) -> AsyncIterator[Bench]:
    admin = AIOKafkaAdminClient(bootstrap_servers=kafka.bootstrap)
    await admin.start()
    await admin.create_topics([NewTopic(unique, PARTITIONS, 1, topic_configs=REFUSES_LARGE)])
    await admin.close()
    made = Bench(kafka.bootstrap, unique)
    await made.producer._producer.start()
    yield made
    await made.producer._producer.stop()
    if made.producer._retiring:
        await asyncio.wait(made.producer._retiring)


async def _allow_large(bench: Bench) -> None:
    admin = AIOKafkaAdminClient(bootstrap_servers=bench.bootstrap)
    await admin.start()
    allowed = {"max.message.bytes": "100000"}
    await admin.alter_configs([ConfigResource(ConfigResourceType.TOPIC, bench.topic, allowed)])
    await admin.close()


async def test_a_record_that_kafka_refuses_makes_no_new_producer_however_often_it_is_tried(
    bench: Bench,
) -> None:
    await bench.deliver(SMALL)
    for _ in range(5):
        with pytest.raises(DeliveryFailed, match="MessageSizeTooLarge"):
            await bench.deliver(LARGE)
    assert bench.made == 1
    await _allow_large(bench)
    assert await bench.persist(LARGE, 0) <= 10
    assert bench.made == 2, "only then did Kafka miss the numbers of the refused ones"
    assert await bench.values() == sorted([SMALL, LARGE])


async def test_a_record_that_is_too_large_for_the_producer_itself_makes_no_new_one(bench: Bench) -> None:
    with pytest.raises(DeliveryFailed, match="MessageSizeTooLarge"):
        await bench.deliver(b"x" * 2_000_000)
    await bench.deliver(SMALL)
    assert bench.made == 1


async def test_a_fatal_error_that_all_partitions_meet_at_once_makes_one_new_producer(bench: Bench) -> None:
    for partition in range(PARTITIONS):
        await bench.deliver(b"first %d" % partition, partition)
        with pytest.raises(DeliveryFailed):
            await bench.deliver(LARGE, partition)
    await asyncio.gather(*(bench.persist(b"second %d" % p, p) for p in range(PARTITIONS)))
    assert bench.made == 2
    wanted = [b"%s %d" % (word, p) for word in (b"first", b"second") for p in range(PARTITIONS)]
    assert await bench.values() == wanted


async def test_what_other_partitions_have_under_way_is_not_lost_by_a_renewal(bench: Bench) -> None:
    await bench.deliver(b"first", 0)
    with pytest.raises(DeliveryFailed):
        await bench.deliver(LARGE, 0)

    async def stream(partition: int) -> None:
        for number in range(200):
            await bench.persist(b"%d/%04d" % (partition, number), partition)

    await asyncio.gather(stream(1), stream(2), bench.persist(b"second", 0))
    assert bench.made == 2
    wanted = [b"%d/%04d" % (p, n) for p in (1, 2) for n in range(200)]
    assert await bench.values() == sorted([*wanted, b"first", b"second"])


async def test_who_waits_for_a_producer_that_was_given_up_is_told(
    bench: Bench, kafka: Kafka, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "STOP_TIMEOUT_S", 0.2)
    await bench.deliver(SMALL)
    kafka.pause()
    waiting = asyncio.create_task(bench.deliver(b"under way", 1))
    old = bench.producer._producer
    # Sent, or about to be: on a busy machine its connection may have to be made first.
    await eventually(lambda: old._message_accumulator._pending_batches or old._message_accumulator._batches)
    await old.give_up()
    with pytest.raises(DeliveryFailed, match="given up"):
        await asyncio.wait_for(waiting, 30)
    kafka.resume()
    bench.producer._producer = bench._make()
    await bench.producer._producer.start()
    await bench.deliver(b"after", 1)


async def test_the_error_of_kafka_itself_marks_the_producer_as_broken(bench: Bench) -> None:
    await bench.deliver(SMALL)
    with pytest.raises(DeliveryFailed):
        await bench.deliver(LARGE)
    raw = bench.producer._producer
    assert not raw.is_broken
    with pytest.raises(OutOfOrderSequenceNumber):
        await (await raw.send(bench.topic, SMALL, partition=0))
    assert raw.is_broken
