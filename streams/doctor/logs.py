"""Reads where the logs begin and end, their newest records, and single ones: of many partitions at once.

On a consumer without a group: it disturbs nobody's position.
"""

import asyncio
from collections.abc import AsyncIterator, Collection, Mapping
from contextlib import asynccontextmanager
from typing import NamedTuple

from aiokafka import AIOKafkaConsumer, TopicPartition
from aiokafka.errors import KafkaError
from faust.types import TP

from streams.errors import Outage
from streams.kafka import standalone
from streams.kafka.internals import client_of
from streams.kafka.log_reader import LogRecord
from streams.kafka.positions import LogRange
from streams.settings import Settings

REQUEST_TIMEOUT_MS = 5_000
POLL_MS = 200
READ_LIMIT_S = 4.0
FETCH_BYTES = 64 * 1024


class LogEnds(NamedTuple):
    """Where the logs begin and end."""

    ranges: Mapping[TP, LogRange]
    newest: Mapping[TP, LogRecord]
    """The newest record of each partition that has one, and told it in time."""


class Logs:
    """Reads.

    Args:
        consumer: without a group.
    """

    def __init__(self, consumer: AIOKafkaConsumer) -> None:
        self._consumer = consumer

    async def ends(self, tps: Collection[TP]) -> LogEnds:
        """Return where logs begin and end, and their newest records; none of those that do not exist.

        Raises:
            Outage: if Kafka does not answer.
        """
        try:
            known = await self._known({tp.topic for tp in tps})
            places = [TopicPartition(*tp) for tp in tps if tp in known]
            starts = await self._consumer.beginning_offsets(places)
            ends = await self._consumer.end_offsets(places)
        except (KafkaError, OSError, TimeoutError) as error:
            raise Outage("kafka", f"it does not tell where the logs end: {error!r}") from error
        ranges = {TP(*place): LogRange(starts[place], ends[place]) for place in places}
        last = {tp: log.end - 1 for tp, log in ranges.items() if log.start < log.end}
        return LogEnds(ranges, await self.read(last))

    async def _known(self, topics: Collection[str]) -> set[TP]:
        # Of all topics, since asking for one that is missing may create it.
        cluster = await client_of(self._consumer).fetch_all_metadata()
        return {TP(topic, n) for topic in topics for n in cluster.partitions_for_topic(topic) or ()}

    async def read(self, offsets: Mapping[TP, int]) -> Mapping[TP, LogRecord]:
        """Return the first record from each offset on; those that do not come in time are missing."""
        found: dict[TP, LogRecord] = {}
        if not offsets:
            return found
        self._consumer.assign([TopicPartition(*tp) for tp in offsets])
        for tp, offset in offsets.items():
            self._consumer.seek(TopicPartition(*tp), offset)
        try:
            async with asyncio.timeout(READ_LIMIT_S):
                while len(found) < len(offsets):
                    await self._fetch(found)
        except TimeoutError:
            pass
        except (KafkaError, OSError) as error:
            raise Outage("kafka", f"the logs cannot be read: {error!r}") from error
        return found

    async def _fetch(self, found: dict[TP, LogRecord]) -> None:
        batches = await self._consumer.getmany(timeout_ms=POLL_MS)
        for place, records in batches.items():
            tp, record = TP(*place), records[0]
            if tp not in found:
                headers = dict(record.headers)
                found[tp] = LogRecord(record.offset, record.value or b"", headers, record.timestamp)
            self._consumer.pause(place)


@asynccontextmanager
async def reading(settings: Settings) -> AsyncIterator[Logs]:
    """Yield what reads, connected.

    Raises:
        Outage: if Kafka does not answer.
    """
    options = {
        "request_timeout_ms": REQUEST_TIMEOUT_MS,
        "fetch_max_wait_ms": POLL_MS,
        "max_partition_fetch_bytes": FETCH_BYTES,
    }
    async with standalone.reading(settings, "doctor", **options) as consumer:
        yield Logs(consumer)
