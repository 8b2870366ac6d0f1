"""ingest runs what each version of Laravel and Horizon writes."""

import uuid

import asyncpg
import pytest

from streams.counters import Statistics
from streams.database.session import DatabaseSession
from streams.database.tenant_admin import add_tenant
from streams.ingest.store import PostgresStore
from streams.laravel.job import Extras, encode_job
from streams.laravel.reserve import ReservingQueue
from tests.golden import golden
from tests.golden.jobs import PAYLOADS
from tests.integration.ingest.bench import Bench, Clock, failures, make_worker, metric, rows

TENANT = uuid.UUID("11111111-1111-4111-8111-111111111111")
ROWS = [
    ("a1", "cpu.usage.percent", 42.17, "2026-11-23 14:00:00.123456", "d-1"),
    ("a1", "cpu", 1.0, "2026-11-23 14:00:00", None),
]


@pytest.mark.parametrize("name", PAYLOADS)
async def test_the_job_of_each_version_becomes_the_same_rows(
    bench: Bench, database: asyncpg.Connection, queue: ReservingQueue, session: DatabaseSession, name: str
) -> None:
    await add_tenant(database, "of the golden jobs", TENANT)
    await bench.push_raw(golden(name))
    await make_worker(queue, PostgresStore(session)).turn()
    assert await rows(database) == ROWS
    assert await bench.is_empty()


@pytest.mark.parametrize("name", PAYLOADS)
async def test_the_copy_that_a_dead_worker_kept_of_it_does_so_too(
    bench: Bench,
    database: asyncpg.Connection,
    queue: ReservingQueue,
    session: DatabaseSession,
    *,
    clock: Clock,
    name: str,
) -> None:
    await add_tenant(database, "of the golden jobs", TENANT)
    await bench.push_raw(golden(name))
    await queue.reserve(max_jobs=1, max_bytes=1)
    clock.now_s += 90
    await make_worker(queue, PostgresStore(session)).turn()
    assert await rows(database) == ROWS
    assert await bench.is_empty()


@pytest.mark.parametrize("told_by", ["the payload", "the settings"])
async def test_a_job_that_says_so_is_deleted_when_its_tenant_is_gone(
    bench: Bench, database: asyncpg.Connection, queue: ReservingQueue, session: DatabaseSession, told_by: str
) -> None:
    by_payload = told_by == "the payload"
    statistics = Statistics()
    worker = make_worker(
        queue,
        PostgresStore(session),
        statistics=statistics,
        delete_when_missing_models=not by_payload,
    )
    extras = Extras(delete_when_missing_models=by_payload)
    await bench.push_raw(encode_job(str(TENANT), [metric("d-1")], "u-1", "i" * 32, extras=extras))
    await worker.turn()
    assert await failures(database) == []
    assert await rows(database) == []
    assert await bench.is_empty()
    assert statistics.messages["jobs_done"] == 1


async def test_a_bad_row_is_a_failure_all_the_same(
    bench: Bench, database: asyncpg.Connection, queue: ReservingQueue, session: DatabaseSession, tenant: str
) -> None:
    worker = make_worker(queue, PostgresStore(session), delete_when_missing_models=True)
    await bench.push(metric(agent_id="a" * 65), tenant_id=tenant, attempts=4)
    await worker.turn()
    assert len(await failures(database)) == 1


async def test_a_failed_job_names_the_connection_to_which_laravel_brings_it_back(
    bench: Bench, database: asyncpg.Connection, queue: ReservingQueue, session: DatabaseSession
) -> None:
    worker = make_worker(queue, PostgresStore(session), queue_connection="redis-metrics")
    await bench.push_raw(b"no job at all")
    await worker.turn()
    [failed] = await failures(database)
    assert failed["connection"] == "redis-metrics"
