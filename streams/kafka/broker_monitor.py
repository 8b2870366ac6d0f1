"""Asks Kafka every few seconds whether it answers, and where the logs end.

On a connection of its own: what the consumer remembers of the ends looks just as well when its thread has
died or Kafka is away. Readiness, the statistics page and the watchdog read what was seen here.
"""

import asyncio
import time
from collections.abc import Callable, Collection, Sequence
from contextlib import suppress
from typing import Protocol

from aiokafka import AIOKafkaConsumer, TopicPartition
from aiokafka.cluster import ClusterMetadata
from aiokafka.errors import KafkaError
from faust.types import TP

from streams.background import Background
from streams.counters import Statistics
from streams.errors import Outage, worded
from streams.kafka.clients import new_consumer
from streams.kafka.internals import client_of, partitions_of
from streams.kafka.outages import shut_out
from streams.settings import Settings
from streams.topics import topic_specs

EVERY_S = 3.0
REQUEST_TIMEOUT_MS = 2_500
LOOK_LIMIT_S = 8.0
"""Longer than any single request: what times out within aiokafka closes its connection, what is cut off from
outside does not."""
STALE_S = 10.0
CLOSE_LIMIT_S = 2.0
NO_LEADER = -1
WATCH = "the watch on Kafka"
WHO = "the watch"


class EndsReader(Protocol):
    """Tells where logs end, and so whether Kafka is there."""

    async def read(self, tps: Collection[TP]) -> dict[TP, int]:
        """Return the offset at which each partition's log ends.

        Raises:
            Outage: if Kafka does not answer, or cannot take what is written.
            KafkaError: likewise.
        """
        ...

    async def close(self) -> None:
        """Disconnect; the next `read` connects anew."""
        ...


class KafkaEnds:
    """The real one: a consumer without a group, which fetches nothing."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._topics = [spec.name for spec in topic_specs(settings)]
        self._consumer: AIOKafkaConsumer | None = None

    async def read(self, tps: Collection[TP]) -> dict[TP, int]:
        """Ask for the metadata and the ends."""
        consumer = self._consumer or await self._connect()
        # aiokafka asks for metadata every five minutes: too late for brokers that come back elsewhere.
        if not await client_of(consumer).force_metadata_update():
            raise await shut_out(self._settings)
        check_writable(client_of(consumer).cluster, self._topics, self._settings.topic_min_insync_replicas)
        ends = await consumer.end_offsets([TopicPartition(*tp) for tp in tps])
        return {TP(tp.topic, tp.partition): end for tp, end in ends.items()}

    async def close(self) -> None:
        """Close the connections."""
        consumer, self._consumer = self._consumer, None
        if consumer is not None:
            with suppress(KafkaError, TimeoutError):
                await asyncio.wait_for(consumer.stop(), CLOSE_LIMIT_S)

    async def _connect(self) -> AIOKafkaConsumer:
        self._consumer = new_consumer(self._settings, "watch", request_timeout_ms=REQUEST_TIMEOUT_MS)
        await self._consumer.start()
        # Without this aiokafka would ask for the metadata of every topic of the cluster.
        client_of(self._consumer).set_topics(self._topics)
        return self._consumer


def check_writable(cluster: ClusterMetadata, topics: Sequence[str], min_insync: int) -> None:
    """Return if every partition has a leader and copies enough that Kafka takes a record.

    A producer waits for these without an error, so an agent that is at work on a record looks as if it hung.

    Raises:
        Outage: naming the first partition that does not.
    """
    for topic in topics:
        partitions = partitions_of(cluster, topic)
        if not partitions:
            raise Outage("kafka", f"there is no topic {topic}; if it is gone for good, setup makes it anew")
        for partition, metadata in sorted(partitions.items()):
            if metadata.leader == NO_LEADER:
                raise Outage("kafka", f"{topic}[{partition}] has no leader")
            # An empty list is what a broker says that keeps no such list.
            if metadata.isr and len(metadata.isr) < min_insync:
                in_sync = f"{len(metadata.isr)} of {min_insync} copies that must be in sync"
                raise Outage("kafka", f"{topic}[{partition}] takes no records: it has {in_sync}")


class BrokerMonitor:
    """Looks every few seconds, for as long as the worker runs, and never raises into it.

    Args:
        statistics: its part ``kafka`` is set when Kafka goes away or comes back.
        held: tells the partitions whose ends are wanted.
        ends: asks Kafka.
    """

    def __init__(self, statistics: Statistics, held: Callable[[], Collection[TP]], ends: EndsReader) -> None:
        self._statistics = statistics
        self._held = held
        self._ends = ends
        self._seen: dict[TP, int] = {}
        self._seen_at = time.monotonic()
        self._outage: Outage | None = Outage("kafka", "not asked yet")
        self.looking = Background(
            WATCH,
            self.look,
            EVERY_S,
            statistics,
            meaning="Until it is mended, Kafka counts as away, so the worker is not ready; it carries on",
            on_bug=self._away_for_a_bug,
        )

    @property
    def outage(self) -> Outage | None:
        """What the last look has met, or None if Kafka answered."""
        return self._outage

    def end(self, tp: TP) -> int | None:
        """Return where a partition's log ended at the last look; None if it has not been seen."""
        return self._seen.get(tp)

    async def check(self) -> None:
        """Return if Kafka answered lately.

        Raises:
            Outage: if it did not.
        """
        if self._outage is not None:
            raise self._outage
        # A look that hangs says nothing at all, so its silence has to count.
        if (silent_s := time.monotonic() - self._seen_at) > STALE_S:
            raise Outage("kafka", f"no answer for {silent_s:.0f} s")

    async def start(self) -> None:
        """Begin to look."""
        self.looking.begin()

    async def stop(self) -> None:
        """Cease to look."""
        await self.looking.end()
        await self._ends.close()

    async def look(self) -> None:
        """Ask once, and keep what was seen."""
        try:
            self._seen = await asyncio.wait_for(self._ends.read(self._held()), LOOK_LIMIT_S)
        except Outage as outage:
            await self._away(outage)
        except (KafkaError, OSError, TimeoutError) as error:
            await self._away(Outage("kafka", worded(error)))
        else:
            self._back()

    async def _away_for_a_bug(self, bug: Exception) -> None:
        # Who cannot look must not say that Kafka answers.
        await self._away(Outage("kafka", f"{WATCH} has a bug: {bug!r}"))

    async def _away(self, outage: Outage) -> None:
        held = tuple(f"{tp.topic}[{tp.partition}]" for tp in self._held())
        self._statistics.down("kafka", WHO, outage.detail, held)
        self._outage = outage
        # A new connection asks the bootstrap servers: Kafka may come back under other addresses.
        with suppress(KafkaError, OSError):
            await self._ends.close()

    def _back(self) -> None:
        if self._outage is not None:
            self._statistics.up("kafka", WHO)
        self._outage, self._seen_at = None, time.monotonic()
