"""Laravel's worker and ingest do the same with the same job."""

import asyncio
import uuid
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

import asyncpg
import pytest
from redis.asyncio import Redis

from streams.errors import ForeignJob
from streams.ingest.store import PostgresStore
from streams.ingest.worker import IngestWorker
from streams.postgres.session import Session, connected
from streams.statistics import Statistics
from streams.wire.job import JobMetric, encode_job
from tests.contract.conftest import MakeQueue
from tests.contract.laravel import Laravel
from tests.parts.eventually import eventually

TENANT = "11111111-1111-4111-8111-111111111111"
METRICS = [
    JobMetric("edge-7", "cpu.usage.percent", 42.17, "2026-11-23 14:00:00.123456", "d-1"),
    JobMetric("edge-7", "cpu", 1, "2026-11-23 14:00:00", None),
    JobMetric("edge-7", "tiny", 1.0e-7, "2026-11-23 14:00:00.000001", "d-2"),
    JobMetric("edge-7", "large", -999_999_999_999.99, "1970-01-01 00:00:01.000000", "d-3"),
    JobMetric("edge-7", "whole", 1.0, "2038-01-19 03:14:07.999999", "d-4"),
    JobMetric("kühlhaus/ß", 'Ω "quoted" \\ 🌡', 0.1, "2026-11-23 14:00:00.100000", "id-0"),
    JobMetric("edge-7", "zero", -0.0, "2026-11-23 14:00:00.500000", "é" * 128),
]
ROWS = "select tenant_id::text, agent_id, metric_name, value, timestamp, dedupe_id from metrics_raw"


@asynccontextmanager
async def heard(redis: Redis, prefix: str) -> AsyncIterator[list[bytes]]:
    """Collect what is published for the tenant within the block; leave when something was."""
    messages: list[bytes] = []
    async with redis.pubsub() as pubsub:
        await pubsub.subscribe(f"{prefix}tenant.{TENANT}.metrics")
        yield messages

        async def message() -> bool:
            found = await pubsub.get_message(ignore_subscribe_messages=True)
            messages.extend([found["data"]] if found else [])
            return bool(messages)

        await eventually(message)


async def take_rows(connection: asyncpg.Connection) -> set[tuple[object, ...]]:
    """Return the rows and clear the table for the other worker."""
    rows = {tuple(row) for row in await connection.fetch(ROWS)}
    await connection.execute("truncate metrics_raw")
    return rows


async def push(redis: Redis, prefix: str, payload: bytes) -> None:
    await redis.rpush(f"{prefix}queues:default", payload)
    await redis.rpush(f"{prefix}queues:default:notify", 1)


@pytest.fixture
def application(laravel: Laravel) -> Laravel:
    laravel.migrate()
    laravel.add_tenant(TENANT)
    return laravel


@pytest.fixture
async def make_worker(database_url: str, make_queue: MakeQueue) -> AsyncIterator[Callable[[], IngestWorker]]:
    async with Session(database_url, Statistics()) as session:
        yield lambda: IngestWorker(
            make_queue(), PostgresStore(session), queue_name="default", statistics=Statistics()
        )


async def test_a_job_of_ours_gives_the_same_rows_and_message_in_laravel_and_in_ingest(
    application: Laravel,
    redis: Redis,
    prefix: str,
    database_url: str,
    make_worker: Callable[[], IngestWorker],
) -> None:
    payload = encode_job(TENANT, METRICS, str(uuid.uuid4()), "a" * 32)
    async with connected(database_url) as connection:
        await push(redis, prefix, payload)
        async with heard(redis, prefix) as theirs:
            await asyncio.to_thread(application.work)
        their_rows = await take_rows(connection)

        await push(redis, prefix, payload)
        async with heard(redis, prefix) as ours:
            await make_worker().turn()
        assert await take_rows(connection) == their_rows
    assert len(their_rows) == len(METRICS)
    assert ours == theirs
    assert await redis.keys(f"{prefix}*") == []


async def test_a_job_that_laravel_dispatched_is_run_by_ingest_as_by_laravel(
    application: Laravel,
    redis: Redis,
    prefix: str,
    database_url: str,
    make_worker: Callable[[], IngestWorker],
) -> None:
    metrics = [
        {
            "agent_id": "a",
            "metric_name": "m",
            "value": 42.17,
            "timestamp": "2026-11-23 14:00:00",
            "dedupe_id": "d",
        },
        {
            "agent_id": "ä",
            "metric_name": "n",
            "value": 7,
            "timestamp": "2026-11-23 14:00:00.5",
            "dedupe_id": None,
        },
        {"agent_id": "b", "metric_name": "o", "value": 12, "timestamp": "2026-11-23 14:00:00"},
    ]
    async with connected(database_url) as connection:
        await asyncio.to_thread(application.dispatch, TENANT, metrics)
        async with heard(redis, prefix) as theirs:
            await asyncio.to_thread(application.work)
        their_rows = await take_rows(connection)

        await asyncio.to_thread(application.dispatch, TENANT, metrics)
        async with heard(redis, prefix) as ours:
            await make_worker().turn()
        assert await take_rows(connection) == their_rows
    assert len(their_rows) == len(metrics)
    assert ours == theirs


@pytest.mark.parametrize("connection", ["default", None])
async def test_laravel_runs_the_job_of_another_application_with_its_own_names(
    application: Laravel, redis: Redis, prefix: str, connection: str | None
) -> None:
    payload = encode_job(
        TENANT,
        METRICS,
        str(uuid.uuid4()),
        "a" * 32,
        job_class=r"Acme\Jobs\UploadMetrics",
        model_class=r"Acme\Models\Workspace",
        model_connection=connection,
    )
    await push(redis, prefix, payload)
    await asyncio.to_thread(application.work)
    assert len(application.rows()) == len(METRICS)
    assert await redis.keys(f"{prefix}*") == []


async def test_of_a_long_number_laravel_keeps_14_digits_and_ingest_all(
    application: Laravel,
    redis: Redis,
    prefix: str,
    database_url: str,
    make_worker: Callable[[], IngestWorker],
) -> None:
    """PHP's ``precision``, 14 unless its configuration says otherwise, cuts what PDO binds."""
    metric = JobMetric("a", "m", 123_456_789.123_456_7, "2026-11-23 14:00:00", None)
    async with connected(database_url) as connection:
        for run in (lambda: asyncio.to_thread(application.work), make_worker().turn):
            await push(redis, prefix, encode_job(TENANT, [metric], str(uuid.uuid4()), "a" * 32))
            await run()
        rows = await connection.fetch("select value from metrics_raw order by id")
    assert [row["value"] for row in rows] == [123_456_789.123_46, 123_456_789.123_456_7]


async def test_laravel_on_sqlite_runs_a_job_of_ours(
    laravel_on_sqlite: Laravel, redis: Redis, prefix: str
) -> None:
    laravel_on_sqlite.migrate()
    laravel_on_sqlite.add_tenant(TENANT)
    for value in (1.5, 2.5):
        await push(
            redis,
            prefix,
            encode_job(
                TENANT,
                [JobMetric("a", "m", value, "2026-11-23 14:00:00.123456", "d-1")],
                str(uuid.uuid4()),
                f"{value:032}",
            ),
        )
    laravel_on_sqlite.work(2)
    assert laravel_on_sqlite.rows() == [
        {
            "tenant_id": TENANT,
            "agent_id": "a",
            "metric_name": "m",
            "value": 2.5,
            "timestamp": "2026-11-23 14:00:00.123456",
            "dedupe_id": "d-1",
        }
    ]


async def test_a_failed_job_is_kept_as_laravel_keeps_it(
    application: Laravel,
    redis: Redis,
    prefix: str,
    database_url: str,
    make_worker: Callable[[], IngestWorker],
) -> None:
    take = "delete from failed_jobs returning uuid, connection, queue, payload"
    bad = JobMetric("a" * 65, "m", 1, "2026-11-23 14:00:00", None)
    payload = encode_job(TENANT, [bad], str(uuid.uuid4()), "a" * 32).replace(b'"attempts":0', b'"attempts":4')
    async with connected(database_url) as connection:
        await push(redis, prefix, payload)
        await asyncio.to_thread(application.work)
        [theirs] = await connection.fetch(take)
        await push(redis, prefix, payload)
        await make_worker().turn()
        [ours] = await connection.fetch(take)
    assert tuple(ours) == tuple(theirs)
    assert await redis.keys(f"{prefix}*") == []


async def test_the_job_of_a_tenant_that_is_gone_is_given_up_at_the_first_try_by_both(
    application: Laravel,
    redis: Redis,
    prefix: str,
    database_url: str,
    make_worker: Callable[[], IngestWorker],
) -> None:
    async with connected(database_url) as connection:
        await connection.execute("delete from tenants")
        for run in (lambda: asyncio.to_thread(application.work), make_worker().turn):
            await push(redis, prefix, encode_job(TENANT, METRICS, str(uuid.uuid4()), "a" * 32))
            await run()
            assert len(await connection.fetch("delete from failed_jobs returning id")) == 1
    assert await redis.keys(f"{prefix}*") == []


async def test_another_job_of_the_application_stops_ingest_and_is_left_for_laravel(
    application: Laravel, redis: Redis, prefix: str, make_worker: Callable[[], IngestWorker]
) -> None:
    application.dispatch_other()
    before = await redis.lrange(f"{prefix}queues:default", 0, -1)
    with pytest.raises(ForeignJob, match="SendInvoice"):
        await make_worker().run()
    assert await redis.lrange(f"{prefix}queues:default", 0, -1) == before
    application.work()
    assert await redis.keys(f"{prefix}*") == []
