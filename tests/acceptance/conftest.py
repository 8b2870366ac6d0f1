"""A pipeline of a test's own: its topics, its broker session, its queue, its tables, with two tenants."""

import uuid
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import asyncpg
import pytest

from streams.database.schema import ensure_tables
from streams.ingress.chunking import partition_of
from tests.conftest import real
from tests.parts.installed import Installation
from tests.parts.kafka import Kafka
from tests.parts.mosquitto import Mosquitto
from tests.parts.process import Part, find_program
from tests.parts.worker import Ingest, Worker

PARTITIONS = 4
Own = Callable[[Callable[[], Any]], Any]


@dataclass
class Pipeline:
    """The settings of one pipeline, and the processes that run on them.

    Attributes:
        environment: what every process of the pipeline is started with.
        tenants: ids of tenants that exist, each in another partition.
    """

    environment: dict[str, str]
    mosquitto: Mosquitto
    kafka: Kafka
    own: Own
    tenants: list[str] = field(default_factory=list)

    @property
    def topics(self) -> str:
        """The prefix of its topics."""
        return self.environment["TOPIC_PREFIX"]

    def worker(self, **settings: str) -> Worker:
        """Start a worker and wait until it is ready."""
        worker: Worker = self.own(lambda: Worker(self.environment | settings))
        return worker

    def ingest(self, *, pages: bool = False) -> Ingest:
        """Start the job runner."""
        ingest: Ingest = self.own(lambda: Ingest(self.environment, pages=pages))
        return ingest

    async def rows(self) -> list[dict[str, Any]]:
        """Return metrics_raw."""
        return await self.query(
            "select tenant_id::text, agent_id, metric_name, value, timestamp, dedupe_id from metrics_raw"
        )

    async def query(self, statement: str, *arguments: object) -> list[dict[str, Any]]:
        """Ask the database."""
        connection = await asyncpg.connect(self.environment["DATABASE_URL"])
        try:
            return [dict(row) for row in await connection.fetch(statement, *arguments)]
        finally:
            await connection.close()


@pytest.fixture(scope="session")
def kcat() -> Path:
    """The console client of Kafka."""
    return real(lambda: find_program("kcat", package="kcat"))


@pytest.fixture
async def pipeline(
    kafka: Kafka, redis_url: str, database_url: str, unique: str, own: Callable[[Callable[[], Part]], Part]
) -> Pipeline:
    """A pipeline with real parts, all empty but for its tenants; nothing of it runs yet."""
    mosquitto = own(Mosquitto)
    assert isinstance(mosquitto, Mosquitto)
    environment = {
        "BROKER_URL": kafka.url,
        "MQTT_URL": mosquitto.url,
        "REDIS_URL": redis_url,
        "DATABASE_URL": database_url,
        "TOPIC_PREFIX": unique,
        "CONSUMER_GROUP": unique,
        "TOPIC_PARTITIONS": str(PARTITIONS),
        "QUEUE_PREFIX": f"{unique}_",
    }
    made = Pipeline(environment, mosquitto, kafka, own)
    await ensure_tables(database_url)
    for name in ("first", "second"):
        made.tenants.append(_tenant_elsewhere(made.tenants))
        await made.query("insert into tenants (id, name) values ($1, $2)", uuid.UUID(made.tenants[-1]), name)
    return made


def _tenant_elsewhere(others: Sequence[str]) -> str:
    """Return the id of a new tenant whose partition is none of the others'."""
    taken = {partition_of(other, PARTITIONS) for other in others}
    while partition_of(tenant := str(uuid.uuid4()), PARTITIONS) in taken:
        pass
    return tenant


@pytest.fixture(scope="session")
def installation(tmp_path_factory: pytest.TempPathFactory) -> Installation:
    """The project as it is installed on a server."""
    return Installation(tmp_path_factory.mktemp("installed"))
