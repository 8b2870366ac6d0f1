"""The real parts that a benchmark needs, and workers on them, started as users start them."""

import argparse
import asyncio
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from itertools import count

from benchmarks.generator import TENANTS
from benchmarks.material import tenants
from streams.database.schema import ensure_tables
from streams.kafka.admin import ensure_topics
from streams.settings import Settings
from tests.parts.guarded_mosquitto import GuardedMosquitto
from tests.parts.kafka import Kafka
from tests.parts.mosquitto import Mosquitto
from tests.parts.postgres import Postgres
from tests.parts.redis import Redis
from tests.parts.tenants import add_tenants
from tests.parts.worker import Worker

PARTITIONS = 8
"""As by default."""


def add_settings(parser: argparse.ArgumentParser) -> None:
    """Let the settings of the workers be given, as in ``--set CHUNK_LINGER_MS=50``."""
    parser.add_argument(
        "--set",
        metavar="NAME=VALUE",
        action="append",
        default=[],
        help="a setting of the workers, repeatable",
    )


def given_settings(options: argparse.Namespace) -> dict[str, str]:
    """Return the settings that were given."""
    return dict(setting.split("=", 1) for setting in options.set)


@dataclass
class Run:
    """One run's own broker, and names of its own for all else."""

    name: str
    mosquitto: Mosquitto
    servers: dict[str, int]
    """The process of each server, by its name."""
    environment: dict[str, str]
    workers: list[Worker] = field(default_factory=list)

    @property
    def settings(self) -> Settings:
        """The settings as the worker reads them."""
        return Settings.from_mapping(self.environment)

    @property
    def redis_url(self) -> str:
        """The database with the queue."""
        return self.environment["REDIS_URL"]

    @property
    def queue(self) -> str:
        """The key of the queue."""
        return f"{self.settings.queue_prefix}queues:{self.settings.queue_name}"

    @property
    def pids(self) -> Sequence[int]:
        """The processes of the workers."""
        return [worker.pid for worker in self.workers]

    @contextmanager
    def working(self, workers: int) -> Iterator[None]:
        """Keep so many workers at work."""
        with ExitStack() as stack:
            for _ in range(workers):
                self.workers.append(stack.enter_context(Worker(self.environment)))
            yield
        self.workers.clear()


@dataclass
class Stack:
    """Kafka, Redis and PostgreSQL, which runs share."""

    kafka: Kafka
    redis: Redis
    postgres: Postgres
    tenants: list[str]
    _numbers: Iterator[int] = field(default_factory=lambda: count(1))

    @contextmanager
    def run(self, broker: Mosquitto | None = None, /, **settings: str) -> Iterator[Run]:
        """Start a broker; the topics of this run stand.

        Args:
            broker: it, where it is not one that lets everybody in.
            settings: of the workers, by their names in the environment.
        """
        name = f"bench{next(self._numbers)}"
        # A broker of its own: one that keeps the session of an earlier run would go on filling it.
        with broker or Mosquitto() as mosquitto:
            servers = {part.name: part.pid for part in (mosquitto, self.kafka, self.redis)}
            run = Run(name, mosquitto, servers, self._environment(name, mosquitto) | settings)
            asyncio.run(ensure_topics(run.settings))
            yield run

    def _environment(self, name: str, mosquitto: Mosquitto) -> dict[str, str]:
        known = mosquitto.bridge if isinstance(mosquitto, GuardedMosquitto) else {"MQTT_URL": mosquitto.url}
        return {
            **known,
            "BROKER_URL": self.kafka.url,
            "REDIS_URL": self.redis.new_database_url(),
            "DATABASE_URL": self.postgres.url,
            "TOPIC_PREFIX": name,
            "CONSUMER_GROUP": name,
            "TOPIC_PARTITIONS": str(PARTITIONS),
        }


@contextmanager
def stack() -> Iterator[Stack]:
    """Start what runs share, with tenants in the database."""
    with Kafka() as kafka, Redis() as redis, Postgres() as postgres:
        asyncio.run(_prepare(postgres.url, ids := tenants(TENANTS)))
        yield Stack(kafka, redis, postgres, ids)


async def _prepare(database_url: str, ids: Sequence[str]) -> None:
    await ensure_tables(database_url)
    await add_tenants(database_url, ids)
