"""A table that takes its time: fewer rows at once are written, and nobody waits for it without end."""

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import suppress

import asyncpg
import pytest

from streams.counters import Statistics
from streams.database.session import DatabaseSession
from streams.errors import NotFinished, Outage
from streams.ingest.progress import STALLED_S
from streams.ingest.report import Report
from streams.ingest.store import FakeMetricStore, PostgresStore
from streams.ingest.wait_limit import WaitLimit
from streams.ingest.worker import Until
from streams.laravel.job import Job
from streams.laravel.reserve import ReservingQueue
from tests.integration.ingest.bench import Bench, Clock, failures, make_worker, metric, rows, running
from tests.integration.ingest.tables import slow_down
from tests.parts.eventually import eventually


@pytest.fixture
async def patient_session(database_url: str) -> AsyncIterator[DatabaseSession]:
    async with DatabaseSession(database_url, Statistics(), timeout_s=30.0) as session:
        yield session


@pytest.mark.usefixtures("tenant")
async def test_what_takes_too_long_together_is_written_in_halves(
    bench: Bench, queue: ReservingQueue, session: DatabaseSession, database: asyncpg.Connection
) -> None:
    await slow_down(database, 0.04, when="true")  # of the second that a command may take
    for number in range(30):
        await bench.push(metric(f"d-{number}"))
    worker = make_worker(queue, PostgresStore(session), until=Until.EMPTY)
    await asyncio.wait_for(worker.run(), 60)
    assert len(await rows(database)) == 30
    assert await failures(database) == []
    assert await bench.is_empty()


@pytest.mark.usefixtures("tenant")
async def test_a_job_that_alone_takes_too_long_has_failed_and_spares_the_others(
    bench: Bench, queue: ReservingQueue, session: DatabaseSession, database: asyncpg.Connection, clock: Clock
) -> None:
    await slow_down(database, 30)
    for number in range(4):
        await bench.push(metric(f"d-{number}", agent_id="slow" if number == 1 else "quick"))
    await make_worker(queue, PostgresStore(session)).turn()
    assert {row[4] for row in await rows(database)} == {"d-0", "d-2", "d-3"}
    assert await bench.delayed() == [(1, clock.now_s + 10)]


@pytest.mark.usefixtures("tenant")
async def test_where_every_row_takes_too_long_no_job_is_blamed_and_a_run_ends_at_its_limit(
    bench: Bench, queue: ReservingQueue, session: DatabaseSession, database: asyncpg.Connection
) -> None:
    await slow_down(database, 30, when="true")
    pushed = [await bench.push(metric(f"d-{number}")) for number in range(2)]
    worker = make_worker(queue, PostgresStore(session), until=Until.EMPTY, limit=WaitLimit(1.0))
    with pytest.raises(NotFinished, match="57014"):
        await asyncio.wait_for(worker.run(), 60)
    assert await bench.waiting() == pushed


async def test_where_there_is_no_time_to_find_out_fewer_are_taken_and_the_run_has_its_limit(
    bench: Bench, queue: ReservingQueue, clock: Clock
) -> None:
    class Slow(FakeMetricStore):
        async def write(self, jobs: Sequence[Job]) -> int:
            clock.now_s += 50
            return await super().write(jobs)

    store = Slow()
    store.most_jobs = 3
    for number in range(16):
        await bench.push(metric(f"d-{number}"))
    worker = make_worker(queue, store)
    turns = 0
    while await bench.waiting():
        turns += 1
        with suppress(Outage):
            await worker.turn()
    assert len(store.jobs) == 16
    assert turns <= 2 * 16


@pytest.mark.usefixtures("tenant")
async def test_told_to_stop_in_the_middle_of_a_slow_statement_it_ends_and_puts_the_jobs_back(
    bench: Bench, queue: ReservingQueue, patient_session: DatabaseSession, database: asyncpg.Connection
) -> None:
    await slow_down(database, 20, when="true")
    pushed = [await bench.push(metric(f"d-{number}")) for number in range(3)]
    worker = make_worker(queue, PostgresStore(patient_session))
    task = asyncio.create_task(worker.run())

    async def sleeps() -> bool:
        return bool(
            await database.fetchval("select count(*) from pg_stat_activity where wait_event = 'PgSleep'")
        )

    await eventually(sleeps)
    worker.stop()
    await asyncio.wait_for(task, 9)
    assert await bench.waiting() == pushed

    async def is_cancelled() -> bool:
        return not await sleeps()

    await eventually(is_cancelled)
    assert await rows(database) == []


async def test_what_is_reserved_and_not_settled_is_no_progress(bench: Bench, queue: ReservingQueue) -> None:
    statistics, seconds = Statistics(), Clock()
    report = Report(statistics, queue, clock=seconds)
    begun, go_on = asyncio.Event(), asyncio.Event()

    class Standing(FakeMetricStore):
        async def write(self, jobs: Sequence[Job]) -> int:
            begun.set()
            await go_on.wait()
            return await super().write(jobs)

    await bench.push(metric("d-1"))
    async with running(make_worker(queue, Standing(), statistics=statistics)):
        await asyncio.wait_for(begun.wait(), 20)
        await report.check_progress()
        seconds.now_s += STALLED_S
        with pytest.raises(Outage, match="reserved"):
            await report.check_progress()
        go_on.set()
        await eventually(bench.is_empty)
        await report.check_progress()
