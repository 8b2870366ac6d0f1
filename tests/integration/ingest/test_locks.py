"""Somebody else, such as a worker that stands still within its transaction, holds a lock on a row."""

import asyncpg
import pytest

from streams.database.session import DatabaseSession, connected
from streams.ingest.store import PostgresStore
from streams.ingest.worker import IngestWorker
from streams.laravel.reserve import ReservingQueue
from tests.integration.ingest.bench import Bench, Clock, failures, make_worker, metric, rows


@pytest.fixture
def worker(queue: ReservingQueue, session: DatabaseSession) -> IngestWorker:
    return make_worker(queue, PostgresStore(session, lock_timeout_s=0.1))


@pytest.mark.usefixtures("tenant")
async def test_a_job_whose_row_is_locked_holds_up_no_other_and_loses_no_try(
    bench: Bench, worker: IngestWorker, database: asyncpg.Connection, database_url: str, clock: Clock
) -> None:
    await bench.push(metric("locked", 1))
    await worker.turn()
    async with connected(database_url) as other, other.transaction():
        await other.execute("update metrics_raw set value = 0 where dedupe_id = 'locked'")
        for name in ("a", "b", "locked", "c"):
            await bench.push(metric(name, 2))
        for _ in range(8):  # more often than a job may fail
            await worker.turn()
            assert {row[4] for row in await rows(database)} == {"a", "b", "c", "locked"}
            assert await bench.waiting() == []
            [(attempts, due_at_s)] = await bench.delayed()
            assert attempts == 0
            clock.now_s = due_at_s
    await worker.turn()
    assert {row[4]: row[2] for row in await rows(database)}["locked"] == 2.0
    assert await failures(database) == []
    assert await bench.is_empty()
