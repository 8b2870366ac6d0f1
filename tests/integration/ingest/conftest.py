"""A worker on a real Redis and a real PostgreSQL."""

import uuid
from collections.abc import AsyncIterator

import asyncpg
import pytest

from streams.counters import Statistics
from streams.database.schema import apply_schema
from streams.database.session import DatabaseSession, connected
from streams.database.tenant_admin import add_tenant
from streams.ingest.store import PostgresStore
from streams.ingest.worker import IngestWorker
from streams.laravel.reserve import ReservingQueue
from tests.integration.ingest.bench import (
    RETRY_AFTER_S,
    Bench,
    Clock,
    make_worker,
)
from tests.parts.postgres import Postgres


@pytest.fixture
async def database(database_url: str) -> AsyncIterator[asyncpg.Connection]:
    async with connected(database_url) as connection:
        await apply_schema(connection)
        yield connection


@pytest.fixture
async def bench(redis_url: str, unique: str) -> AsyncIterator[Bench]:
    bench = Bench(redis_url, f"{unique}_", str(uuid.uuid4()))
    yield bench
    await bench.redis.aclose()


@pytest.fixture
async def tenant(bench: Bench, database: asyncpg.Connection) -> str:
    await add_tenant(database, "the tests'", uuid.UUID(bench.tenant_id))
    return bench.tenant_id


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def queue(bench: Bench, clock: Clock) -> ReservingQueue:
    return ReservingQueue(
        bench.redis, prefix=bench.prefix, queue="default", retry_after_s=RETRY_AFTER_S, clock=clock
    )


@pytest.fixture
async def session(database_url: str, postgres: Postgres) -> AsyncIterator[DatabaseSession]:
    # The tests' server answers a commit before it is written down; here a killed one must keep it.
    postgres.execute(f'alter database "{database_url.rpartition("/")[2]}" set synchronous_commit to on')
    async with DatabaseSession(database_url, Statistics(), timeout_s=1.0) as session:
        yield session


@pytest.fixture
def worker(queue: ReservingQueue, session: DatabaseSession) -> IngestWorker:
    return make_worker(queue, PostgresStore(session))
