"""While a part is away jobs wait: none is lost, doubled or blamed."""

import asyncio
import uuid
from collections.abc import Awaitable, Callable, Sequence

import asyncpg
import pytest
from redis.asyncio import Redis

from streams.counters import Statistics
from streams.database.schema import ensure_tables
from streams.database.session import DatabaseSession, connected
from streams.database.tenant_admin import add_tenant
from streams.ingest.store import FakeMetricStore, PostgresStore
from streams.ingest.worker import IngestWorker
from streams.laravel.job import Job
from streams.laravel.reserve import ReservingQueue
from tests.integration.ingest.bench import (
    RETRY_AFTER_S,
    Bench,
    Clock,
    failures,
    make_worker,
    metric,
    rows,
    running,
)
from tests.parts.eventually import eventually
from tests.parts.postgres import Postgres
from tests.parts.redis import Redis as RedisServer


async def test_it_may_start_before_the_tables_and_before_the_servers(
    bench: Bench, worker: IngestWorker, database_url: str, postgres: Postgres, redis_server: RedisServer
) -> None:
    await bench.push(metric("early"))
    await asyncio.to_thread(redis_server.stop)
    await asyncio.to_thread(postgres.stop)
    async with running(worker):
        await asyncio.to_thread(redis_server.start)
        await asyncio.to_thread(postgres.start)
        await ensure_tables(database_url)
        async with connected(database_url) as connection:
            await add_tenant(connection, "late", uuid.UUID(bench.tenant_id))

            async def landed() -> bool:
                return bool(await rows(connection)) or bool(await failures(connection))

            await eventually(landed, 20)
    assert await bench.is_empty()


async def test_an_outage_of_the_store_burns_no_attempt(bench: Bench, queue: ReservingQueue) -> None:
    store = FakeMetricStore()
    worker = make_worker(queue, store)
    await bench.push(metric("first"))
    await worker.turn()
    pushed = [await bench.push(metric(f"d-{number}")) for number in range(3)]
    store.away = True
    async with running(worker):

        async def tried_and_put_back() -> bool:
            notices = await bench.redis.llen(f"{bench.name}:notify")
            return notices == 3 and await bench.waiting() == pushed

        await eventually(tried_and_put_back)
        store.away = False

        async def landed() -> bool:
            return len(store.jobs) == 4

        await eventually(landed)
    assert [job.attempts for job in store.jobs] == [0, 0, 0, 0]
    assert store.failed == {}
    assert await bench.is_empty()


@pytest.mark.parametrize("fault", ["stop", "kill", "pause"])
@pytest.mark.usefixtures("tenant")
async def test_an_outage_of_postgres_in_the_middle_loses_and_doubles_nothing(
    bench: Bench,
    worker: IngestWorker,
    database_url: str,
    postgres: Postgres,
    fault: str,
) -> None:
    expected = {f"d-{number}" for number in range(600)}
    async with running(worker):
        for dedupe_id in sorted(expected)[:300]:
            await bench.push(metric(dedupe_id))
        await eventually(bench.is_empty)
        await asyncio.to_thread(getattr(postgres, fault))
        for dedupe_id in sorted(expected)[300:]:
            await bench.push(metric(dedupe_id))
        await asyncio.to_thread(postgres.heal)
        async with connected(database_url) as connection:

            async def landed() -> bool:
                return len(await rows(connection)) == len(expected)

            await eventually(landed, 20)
            assert {row[4] for row in await rows(connection)} == expected
            assert await failures(connection) == []
    assert await bench.is_empty()


class Interruptible(FakeMetricStore):
    """Lets something happen between the first write and what follows in Redis."""

    def __init__(self, then: Callable[[], Awaitable[None]]) -> None:
        super().__init__()
        self._then = then
        self.interrupted = asyncio.Event()

    async def write(self, jobs: Sequence[Job]) -> int:
        written = await super().write(jobs)
        await self._then()
        self.interrupted.set()
        return written


@pytest.fixture
def store_before_an_outage_of_redis(redis_server: RedisServer) -> Interruptible:
    return Interruptible(lambda: asyncio.to_thread(redis_server.stop))


async def test_redis_away_after_the_write_is_waited_out_and_the_message_published_once(
    bench: Bench,
    queue: ReservingQueue,
    store_before_an_outage_of_redis: Interruptible,
    redis_server: RedisServer,
) -> None:
    store = store_before_an_outage_of_redis
    await bench.push(metric("d-1"))
    async with running(make_worker(queue, store)):
        await asyncio.wait_for(store.interrupted.wait(), 30)
        await asyncio.to_thread(redis_server.start)
        async with Redis.from_url(bench.redis_url) as redis:

            async def published() -> int:
                commands = await redis.info("commandstats")  # of the Redis that came back
                return int(commands.get("cmdstat_publish", {"calls": 0})["calls"])

            assert await eventually(published) == 1
            assert await bench.is_empty()
    assert len(store.jobs) == 1


async def test_a_job_that_was_taken_over_meanwhile_is_left_to_the_other_worker(
    bench: Bench, queue: ReservingQueue, clock: Clock
) -> None:
    async def take_over() -> None:
        clock.now_s += RETRY_AFTER_S
        other = ReservingQueue(
            bench.redis, prefix=bench.prefix, queue="default", retry_after_s=RETRY_AFTER_S, clock=clock
        )
        assert len(await other.reserve(max_jobs=1, max_bytes=1)) == 1

    await bench.push(metric("d-1"))
    await make_worker(queue, Interruptible(take_over)).turn()
    assert await bench.reserved() == 1


async def test_told_to_stop_while_redis_is_away_it_ends(
    bench: Bench, queue: ReservingQueue, store_before_an_outage_of_redis: Interruptible
) -> None:
    store = store_before_an_outage_of_redis
    worker = make_worker(queue, store)
    await bench.push(metric("d-1"))
    task = asyncio.create_task(worker.run())
    await asyncio.wait_for(store.interrupted.wait(), 30)
    worker.stop()
    await asyncio.wait_for(task, 15)


@pytest.mark.usefixtures("tenant")
async def test_a_deadlock_with_somebody_else_is_no_outage(
    bench: Bench, queue: ReservingQueue, database: asyncpg.Connection, database_url: str
) -> None:
    statistics = Statistics()
    change = "update metrics_raw set value = 0 where dedupe_id = $1"
    async with DatabaseSession(database_url, statistics, timeout_s=30) as session:
        worker = make_worker(queue, PostgresStore(session))
        await bench.push(metric("a", 1), metric("b", 1))
        await worker.turn()
        await bench.push(metric("a", 2), metric("b", 2))
        await database.execute("set deadlock_timeout = '1h'")  # so that the other side is the one to give in
        async with database.transaction():
            await database.execute(change, "b")
            turn = asyncio.create_task(worker.turn())
            await eventually(lambda: waits_for_a_lock(database_url))
            await database.execute(change, "a", timeout=20)
        await asyncio.wait_for(turn, 20)
    assert {row[4]: row[2] for row in await rows(database)} == {"a": 2.0, "b": 2.0}
    assert statistics.parts["postgres"].up
    assert await bench.is_empty()


async def waits_for_a_lock(database_url: str) -> bool:
    async with connected(database_url) as connection:
        return bool(await connection.fetchval("select count(*) from pg_locks where not granted"))
