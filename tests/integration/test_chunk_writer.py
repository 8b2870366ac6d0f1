"""The chunk writer on a real Kafka: what it calls written can be read; one that comes back finds it."""

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import pytest
from aiokafka import AIOKafkaConsumer, TopicPartition
from aiokafka.admin import AIOKafkaAdminClient, NewTopic
from aiokafka.errors import OutOfOrderSequenceNumber

from streams.errors import DeliveryFailed, Outage
from streams.ingress.chunk_writer import MAX_BATCH_BYTES, KafkaChunkWriter
from streams.ingress.lease import Lease
from streams.settings import Settings
from streams.wire.headers import ChainLink, read_link
from tests.parts.kafka import Kafka

PARTITIONS = 2
HEADERS = [("format", b"1"), ("messages", b"1")]


def settings_for(kafka: Kafka, prefix: str, **different: object) -> Settings:
    named = {"broker_url": kafka.url, "topic_prefix": prefix, "topic_partitions": PARTITIONS}
    return Settings(**(named | different))


@pytest.fixture
async def settings(kafka: Kafka, unique: str) -> Settings:
    """Settings whose raw topic exists."""
    settings = settings_for(kafka, unique)
    await create_topic(kafka, settings.raw_topic)
    return settings


@pytest.fixture
async def writer(settings: Settings) -> AsyncIterator[KafkaChunkWriter]:
    writer = KafkaChunkWriter(settings)
    await writer.open()
    yield writer
    await writer.close()


async def create_topic(kafka: Kafka, topic: str, **configuration: str) -> None:
    admin = AIOKafkaAdminClient(bootstrap_servers=kafka.bootstrap)
    await admin.start()
    try:
        await admin.create_topics([NewTopic(topic, PARTITIONS, 1, topic_configs=configuration)])
    finally:
        await admin.close()


async def read_all(kafka: Kafka, topic: str, partition: int = 0) -> list[bytes]:
    return [record.value for record in await records_of(kafka, topic, partition)]


async def links_of(kafka: Kafka, topic: str, partition: int = 0) -> list[tuple[bytes, ChainLink | None]]:
    """Return each record's value, and where it says that it stands among its writer's."""
    records = await records_of(kafka, topic, partition)
    return [(record.value, read_link(dict(record.headers))) for record in records]


async def records_of(kafka: Kafka, topic: str, partition: int = 0) -> list[Any]:
    consumer = AIOKafkaConsumer(bootstrap_servers=kafka.bootstrap, enable_auto_commit=False)
    await consumer.start()
    try:
        place = TopicPartition(topic, partition)
        consumer.assign([place])
        await consumer.seek_to_beginning(place)
        end = (await consumer.end_offsets([place]))[place]
        records: list[Any] = []
        while len(records) < end:
            records.append(await asyncio.wait_for(consumer.getone(), 30))
        return records
    finally:
        await consumer.stop()


async def test_there_is_room_for_what_goes_into_the_batch_that_is_gathered(writer: KafkaChunkWriter) -> None:
    value = b"x" * (MAX_BATCH_BYTES // 3)
    first = await writer.write(0, value, HEADERS)
    assert writer.has_room(0, len(value))
    second = await writer.write(0, value, HEADERS)  # at once: nothing has had a turn that could send
    assert not writer.has_room(0, len(value))
    assert writer.has_room(1, len(value))

    await asyncio.gather(first, second)
    assert writer.has_room(0, len(value))


async def test_what_is_written_is_read_in_order_from_its_partition(
    kafka: Kafka, settings: Settings, writer: KafkaChunkWriter
) -> None:
    values = [b"%d" % number for number in range(200)]
    for written in [await writer.write(1, value, HEADERS) for value in values]:
        await written

    assert await read_all(kafka, settings.raw_topic, 1) == values
    assert await read_all(kafka, settings.raw_topic, 0) == []


@pytest.mark.parametrize("compression", ["none", "lz4", "zstd"])
async def test_every_compression_can_be_read(kafka: Kafka, settings: Settings, compression: str) -> None:
    writer = KafkaChunkWriter(settings.model_copy(update={"compression": compression}))
    await writer.open()
    await (await writer.write(0, b"x" * 10_000, HEADERS))
    await writer.close()

    assert await read_all(kafka, settings.raw_topic) == [b"x" * 10_000]


async def test_the_largest_chunk_there_can_be_is_written(kafka: Kafka, settings: Settings) -> None:
    largest = 6 * (64 + 64) * 1024  # a topic and a payload of 64 KiB each, all of it escaped
    writer = KafkaChunkWriter(settings.model_copy(update={"compression": "none"}))
    await writer.open()
    await (await writer.write(0, b"x" * largest, HEADERS))
    await writer.close()

    assert [len(value) for value in await read_all(kafka, settings.raw_topic)] == [largest]


async def test_a_kafka_that_is_killed_finds_what_was_queued_once_and_in_order_when_it_is_back(
    kafka: Kafka, settings: Settings, writer: KafkaChunkWriter
) -> None:
    await (await writer.write(0, b"before", HEADERS))
    await asyncio.to_thread(kafka.kill)
    values = [b"%d" % number for number in range(20)]
    queued = [await writer.write(0, value, HEADERS) for value in values]
    assert not any(written.done() for written in queued)

    await asyncio.to_thread(kafka.start)
    for written in queued:
        await asyncio.wait_for(written, 60)
    assert await read_all(kafka, settings.raw_topic) == [b"before", *values]


async def test_closing_while_kafka_is_away_fails_what_was_queued(
    kafka: Kafka, settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("streams.ingress.chunk_writer.STOP_TIMEOUT_S", 0.2)
    writer = KafkaChunkWriter(settings)
    await writer.open()
    await (await writer.write(0, b"before", HEADERS))
    kafka.pause()
    written = await writer.write(0, b"lost", HEADERS)
    await writer.close()

    with pytest.raises(DeliveryFailed, match="the producer was closed"):
        await written
    with pytest.raises(DeliveryFailed):
        await writer.write(0, b"after", HEADERS)


async def test_a_record_that_kafka_refuses_fails_and_the_writer_recovers_when_opened_again(
    kafka: Kafka, unique: str
) -> None:
    settings = settings_for(kafka, unique, compression="none")
    await create_topic(kafka, settings.raw_topic, **{"max.message.bytes": "1000"})
    writer = KafkaChunkWriter(settings)
    await writer.open()
    too_large = await writer.write(0, b"x" * 2_000, HEADERS)
    with pytest.raises(DeliveryFailed, match="MessageSizeTooLarge"):
        await too_large
    with pytest.raises(DeliveryFailed):
        await writer.write(0, b"out of order", HEADERS)

    await writer.open()
    await (await writer.write(0, b"small", HEADERS))
    await writer.close()
    assert await read_all(kafka, settings.raw_topic) == [b"small"]


async def test_after_a_fatal_error_of_the_producer_it_is_made_anew(
    kafka: Kafka, settings: Settings, writer: KafkaChunkWriter
) -> None:
    broken = writer._producer
    assert broken is not None
    broken._txn_manager.increment_sequence_number(TopicPartition(settings.raw_topic, 0), 7)
    await (await writer.write(0, b"first", HEADERS))
    broken._txn_manager.increment_sequence_number(TopicPartition(settings.raw_topic, 0), 7)
    refused = await writer.write(0, b"refused", HEADERS)
    with pytest.raises(DeliveryFailed, match=OutOfOrderSequenceNumber.__name__):
        await refused

    await writer.open()
    assert writer._producer is not broken
    await (await writer.write(0, b"second", HEADERS))
    assert (await read_all(kafka, settings.raw_topic))[-1] == b"second"


async def test_to_open_an_open_writer_keeps_its_producer(writer: KafkaChunkWriter) -> None:
    before = writer._producer
    await writer.open()

    assert writer._producer is before


async def test_a_kafka_that_is_not_there_is_an_outage(unique: str) -> None:
    with pytest.raises(Outage, match=r"kafka://127\.0\.0\.1:1 gives no answer"):
        await KafkaChunkWriter(Settings(broker_url="kafka://127.0.0.1:1", topic_prefix=unique)).open()


async def test_a_topic_with_another_number_of_partitions_is_refused_with_the_mend(
    settings: Settings,
) -> None:
    with pytest.raises(Outage, match=r"has 2 partitions, but TOPIC_PARTITIONS is 8.*Set TOPIC_PARTITIONS"):
        await KafkaChunkWriter(settings.model_copy(update={"topic_partitions": 8})).open()


async def test_a_writer_that_is_not_open_takes_nothing(settings: Settings) -> None:
    with pytest.raises(DeliveryFailed, match="not open"):
        await KafkaChunkWriter(settings).write(0, b"x", HEADERS)


async def test_records_are_numbered_for_each_partition_under_the_writers_name(
    kafka: Kafka, settings: Settings, writer: KafkaChunkWriter
) -> None:
    written = [await writer.write(number % 3 // 2, b"%d" % number, HEADERS) for number in range(30)]
    # Of each partition: what is not sent by the end never is.
    await asyncio.gather(*written, await writer.write(0, b"last", HEADERS))
    await writer.close()

    name = writer._name
    assert [link for _, link in await links_of(kafka, settings.raw_topic, 0)] == [
        ChainLink(name, number) for number in range(21)
    ]
    assert [link for _, link in await links_of(kafka, settings.raw_topic, 1)] == [
        ChainLink(name, number) for number in range(10)
    ]


@pytest.mark.parametrize("idempotence", [True, False])
async def test_a_record_that_failed_ends_its_writer_and_nothing_of_it_follows(
    kafka: Kafka, unique: str, *, idempotence: bool
) -> None:
    settings = settings_for(kafka, unique, compression="none", producer_idempotence=idempotence)
    await create_topic(kafka, settings.raw_topic, **{"max.message.bytes": "1000"})
    writer = KafkaChunkWriter(settings)
    await writer.open()
    await (await writer.write(0, b"first", HEADERS))
    too_large = await writer.write(0, b"x" * MAX_BATCH_BYTES, HEADERS)
    behind = await writer.write(0, b"behind", HEADERS)  # a batch of its own, since that one is full
    results = await asyncio.gather(too_large, behind, return_exceptions=True)
    assert [type(result) for result in results] == [DeliveryFailed] * 2

    await writer.open()
    await (await writer.write(0, b"anew", HEADERS))
    await writer.close()
    (first, before), (anew, after) = await links_of(kafka, settings.raw_topic)
    assert (first, anew) == (b"first", b"anew")
    assert before is not None
    assert after == ChainLink(writer._name, 0)
    assert before.writer != after.writer


async def test_a_kafka_that_is_killed_breaks_no_sequence(
    kafka: Kafka, settings: Settings, writer: KafkaChunkWriter
) -> None:
    await (await writer.write(0, b"0", HEADERS))
    await asyncio.to_thread(kafka.kill)
    queued = [await writer.write(0, b"%d" % number, HEADERS) for number in range(1, 10)]
    await asyncio.to_thread(kafka.start)
    for written in queued:
        await asyncio.wait_for(written, 60)

    links = await links_of(kafka, settings.raw_topic)
    assert links == [(b"%d" % number, ChainLink(writer._name, number)) for number in range(10)]


class Clock:
    """Time that a test moves: the machine was suspended, or the process stopped."""

    now = 1_000.0

    def __call__(self) -> float:
        return self.now


async def test_what_waits_in_the_producer_is_never_sent_once_the_process_stood_still(
    kafka: Kafka, settings: Settings
) -> None:
    clock = Clock()
    lease = Lease(8.0, clock)
    writer = KafkaChunkWriter(settings, lease)
    await writer.open()
    await (await writer.write(0, b"before", HEADERS))
    # Queued without a chance for the producer's task to run: this is what a freeze may leave behind.
    queued = [await writer.write(number % 2, b"held", HEADERS) for number in range(10)]
    clock.now += 23.0

    for result in await asyncio.gather(*queued, return_exceptions=True):
        assert "stood still for 23.0 s" in str(result)
    with pytest.raises(DeliveryFailed, match="stood still"):
        await writer.write(0, b"after", HEADERS)
    lease.begin()
    await writer.open()
    await (await writer.write(0, b"anew", HEADERS))
    await writer.close()
    assert await read_all(kafka, settings.raw_topic) == [b"before", b"anew"]
    assert await read_all(kafka, settings.raw_topic, 1) == []


async def test_what_waits_for_a_kafka_that_is_away_is_never_sent_once_the_process_stood_still(
    kafka: Kafka, settings: Settings
) -> None:
    clock = Clock()
    lease = Lease(8.0, clock)
    writer = KafkaChunkWriter(settings, lease)
    await writer.open()
    await (await writer.write(0, b"before", HEADERS))
    await asyncio.to_thread(kafka.kill)
    queued = [await writer.write(0, b"held", HEADERS) for _ in range(10)]
    clock.now += 23.0
    await asyncio.to_thread(kafka.start)

    for result in await asyncio.wait_for(asyncio.gather(*queued, return_exceptions=True), 60):
        assert "stood still for 23.0 s" in str(result)
    await writer.close()
    assert await read_all(kafka, settings.raw_topic) == [b"before"]


async def test_closing_sends_nothing_of_what_waits(kafka: Kafka, settings: Settings) -> None:
    writer = KafkaChunkWriter(settings)
    await writer.open()
    await (await writer.write(0, b"before", HEADERS))
    held = await writer.write(0, b"held", HEADERS)
    await writer.close()

    with pytest.raises(DeliveryFailed, match="the producer was closed"):
        await held
    assert await read_all(kafka, settings.raw_topic) == [b"before"]
