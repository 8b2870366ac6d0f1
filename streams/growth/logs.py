"""Reads partitions of compacted topics from end to end, with what is gone from them."""

import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Protocol

from aiokafka import AIOKafkaConsumer, TopicPartition
from aiokafka.errors import KafkaError

from streams.errors import Outage
from streams.kafka import standalone
from streams.kafka.outages import as_outage
from streams.settings import Settings

REQUEST_TIMEOUT_MS = 10_000
POLL_MS = 200
STALL_LIMIT_S = 20.0
PURPOSE = "growth"


class TakeRow(Protocol):
    """Takes a record."""

    def __call__(self, key: bytes, value: bytes | None, /) -> None:
        """Take its key and value; the latter is None where the key is gone."""
        ...


class CompactedLogs:
    """Reads partitions from their beginning to where they end now."""

    def __init__(self, settings: Settings, consumer: AIOKafkaConsumer) -> None:
        self._settings = settings
        self._consumer = consumer

    async def read(self, topic: str, partition: int, keep: TakeRow) -> None:
        """Hand on every record, in order.

        Raises:
            Outage: if Kafka does not answer.
        """
        try:
            await self._read(TopicPartition(topic, partition), keep)
        except (KafkaError, OSError, TimeoutError) as error:
            raise await as_outage(self._settings, error) from error

    async def _read(self, tp: TopicPartition, keep: TakeRow) -> None:
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
                name = f"{tp.topic}[{tp.partition}]"
                raise Outage("kafka", f"{name} gives no record for {STALL_LIMIT_S:g} s")
            for record in records:
                keep(record.key or b"", record.value)


@asynccontextmanager
async def reading(settings: Settings) -> AsyncIterator[CompactedLogs]:
    """Yield what reads, connected.

    Raises:
        Outage: if Kafka does not answer.
    """
    options = {"request_timeout_ms": REQUEST_TIMEOUT_MS, "fetch_max_wait_ms": POLL_MS}
    async with standalone.reading(settings, PURPOSE, **options) as consumer:
        yield CompactedLogs(settings, consumer)
