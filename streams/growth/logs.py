"""Reads partitions of compacted topics from end to end, and writes to them."""

import time
from collections.abc import AsyncIterator, Iterable, Iterator
from contextlib import asynccontextmanager, suppress
from itertools import islice
from typing import Protocol, TypeVar

from aiokafka import AIOKafkaConsumer, AIOKafkaProducer, TopicPartition
from aiokafka.errors import KafkaError

from streams.errors import DeliveryFailed, Outage
from streams.kafka.connection import connection_options
from streams.kafka.outages import as_outage
from streams.settings import Settings
from streams.topics import MAX_RECORD_BYTES

REQUEST_TIMEOUT_MS = 10_000
POLL_MS = 200
STALL_LIMIT_S = 20.0
AT_ONCE = 500
"""Records that are sent before the first of them is waited for."""

T = TypeVar("T")


class TakeRow(Protocol):
    """Takes a record."""

    def __call__(self, key: bytes, value: bytes | None, /) -> None:
        """Take its key and value; the latter is None where the key is gone."""
        ...


class CompactedLogs:
    """Reads partitions from their beginning to where they end now."""

    def __init__(self, consumer: AIOKafkaConsumer) -> None:
        self._consumer = consumer

    async def read(self, topic: str, partition: int, keep: TakeRow) -> None:
        """Hand on every record, in order.

        Raises:
            Outage: if Kafka does not answer.
        """
        tp = TopicPartition(topic, partition)
        self._consumer.assign([tp])
        start = (await self._consumer.beginning_offsets([tp]))[tp]
        end = (await self._consumer.end_offsets([tp]))[tp]
        self._consumer.seek(tp, start)
        heard = time.monotonic()
        while await self._consumer.position(tp) < end:
            records = (await self._consumer.getmany(tp, timeout_ms=POLL_MS)).get(tp, [])
            if records:
                heard = time.monotonic()
            elif time.monotonic() - heard > STALL_LIMIT_S:
                raise Outage("kafka", f"{topic}[{partition}] gives no record for {STALL_LIMIT_S:g} s")
            for record in records:
                keep(record.key or b"", record.value)


@asynccontextmanager
async def reading(settings: Settings) -> AsyncIterator[CompactedLogs]:
    """Yield what reads, connected.

    Raises:
        Outage: if Kafka does not answer.
    """
    consumer = AIOKafkaConsumer(
        **connection_options(settings),
        client_id=f"{settings.consumer_group}-growth",
        request_timeout_ms=REQUEST_TIMEOUT_MS,
        fetch_max_wait_ms=POLL_MS,
        enable_auto_commit=False,
        auto_offset_reset="earliest",
    )
    try:
        await consumer.start()
        yield CompactedLogs(consumer)
    except (KafkaError, OSError, TimeoutError) as error:
        raise await as_outage(settings, error) from error
    finally:
        with suppress(KafkaError, OSError, TimeoutError):
            await consumer.stop()


class PartitionWriter:
    """Writes to single partitions, in order."""

    def __init__(self, producer: AIOKafkaProducer) -> None:
        self._producer = producer

    async def write(self, topic: str, partition: int, rows: Iterable[tuple[bytes, bytes]]) -> None:
        """Write records, and wait until Kafka has all.

        Raises:
            DeliveryFailed: if it does not take one.
        """
        try:
            for some in batched(rows, AT_ONCE):
                sent = [
                    await self._producer.send(topic, value, key=key, partition=partition)
                    for key, value in some
                ]
                for each in sent:
                    await each
        except KafkaError as error:
            raise DeliveryFailed(topic, repr(error)) from error


def batched(rows: Iterable[T], size: int) -> Iterator[list[T]]:
    """Yield them in lists of a size, as itertools does from Python 3.12 on."""
    left = iter(rows)
    while some := list(islice(left, size)):
        yield some


@asynccontextmanager
async def writing(settings: Settings) -> AsyncIterator[PartitionWriter]:
    """Yield what writes, connected.

    Raises:
        Outage: if Kafka does not answer.
    """
    compression = settings.compression
    producer = AIOKafkaProducer(
        **connection_options(settings),
        client_id=f"{settings.consumer_group}-growth",
        acks="all",
        enable_idempotence=settings.producer_idempotence,
        compression_type=None if compression == "none" else compression,
        max_request_size=MAX_RECORD_BYTES,
        linger_ms=5,
    )
    try:
        await producer.start()
        yield PartitionWriter(producer)
    except (KafkaError, OSError, TimeoutError) as error:
        raise await as_outage(settings, error) from error
    finally:
        with suppress(KafkaError, OSError, TimeoutError):
            await producer.stop()
