"""Consumers without a group, which disturb nobody, and producers for commands: each for one purpose."""

from collections.abc import AsyncIterator, Iterable, Iterator
from contextlib import asynccontextmanager, suppress
from itertools import islice
from typing import Any, TypeVar

from aiokafka import AIOKafkaConsumer, AIOKafkaProducer
from aiokafka.errors import KafkaError

from streams.kafka.clients import new_consumer, new_producer
from streams.kafka.outages import as_outage, not_taken
from streams.settings import Settings
from streams.topics import MAX_RECORD_BYTES

AT_ONCE = 500
"""Records that are sent before the first of them is waited for."""

Row = tuple[int, bytes, bytes]
"""Partition, key and value."""
T = TypeVar("T")


@asynccontextmanager
async def reading(settings: Settings, purpose: str, **options: Any) -> AsyncIterator[AIOKafkaConsumer]:
    """Yield a consumer, connected. What it raises from then on is its user's to tell.

    Args:
        settings: say where Kafka is.
        purpose: behind the group's name, what the client is called at Kafka.
        options: aiokafka's.

    Raises:
        Outage: if Kafka does not answer.
    """
    consumer = new_consumer(settings, purpose, auto_offset_reset="earliest", **options)
    async with _started(settings, consumer):
        yield consumer


class PartitionWriter:
    """Writes to partitions that its user names."""

    def __init__(self, producer: AIOKafkaProducer) -> None:
        self._producer = producer

    async def write(self, topic: str, rows: Iterable[Row]) -> None:
        """Write records, those of a partition in order, and wait until Kafka has all.

        Raises:
            DeliveryFailed: if it does not take one.
        """
        try:
            for some in _batched(rows, AT_ONCE):
                # Queued one by one, so that those of a partition stay in order; waited for together.
                sent = [
                    await self._producer.send(topic, value, key=key, partition=partition)
                    for partition, key, value in some
                ]
                for each in sent:
                    await each
        except KafkaError as error:
            raise not_taken(topic, error) from error


@asynccontextmanager
async def writing(settings: Settings, purpose: str) -> AsyncIterator[PartitionWriter]:
    """Yield what writes, connected.

    Args:
        settings: say where Kafka is.
        purpose: behind the group's name, what the client is called at Kafka.

    Raises:
        Outage: if Kafka does not answer.
    """
    producer = new_producer(settings, purpose, max_request_size=MAX_RECORD_BYTES, linger_ms=5)
    async with _started(settings, producer):
        yield PartitionWriter(producer)


@asynccontextmanager
async def _started(settings: Settings, client: AIOKafkaConsumer | AIOKafkaProducer) -> AsyncIterator[None]:
    try:
        try:
            await client.start()
        except (KafkaError, OSError, TimeoutError) as error:
            raise await as_outage(settings, error) from error
        yield
    finally:
        with suppress(KafkaError, OSError, TimeoutError):
            await client.stop()


def _batched(rows: Iterable[T], size: int) -> Iterator[list[T]]:
    """Yield them in lists of a size, as itertools does from Python 3.12 on."""
    left = iter(rows)
    while some := list(islice(left, size)):
        yield some
