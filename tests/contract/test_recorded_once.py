"""A worker may die between recording that a job has failed and deleting it."""

import asyncio
import uuid
from collections.abc import AsyncIterator

import asyncpg
import pytest
from redis.asyncio import Redis

from streams.counters import Statistics
from streams.database.session import DatabaseSession, connected
from streams.ingest.failing import FailedJob
from streams.ingest.store import PostgresStore
from streams.ingest.worker import IngestWorker
from streams.laravel.job import JobMetric, encode_job
from tests.contract.bench import NOW, RETRY_AFTER_S
from tests.contract.conftest import MakeQueue
from tests.contract.laravel import TENANT, Laravel

WHEN = "2026-11-23 14:00:00"


@pytest.fixture
async def connection(laravel: Laravel, database_url: str) -> AsyncIterator[asyncpg.Connection]:
    laravel.migrate(TENANT)
    async with connected(database_url) as connection:
        yield connection


@pytest.fixture
async def store(connection: asyncpg.Connection, database_url: str) -> AsyncIterator[PostgresStore]:
    del connection  # the tables are there
    async with DatabaseSession(database_url, Statistics()) as session:
        yield PostgresStore(session)


@pytest.fixture
async def _recorded(redis: Redis, prefix: str, make_queue: MakeQueue, store: PostgresStore) -> None:
    """Take a job for the last time that it may fail, record that it did, and do no more; push a good one."""
    bad = encode_job(
        TENANT,
        [JobMetric(agent_id="a" * 65, metric_name="m", value=1, timestamp=WHEN, dedupe_id="bad")],
        str(uuid.uuid4()),
        "a" * 32,
    )
    good = encode_job(
        TENANT,
        [JobMetric(agent_id="a", metric_name="m", value=1, timestamp=WHEN, dedupe_id="good")],
        str(uuid.uuid4()),
        "b" * 32,
    )
    await redis.rpush(f"{prefix}queues:default", bad.replace(b'"attempts":0', b'"attempts":4'))
    [held] = await make_queue(clock=lambda: NOW).reserve(max_jobs=1, max_bytes=1)
    await store.fail(FailedJob.of(held.payload, "default", "refused"))
    await redis.rpush(f"{prefix}queues:default", good)


@pytest.mark.usefixtures("_recorded")
async def test_laravel_records_no_second_time_what_ingest_did(
    redis: Redis, laravel: Laravel, connection: asyncpg.Connection
) -> None:
    await asyncio.to_thread(laravel.work, 2, now=NOW + RETRY_AFTER_S)
    await it_failed_once_and_the_good_one_is_done(connection, redis)


@pytest.mark.usefixtures("_recorded")
async def test_ingest_records_no_second_time_what_ingest_did(
    redis: Redis, make_queue: MakeQueue, store: PostgresStore, connection: asyncpg.Connection
) -> None:
    queue = make_queue(clock=lambda: NOW + RETRY_AFTER_S)
    worker = IngestWorker(queue, store, queue_name="default", statistics=Statistics())
    for _ in range(2):  # after a death it takes one job at a time
        await worker.turn()
    await it_failed_once_and_the_good_one_is_done(connection, redis)


async def it_failed_once_and_the_good_one_is_done(connection: asyncpg.Connection, redis: Redis) -> None:
    failed = await connection.fetch("select exception from failed_jobs")
    assert [row["exception"] for row in failed] == ["refused"]
    done = await connection.fetch("select dedupe_id from metrics_raw")
    assert [row["dedupe_id"] for row in done] == ["good"]
    # Laravel leaves the mark of an ingest that died, and a worker its own until its next turn.
    assert [key.rpartition(b"queues:")[2] for key in await redis.keys()] == [b"default:held"]
