"""The whole bridge without a server: real agents between the fakes that ship beside the real ports."""

from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from typing import Self

import pytest

from agents.handoff import Handoff
from agents.ingress import Ingress
from agents.refine import Refinery
from streams.counters import Statistics
from streams.database.tenants import FakeTenants
from streams.ingress.lease import Lease
from streams.ingress.testing import FakeChunkWriter, FakeTermSource
from streams.kafka.record_loop import Record
from streams.kafka.testing import FakeTopics
from streams.laravel.job import Job, decode_job
from streams.laravel.testing import FakeJobQueue, FakeReplays
from streams.mqtt.testing import FakeTransport
from streams.settings import Settings
from streams.wire import rejected
from streams.wire.rejected import RejectedChunk
from tables.testing import FakeSeen
from tests.parts.eventually import eventually

TENANT = "7c9e6679-7425-40de-944b-e07fc1f90ae7"


@dataclass
class Bridge:
    """MQTT broker, topics, tenants, table and job queue in memory, and the three agents between them."""

    settings: Settings = field(default_factory=lambda: Settings.from_mapping({"CHUNK_LINGER_MS": "1"}))
    broker: FakeTransport = field(default_factory=FakeTransport)
    raw: FakeChunkWriter = field(default_factory=FakeChunkWriter)
    topics: FakeTopics = field(default_factory=FakeTopics)
    tenants: FakeTenants = field(default_factory=lambda: FakeTenants({TENANT}))
    seen: FakeSeen = field(default_factory=FakeSeen)
    queue: FakeJobQueue = field(default_factory=FakeJobQueue)

    def __post_init__(self) -> None:
        statistics = Statistics()
        self.ingress = Ingress(
            self.settings, statistics, self.broker, self.raw, term_source=FakeTermSource(), lease=Lease(8.0)
        )
        self.refinery = Refinery(
            self.settings,
            seen=self.seen,
            tenants=self.tenants,
            emit=self.topics.emit,
            statistics=statistics,
        )
        self.handoff = Handoff(
            self.queue,
            FakeReplays(statistics),
            topic="metrics.unique",
            derive_ids=True,
            statistics=statistics,
        )

    async def __aenter__(self) -> Self:
        await self.ingress.lead()
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.ingress.stand_by()

    async def publish(self, topic: str, payload: bytes) -> None:
        """Publish as a device does, and let the message pass through every stage."""
        before = len(self.broker.acknowledged)
        self.broker.publish(topic, payload)
        await eventually(lambda: len(self.broker.acknowledged) > before)
        await self.flow()

    async def flow(self) -> None:
        """Take every record of metrics.raw and of metrics.unique through its agent."""
        for record in self.raw.log:
            await self.refinery.refine(
                [Record(record.partition, record.offset, record.value, record.headers)]
            )
        for (topic, partition), log in list(self.topics.logs.items()):
            if topic == self.settings.unique_topic:
                await self.queue.standing(partition)
                for offset, (value, headers) in enumerate(log):
                    await self.handoff.hand_off([Record(partition, offset, value, headers)])

    def jobs(self) -> list[Job]:
        """Return the jobs on the queue."""
        return [decode_job(payload) for payload in self.queue.jobs]

    def rejections(self) -> list[RejectedChunk]:
        """Return what is on metrics.rejected."""
        return [rejected.decode(record.value) for record in self.topics.all(self.settings.rejected_topic)]


@pytest.fixture
async def bridge() -> AsyncIterator[Bridge]:
    """A bridge that carries."""
    async with Bridge() as bridge:
        yield bridge
