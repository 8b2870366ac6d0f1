"""A worker that ends by itself, and several on one queue in one process."""

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import AsyncExitStack

import asyncpg
import pytest

from streams.counters import Statistics
from streams.database.session import DatabaseSession
from streams.errors import ForeignJob, NotFinished, Outage, RowsRefused
from streams.ingest.store import FakeMetricStore, PostgresStore
from streams.ingest.wait_limit import WaitLimit
from streams.ingest.worker import IngestWorker, Until
from streams.ingest.worker_pool import WorkerPool
from streams.laravel.job import Job, encode_job
from streams.laravel.reserve import Backlog, ReservingQueue
from tests.integration.ingest.bench import RETRY_AFTER_S, Bench, Clock, make_worker, metric, rows, running
from tests.parts.eventually import eventually


async def run(worker: IngestWorker) -> None:
    await asyncio.wait_for(worker.run(), 20)


async def test_until_empty_it_runs_every_job_that_is_due_and_leaves_the_others(
    bench: Bench, queue: ReservingQueue, clock: Clock
) -> None:
    store = FakeMetricStore()
    store.bad_agents = {"bad"}
    await bench.push(metric("now"))
    await bench.push(metric("later", agent_id="bad"))
    await run(make_worker(queue, store, until=Until.EMPTY))
    assert len(store.jobs) == 1
    assert await bench.delayed() == [(1, clock.now_s + 10)]
    store.bad_agents, clock.now_s = set(), clock.now_s + 10
    await run(make_worker(queue, store, until=Until.EMPTY))
    assert len(store.jobs) == 2
    assert await bench.is_empty()


async def test_until_empty_takes_what_a_dead_worker_of_laravel_held_once_its_time_is_over(
    bench: Bench, queue: ReservingQueue, clock: Clock
) -> None:
    store = FakeMetricStore()
    await bench.push(metric("held"))
    assert len(await queue.reserve(max_jobs=1, max_bytes=1)) == 1
    await bench.redis.delete(f"{bench.name}:held")  # as Laravel's, which leaves no mark
    await queue.hold_nothing()
    await run(make_worker(queue, store, until=Until.EMPTY))
    assert store.jobs == []
    clock.now_s += RETRY_AFTER_S
    await run(make_worker(queue, store, until=Until.EMPTY))
    assert len(store.jobs) == 1
    assert await bench.is_empty()


async def test_until_empty_waits_out_an_outage(bench: Bench, queue: ReservingQueue) -> None:
    store = FakeMetricStore()
    store.away = True
    await bench.push(metric("d-1"))
    statistics = Statistics()
    running = asyncio.create_task(run(make_worker(queue, store, until=Until.EMPTY, statistics=statistics)))
    await eventually(lambda: "postgres" in statistics.parts)
    store.away = False
    await running
    assert len(store.jobs) == 1


async def test_once_it_runs_one_job_and_leaves_the_next_as_it_was(
    bench: Bench, queue: ReservingQueue
) -> None:
    store = FakeMetricStore()
    await bench.push(metric("first"))
    second = await bench.push(metric("second"))
    await run(make_worker(queue, store, until=Until.ONE_JOB))
    assert [job.metrics[0].dedupe_id for job in store.jobs] == ["first"]
    assert await bench.waiting() == [second]
    assert await bench.redis.llen(f"{bench.name}:notify") == 1


async def test_once_it_ends_at_an_empty_queue_too(queue: ReservingQueue) -> None:
    await run(make_worker(queue, FakeMetricStore(), until=Until.ONE_JOB))


async def test_it_runs_the_jobs_of_the_class_that_it_is_told(bench: Bench, queue: ReservingQueue) -> None:
    store = FakeMetricStore()
    await bench.push_raw(
        encode_job(bench.tenant_id, [metric("d-1")], "u", "i" * 32, job_class=r"Acme\Ingest")
    )
    await run(make_worker(queue, store, until=Until.EMPTY, job_class=r"Acme\Ingest"))
    assert len(store.jobs) == 1
    await bench.push(metric("d-2"))
    with pytest.raises(ForeignJob, match=r"only Acme\\Ingest is run here"):
        await run(make_worker(queue, store, until=Until.EMPTY, job_class=r"Acme\Ingest"))


async def test_the_backlog_counts_each_kind_and_what_is_due(
    bench: Bench, queue: ReservingQueue, clock: Clock
) -> None:
    for name in ("a", "b", "c", "d"):
        await bench.push(metric(name))
    released, *_ = await queue.reserve(max_jobs=2, max_bytes=10**6)
    await queue.release(released, 10)
    assert await queue.backlog() == Backlog(waiting=2, delayed=1, reserved=1, due=2)
    clock.now_s += 10
    assert await queue.backlog() == Backlog(waiting=2, delayed=1, reserved=1, due=3)
    clock.now_s += RETRY_AFTER_S
    assert await queue.backlog() == Backlog(waiting=2, delayed=1, reserved=1, due=4)


HANDS = 4


@pytest.fixture
async def pool(bench: Bench, clock: Clock, database_url: str) -> AsyncIterator[WorkerPool]:
    async with AsyncExitStack() as sessions:
        hands = []
        for _ in range(HANDS):
            session = await sessions.enter_async_context(DatabaseSession(database_url, Statistics()))
            queue = ReservingQueue(
                bench.redis, prefix=bench.prefix, queue="default", retry_after_s=RETRY_AFTER_S, clock=clock
            )
            hands.append(make_worker(queue, PostgresStore(session)))
        yield WorkerPool(hands)


async def push_many(bench: Bench) -> set[str]:
    names = {f"d-{number}" for number in range(2_000)}
    for name in names:
        await bench.push(metric(name), metric(None))
    return names


@pytest.mark.usefixtures("tenant")
async def test_a_crew_runs_every_job_once(
    bench: Bench, pool: WorkerPool, database: asyncpg.Connection
) -> None:
    names = await push_many(bench)
    async with running(pool):
        await eventually(bench.is_empty, 20)
    found = [row[4] for row in await rows(database)]
    assert len(found) == 2 * len(names)
    assert set(found) == {*names, None}


@pytest.mark.usefixtures("tenant")
async def test_a_crew_that_is_told_to_stop_settles_what_it_has_taken(
    bench: Bench, pool: WorkerPool, database: asyncpg.Connection
) -> None:
    names = await push_many(bench)
    async with running(pool):
        await eventually(lambda: rows(database), 20, interval_s=0)
    assert await bench.reserved() == 0
    assert len(await rows(database)) == 2 * (len(names) - len(await bench.waiting()))


async def test_the_job_in_front_is_the_next_one_and_stays_where_it_is(
    bench: Bench, queue: ReservingQueue
) -> None:
    assert await queue.front() is None
    first = await bench.push(metric("d-1"))
    await bench.push(metric("d-2"))
    assert await queue.front() == first
    [taken] = await queue.reserve(max_jobs=1, max_bytes=1)
    assert taken.payload == first


LIMIT_S = 60.0


class SlowStore(FakeMetricStore):
    """Away at every other try, and each try takes two thirds of the limit; it takes one job at a time."""

    def __init__(self, clock: Clock, *, recovers: bool) -> None:
        super().__init__()
        self._clock = clock
        self._recovers = recovers
        self._tries = 0

    async def write(self, jobs: Sequence[Job]) -> int:
        if len(jobs) > 1:
            raise RowsRefused("one at a time")
        self._tries += 1
        self._clock.now_s += LIMIT_S * 2 / 3
        self.away = self._tries % 2 == 1 or not self._recovers
        try:
            return await super().write(jobs)
        finally:
            self.away = False


@pytest.mark.parametrize("recovers", [True, False])
async def test_the_limit_cuts_a_run_that_stands_still_and_none_that_is_slow(
    bench: Bench, queue: ReservingQueue, *, recovers: bool
) -> None:
    pushed = [await bench.push(metric(f"d-{number}")) for number in range(4)]
    clock, statistics = Clock(), Statistics()
    store = SlowStore(clock, recovers=recovers)
    limit = WaitLimit(LIMIT_S, lambda: statistics.messages["jobs_done"], clock)
    worker = make_worker(queue, store, until=Until.EMPTY, statistics=statistics, limit=limit)
    if recovers:
        await run(worker)
        assert len(store.jobs) == 4
        assert await bench.is_empty()
    else:
        with pytest.raises(NotFinished):
            await run(worker)
        assert await bench.waiting() == pushed
        assert await bench.reserved() == 0


async def test_the_limit_holds_for_jobs_that_wait_for_redis_to_be_settled(
    bench: Bench, queue: ReservingQueue, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def away(*_: object) -> list[bool]:
        clock.now_s += LIMIT_S
        raise Outage("redis", "away, as the test asked")

    await bench.push(metric("d-1"))
    clock, store = Clock(), FakeMetricStore()
    monkeypatch.setattr(queue, "complete", away)
    worker = make_worker(queue, store, until=Until.ONE_JOB, limit=WaitLimit(LIMIT_S, clock=clock))
    with pytest.raises(NotFinished, match="redis"):
        await run(worker)
    assert len(store.jobs) == 1
