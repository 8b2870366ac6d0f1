"""Reads what there is to count: the three topics and the table, by clients of their own.

Between the stack and the ledger. Everything that is read is kept in memory, as Tansu keeps its topics: at 20
messages a second that is about 150 MB an hour.
"""

import asyncio
from types import TracebackType
from typing import Self

import asyncpg
from aiokafka import TopicPartition

from streams.demo.ledger import LedgerRow, RawChunk
from streams.kafka.clients import new_consumer
from streams.models import Origin
from streams.settings import Settings
from streams.tasks import ended_well
from streams.wire import raw, rejected, unique
from streams.wire.rejected import RejectedChunk
from streams.wire.unique import UniqueChunk

POLL_MS = 200
ROWS = """
select tenant_id::text, agent_id, metric_name, value,
       to_char("timestamp", 'YYYY-MM-DD HH24:MI:SS.US') as "timestamp", dedupe_id
from metrics_raw
"""


class Topics:
    """Follows metrics.raw, metrics.unique and metrics.rejected from their beginning.

    A context manager: entering starts to read.

    Attributes:
        raw: all chunks read so far.
        unique: likewise; a chunk that was emitted twice is here twice.
        rejected: likewise.
    """

    def __init__(self, settings: Settings) -> None:
        self.raw: list[RawChunk] = []
        self.unique: list[UniqueChunk] = []
        self.rejected: list[RejectedChunk] = []
        self._settings = settings
        self._partitions = [
            TopicPartition(topic, number)
            for topic in (settings.raw_topic, settings.unique_topic, settings.rejected_topic)
            for number in range(settings.topic_partitions)
        ]

    async def __aenter__(self) -> Self:
        self._consumer = new_consumer(
            self._settings, "ledger", auto_offset_reset="earliest", fetch_max_wait_ms=POLL_MS
        )
        await self._consumer.start()
        self._consumer.assign(self._partitions)
        self._reader = asyncio.create_task(self._read(), name="read the topics")
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await ended_well(self._reader)
        await self._consumer.stop()

    async def catch_up(self) -> None:
        """Return once everything is read that was in the topics when this was called.

        Raises:
            aiokafka.errors.KafkaError: if Kafka does not answer.
        """
        ends = await self._consumer.end_offsets(self._partitions)
        while not self._reader.done():
            positions = [await self._consumer.position(partition) for partition in self._partitions]
            if all(at >= ends[partition] for partition, at in zip(self._partitions, positions, strict=True)):
                return
            await asyncio.sleep(POLL_MS / 1000)
        await self._reader

    async def _read(self) -> None:
        while True:
            batches = await self._consumer.getmany(timeout_ms=POLL_MS)
            for partition, records in batches.items():
                for record in records:
                    self._take(partition.topic, Origin(partition.partition, record.offset), record.value)

    def _take(self, topic: str, at: Origin, value: bytes) -> None:
        if topic == self._settings.raw_topic:
            self.raw.append(RawChunk(at, raw.decode(value)))
        elif topic == self._settings.unique_topic:
            self.unique.append(unique.decode(value))
        else:
            self.rejected.append(rejected.decode(value))


async def read_rows(connection: asyncpg.Connection) -> list[LedgerRow]:
    """Return all of metrics_raw."""
    return [LedgerRow(*row) for row in await connection.fetch(ROWS)]


async def count_rows(connection: asyncpg.Connection) -> int:
    """Return how many rows metrics_raw has."""
    return int(await connection.fetchval("select count(*) from metrics_raw"))
