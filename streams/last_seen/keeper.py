"""Writes to ``metrics.devices`` what has changed of a worker's devices, every few seconds.

Never in the way of what is carried: what cannot be written now is written later, and an outage of Kafka is
told by those that need it.
"""

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable, Collection
from contextlib import suppress

from aiokafka import AIOKafkaProducer
from aiokafka.errors import KafkaError
from faust.types import TP

from streams.background import Background
from streams.counters import Statistics
from streams.errors import MalformedRecord, MetricStreamsError
from streams.kafka.clients import new_producer, started
from streams.last_seen.reading import TOPIC, read_buckets
from streams.last_seen.table import Devices
from streams.settings import Settings
from streams.wire import devices as wire

log = logging.getLogger(__name__)

EVERY_S = 10.0
MOST_BYTES = 2 * 1024 * 1024
"""Written at a time: with very many devices each bucket waits for its turn."""
STOP_LIMIT_S = 3.0


class DeviceKeeper:
    """Keeps the devices of the partitions that this worker holds.

    Args:
        settings: name the topics.
        statistics: with the devices that refine notes.
        held: tells the partitions that this worker holds; None before and after it has any.
        clock: returns Unix time in seconds.
    """

    def __init__(
        self,
        settings: Settings,
        statistics: Statistics,
        held: Callable[[], Collection[TP] | None],
        *,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._settings = settings
        self._tables = statistics.devices
        self._held = held
        self._clock = clock
        self._loaded: dict[int, Devices] = {}
        self._producer: AIOKafkaProducer | None = None
        self._told = ""
        self._keeping = Background(
            "what keeps when devices were last heard",
            self._keep,
            EVERY_S,
            statistics,
            meaning=f"Until it is mended, {settings.devices_topic} may be out of date; nothing else is",
            first_at_once=False,
        )

    async def start(self) -> None:
        """Begin to write."""
        self._keeping.begin()

    async def stop(self) -> None:
        """Write the rest, if Kafka takes it at once, and cease."""
        await self._keeping.end()
        with suppress(MetricStreamsError, KafkaError, OSError, TimeoutError):
            # A stop must not wait for a Kafka that is away: at worst what has changed since the last round is
            # not noted.
            await asyncio.wait_for(self.write(), STOP_LIMIT_S)
        await self._close()

    async def _keep(self) -> None:
        try:
            await self.write()
            self._told = ""
        except (MetricStreamsError, KafkaError, OSError, TimeoutError) as error:
            self._tell(repr(error))
            await self._close()

    async def write(self) -> None:
        """Write what has changed, as much as may be written at a time.

        Raises:
            MetricStreamsError: the topic cannot be read.
            KafkaError: it cannot be written.
        """
        if (held := self._held()) is not None:
            ours = {tp.partition for tp in held if tp.topic == self._settings.raw_topic}
            for partition in self._tables.tables.keys() - ours:
                # Another worker counts on from what was written.
                del self._tables.tables[partition]
                self._loaded.pop(partition, None)
        # So much for all partitions together, so that a round stays short.
        left = MOST_BYTES
        for partition, table in sorted(self._tables.tables.items()):
            # The worker before us has written what it counted: ours goes on from there.
            await self._load(partition, table)
            table.work_out()
            table.make_room(self._clock())
            left = await self._write(partition, table, left)
            if left <= 0:
                return

    async def _load(self, partition: int, table: Devices) -> None:
        """Take in what was written of a partition before this worker has it."""
        if self._loaded.get(partition) is table:
            return
        async for value in read_buckets(self._settings, partition):
            with suppress(MalformedRecord):
                table.take_in(wire.decode(value), self._clock())
        self._loaded[partition] = table

    async def _write(self, partition: int, table: Devices, left: int) -> int:
        producer = self._producer or await self._connect()
        sent: list[Awaitable[object]] = []
        unsure: list[int] = []
        try:
            for bucket, devices in table.changes():
                unsure.append(bucket)
                value, key = wire.encode(devices), b"%d" % bucket
                sent.append(
                    await producer.send(self._settings.devices_topic, value, key=key, partition=partition)
                )
                left -= len(value)
                if left <= 0:
                    break
            await asyncio.gather(*sent)
            unsure.clear()
        finally:
            # A bucket says all of its devices, so one that Kafka has already may well be written again.
            for bucket in unsure:
                table.mark_changed(bucket)
        return left

    async def _connect(self) -> AIOKafkaProducer:
        producer = new_producer(
            self._settings,
            TOPIC,
            max_request_size=MOST_BYTES,
            linger_ms=20,
            # A batch of an idempotent producer never expires (aiokafka, producer/sender.py), and this one is
            # to give up while Kafka is away. A bucket that is written twice says the same twice.
            enable_idempotence=False,
        )
        self._producer = await started(producer, producer.stop)
        return self._producer

    async def _close(self) -> None:
        producer, self._producer = self._producer, None
        if producer is not None:
            with suppress(KafkaError, OSError, TimeoutError):
                await asyncio.wait_for(producer.stop(), STOP_LIMIT_S)

    def _tell(self, why: str) -> None:
        if why != self._told:
            self._told = why
            log.warning(
                "could not write to %s when devices were last heard: %s. Trying again every %d s",
                self._settings.devices_topic,
                why,
                EVERY_S,
            )
