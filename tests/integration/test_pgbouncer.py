"""Behind a pgbouncer, whichever way it lends its connections, ingest and the tenants work."""

import asyncio
import time
import uuid
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import AsyncExitStack

import asyncpg
import pytest

from streams.counters import Statistics
from streams.database.schema import ensure_tables
from streams.database.session import DatabaseSession, connected
from streams.database.tenant_admin import add_tenant, list_tenants
from streams.database.tenant_cache import TenantCache
from streams.database.tenants import TenantDirectory
from streams.errors import Outage
from streams.ingest.store import PostgresStore
from streams.ingest.worker_pool import WorkerPool
from streams.laravel.reserve import ReservingQueue
from tests.integration.ingest.bench import RETRY_AFTER_S, Bench, failures, make_worker, metric, rows, running
from tests.parts.eventually import eventually
from tests.parts.pgbouncer import PgBouncer
from tests.parts.postgres import Postgres

Own = Callable[[Callable[[], PgBouncer]], PgBouncer]
MODES: dict[str, dict[str, str]] = {
    "transaction": {},
    "transaction, one server": {"default_pool_size": "1"},
    "transaction, reset": {"server_reset_query_always": "1"},
    "session": {"pool_mode": "session", "default_pool_size": "20"},
}


@pytest.fixture(params=list(MODES))
def pooler(request: pytest.FixtureRequest, postgres: Postgres, own: Own) -> Iterator[PgBouncer]:
    pooler = own(lambda: PgBouncer(postgres, MODES[request.param]))
    yield pooler
    pooler.stop()  # before the database is dropped


@pytest.fixture
def pooled_url(pooler: PgBouncer, database_url: str) -> str:
    return pooler.url_of(database_url)


@pytest.fixture
async def database(database_url: str) -> AsyncIterator[asyncpg.Connection]:
    await ensure_tables(database_url)
    async with connected(database_url) as connection:
        yield connection


@pytest.fixture
async def bench(redis_url: str, unique: str) -> AsyncIterator[Bench]:
    bench = Bench(redis_url, f"{unique}_", str(uuid.uuid4()))
    yield bench
    await bench.redis.aclose()


async def test_several_ingests_write_all_rows(
    bench: Bench, pooled_url: str, database: asyncpg.Connection
) -> None:
    await add_tenant(database, "the tests'", uuid.UUID(bench.tenant_id))
    expected = {f"d-{number}" for number in range(60)}
    async with AsyncExitStack() as sessions:
        workers = []
        for _ in range(3):
            session = await sessions.enter_async_context(DatabaseSession(pooled_url, Statistics()))
            queue = ReservingQueue(
                bench.redis, prefix=bench.prefix, queue="default", retry_after_s=RETRY_AFTER_S
            )
            workers.append(make_worker(queue, PostgresStore(session)))
        async with running(WorkerPool(workers)):
            for dedupe_id in sorted(expected):
                await bench.push(metric(dedupe_id), metric(None))
                await asyncio.sleep(0)
            await eventually(bench.is_empty)
    assert {row[4] for row in await rows(database)} == {*expected, None}
    assert len(await rows(database)) == 2 * len(expected)
    assert await failures(database) == []


async def test_several_directories_know_the_tenants_and_learn_of_new_ones(
    pooled_url: str, database: asyncpg.Connection, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("INFO")
    old = str((await add_tenant(database, "old")).id)
    async with AsyncExitStack() as stack:
        directories = [
            await stack.enter_async_context(
                TenantDirectory(
                    pooled_url,
                    TenantCache(known_s=0.05, unknown_s=0.05, clock=time.monotonic),
                    Statistics(),
                )
            )
            for _ in range(3)
        ]
        for directory in directories:
            assert await directory.known([old, str(uuid.uuid4())]) == {old}
            await directory.check()
        new = str((await add_tenant(database, "new")).id)
        for directory in directories:

            async def knows(directory: TenantDirectory = directory) -> bool:
                return bool(await directory.known([new]))

            await eventually(knows)
    assert sum("TENANT_UNKNOWN_S" in line for line in caplog.messages) == len(directories)


async def test_setup_and_the_tenants_command_work(pooled_url: str) -> None:
    await ensure_tables(pooled_url)
    async with connected(pooled_url) as connection:
        tenant = await add_tenant(connection, "one")
        assert [one.id for one in await list_tenants(connection)] == [tenant.id]


async def test_a_pooler_that_restarts_is_an_outage_that_ends(
    pooler: PgBouncer, pooled_url: str, database: asyncpg.Connection
) -> None:
    tenant = str((await add_tenant(database, "one")).id)
    cache = TenantCache(known_s=0.05, unknown_s=0.05, clock=time.monotonic)
    async with TenantDirectory(pooled_url, cache, Statistics()) as directory:
        assert await directory.known([tenant]) == {tenant}
        await asyncio.to_thread(pooler.restart)

        async def answers() -> bool:
            try:
                await directory.check()
            except Outage:
                return False
            return True

        await eventually(answers)


async def test_statements_that_another_process_has_prepared_are_in_nobodys_way(
    bench: Bench, pooled_url: str, database: asyncpg.Connection
) -> None:
    tenant = str((await add_tenant(database, "the tests'", uuid.UUID(bench.tenant_id))).id)
    async with connected(pooled_url) as other:  # under the names that asyncpg gives them in any process
        await other.execute(
            "do $$ begin for n in 1..5000 loop "
            "execute format('prepare \"__asyncpg_stmt_%s__\" as select 1', to_hex(n)); end loop; end $$"
        )
    cache = TenantCache(known_s=0.05, unknown_s=0.05, clock=time.monotonic)
    async with (
        # To throw 5,000 statements away takes seconds where much else runs.
        TenantDirectory(pooled_url, cache, Statistics(), timeout_s=30.0) as directory,
        DatabaseSession(pooled_url, Statistics(), timeout_s=30.0) as session,
    ):
        await directory.check()
        assert await directory.known([tenant]) == {tenant}
        await PostgresStore(session).check()
