"""Jobs for which there is no time before they go to another worker."""

from collections.abc import Awaitable, Callable, Sequence

import asyncpg
import pytest

from streams.database.session import DatabaseSession
from streams.ingest.store import PostgresStore
from streams.laravel.job import Job
from streams.laravel.reserve import ReservingQueue
from tests.integration.ingest.bench import RETRY_AFTER_S, Bench, Clock, make_worker, metric, rows

TOO_LONG = "a" * 65


class SlowStore(PostgresStore):
    """Lets something happen after each write, whether it was refused or not."""

    def __init__(self, session: DatabaseSession, then: Callable[[], Awaitable[None]]) -> None:
        super().__init__(session)
        self._then = then
        self.sizes: list[int] = []

    async def write(self, jobs: Sequence[Job]) -> int:
        self.sizes.append(len(jobs))
        try:
            return await super().write(jobs)
        finally:
            await self._then()


@pytest.mark.usefixtures("tenant")
async def test_what_there_is_no_time_for_goes_back_as_it_was_and_comes_in_smaller_batches(
    bench: Bench, queue: ReservingQueue, session: DatabaseSession, database: asyncpg.Connection, clock: Clock
) -> None:
    async def take_long() -> None:
        clock.now_s += RETRY_AFTER_S / 5

    store = SlowStore(session, take_long)
    worker = make_worker(queue, store)
    pushed = [await bench.push(metric(f"d-{n}", agent_id=TOO_LONG if n == 0 else "a")) for n in range(8)]
    await worker.turn()
    assert store.sizes == [8, 4, 2]
    assert await bench.waiting() == pushed
    await worker.turn()
    assert store.sizes[3:] == [4, 2, 1]
    assert [attempts for attempts, _ in await bench.delayed()] == [1]
    assert await bench.waiting() == pushed[1:]
    for _ in range(3):  # in the last one, the bad job is there again
        await worker.turn()
    assert store.sizes[6:] == [2, 4, 2, 1, 1]
    assert sorted(str(row[4]) for row in await rows(database)) == [f"d-{n}" for n in range(1, 8)]
    assert await bench.reserved() == 0


@pytest.mark.usefixtures("tenant")
async def test_after_standing_still_for_too_long_it_writes_nothing_that_another_worker_has_taken(
    bench: Bench, queue: ReservingQueue, session: DatabaseSession, database: asyncpg.Connection, clock: Clock
) -> None:
    other = ReservingQueue(
        bench.redis, prefix=bench.prefix, queue="default", retry_after_s=RETRY_AFTER_S, clock=clock
    )

    async def stand_still() -> None:
        clock.now_s += RETRY_AFTER_S
        await make_worker(other, PostgresStore(session)).turn()

    await bench.push(metric(None))
    await bench.push(metric("d-1", agent_id=TOO_LONG))
    store = SlowStore(session, stand_still)
    await make_worker(queue, store).turn()
    assert store.sizes == [2]
    assert len(await rows(database)) == 1
    assert [attempts for attempts, _ in await bench.delayed()] == [2]
    assert await bench.waiting() == []
    assert await bench.reserved() == 0
