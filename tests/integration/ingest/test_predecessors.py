"""What an ingest held when it died is run before what came later, so that the last value wins."""

import asyncio
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import AsyncExitStack

import asyncpg
import pytest
from redis.asyncio import Redis
from redis.exceptions import ConnectionError as RedisConnectionError

from streams.database.session import DatabaseSession
from streams.errors import Outage
from streams.ingest.predecessors import SILENT_LOOKS, Predecessors
from streams.ingest.store import FakeMetricStore, PostgresStore
from streams.ingest.worker import IngestWorker, Until
from streams.laravel.job import Job
from streams.laravel.redis_client import connect
from streams.laravel.reserve import ReservingQueue
from tests.integration.ingest.bench import RETRY_AFTER_S, Bench, Clock, make_worker, metric, rows, running
from tests.parts.eventually import eventually

LOOK_EVERY_S = 0.02
Queues = Callable[[], ReservingQueue]


@pytest.fixture
async def queues(bench: Bench, clock: Clock) -> AsyncIterator[Queues]:
    """The queue as each process has it: with a client and an identity of its own."""
    async with AsyncExitStack() as clients:

        def queue() -> ReservingQueue:
            redis = connect(bench.redis_url)
            clients.push_async_callback(redis.aclose)
            return ReservingQueue(
                redis, prefix=bench.prefix, queue="default", retry_after_s=RETRY_AFTER_S, clock=clock
            )

        yield queue


@pytest.fixture(autouse=True)
def quick_looks(monkeypatch: pytest.MonkeyPatch) -> None:
    """As in life a beat is due between any two looks."""
    monkeypatch.setattr("streams.ingest.predecessors.LOOK_EVERY_S", LOOK_EVERY_S)
    monkeypatch.setattr("streams.ingest.reservations.BEAT_EVERY_S", LOOK_EVERY_S / 4)


async def hold(queue: ReservingQueue) -> int:
    """Take all that is there and die: nothing more is heard of this one."""
    return len(await queue.reserve(max_jobs=100, max_bytes=1_000_000))


async def until_empty(worker: IngestWorker) -> None:
    await asyncio.wait_for(worker.run(), 20)


def value_of(written: FakeMetricStore, number: int) -> float | None:
    return written.jobs[number].metrics[0].value


@pytest.mark.usefixtures("tenant")
async def test_the_last_value_wins_over_what_a_killed_worker_held(
    bench: Bench, queues: Queues, session: DatabaseSession, database: asyncpg.Connection, clock: Clock
) -> None:
    await bench.push(metric("d-1", 1.0))
    assert await hold(queues()) == 1
    await bench.push(metric("d-1", 2.0))
    for _ in range(2):
        await until_empty(make_worker(queues(), PostgresStore(session), until=Until.EMPTY))
        clock.now_s += RETRY_AFTER_S
    assert [row[2] for row in await rows(database)] == [2.0]
    assert await bench.is_empty()
    assert await bench.holds_nothing()


async def test_what_several_dead_ones_held_is_run_in_the_order_of_the_queue(
    bench: Bench, queues: Queues, clock: Clock
) -> None:
    for value in range(6):
        await bench.push(metric(f"d-{value}", float(value)))
        if value % 2:
            assert await hold(queues()) == 2
            clock.now_s += 0.001
    await bench.push(metric("d-6", 6.0))
    store = FakeMetricStore()
    await until_empty(make_worker(queues(), store, until=Until.EMPTY))
    assert [value_of(store, number) for number in range(7)] == [float(value) for value in range(7)]
    assert await bench.is_empty()
    assert await bench.holds_nothing()


async def test_what_has_expired_meanwhile_still_comes_first(
    bench: Bench, queues: Queues, clock: Clock
) -> None:
    await bench.push(metric("d-1", 1.0))
    assert await hold(queues()) == 1
    await bench.push(metric("d-1", 2.0))
    clock.now_s += RETRY_AFTER_S
    store = FakeMetricStore()
    await until_empty(make_worker(queues(), store, until=Until.EMPTY))
    assert [value_of(store, number) for number in range(2)] == [1.0, 2.0]


async def test_a_job_at_a_time_at_first_since_one_of_them_may_be_what_kills(
    bench: Bench, queues: Queues
) -> None:
    for value in range(8):
        await bench.push(metric(f"d-{value}", float(value)))
    assert await hold(queues()) == 8
    worker = make_worker(queues(), FakeMetricStore())
    assert [await worker.turn() for _ in range(4)] == [1, 2, 4, 1]


async def test_the_try_of_a_dead_worker_counts(bench: Bench, queues: Queues) -> None:
    await bench.push(metric("d-1"), attempts=4, maxTries=5)
    assert await hold(queues()) == 1
    store = FakeMetricStore()
    await until_empty(make_worker(queues(), store, until=Until.EMPTY))
    assert store.jobs == []
    assert len(store.failed) == 1


async def test_what_a_living_worker_holds_is_left_to_it(bench: Bench, queues: Queues) -> None:
    await bench.push(metric("d-1"))
    living, released = FakeMetricStore(), asyncio.Event()
    write = living.write

    async def slow(jobs: object) -> int:
        await released.wait()
        return await write(jobs)  # type: ignore[arg-type]  # as it was called

    living.write = slow  # type: ignore[method-assign]
    async with running(make_worker(queues(), living)):
        await eventually(bench.reserved)
        other = FakeMetricStore()
        async with running(make_worker(queues(), other)):
            await bench.push(metric("d-2"))
            await eventually(lambda: other.jobs)
            assert await bench.reserved() == 1
        released.set()
        await eventually(lambda: living.jobs)
    assert [job.metrics[0].dedupe_id for job in other.jobs] == ["d-2"]
    assert [job.metrics[0].dedupe_id for job in living.jobs] == ["d-1"]
    assert await bench.is_empty()
    assert await bench.holds_nothing()


async def test_one_that_comes_back_to_life_settles_nothing_that_was_taken_from_it(
    bench: Bench, queues: Queues
) -> None:
    await bench.push(metric("d-1"))
    frozen = queues()
    [held] = await frozen.reserve(max_jobs=1, max_bytes=1)
    successor = queues()
    assert await Predecessors(successor).settle() == 1
    await frozen.beat()
    assert not await frozen.delete(held)
    assert await successor.holders() == {}
    assert len(await bench.waiting()) == 1


async def test_a_holder_that_beats_between_the_last_look_and_the_taking_is_left_alone(
    bench: Bench, queues: Queues
) -> None:
    await bench.push(metric("d-1"))
    frozen, successor = queues(), queues()
    assert await hold(frozen) == 1
    [(mark, beat)] = (await successor.holders()).items()
    await frozen.beat()
    assert await successor.take_back(mark, beat) == 0
    assert await bench.reserved() == 1


async def test_a_job_that_another_has_taken_since_is_not_taken_from_it(
    bench: Bench, queues: Queues, clock: Clock
) -> None:
    """The same job, expired and taken anew: its id is the mark's, its place among the reserved is not."""
    await bench.push(metric("d-1"))
    assert await hold(queues()) == 1
    clock.now_s += RETRY_AFTER_S
    second = queues()
    assert await hold(second) == 1
    store = FakeMetricStore()
    looking = queues()
    marks = await looking.holders()
    first = min(marks, key=lambda mark: float(mark.split()[1]))
    assert await looking.take_back(first, marks[first]) == 0
    assert await bench.reserved() == 1
    assert list(await looking.holders()) == [mark for mark in marks if mark != first]
    assert store.jobs == []


async def test_nobody_waits_where_nobody_held_anything(bench: Bench, queues: Queues) -> None:
    ended = make_worker(queues(), FakeMetricStore())
    await bench.push(metric("d-1"))
    async with running(ended):
        await eventually(bench.is_empty)
    looks = 0
    queue = queues()
    holders = queue.holders

    async def counted() -> dict[str, float]:
        nonlocal looks
        looks += 1
        return await holders()

    queue.holders = counted  # type: ignore[method-assign]
    assert await Predecessors(queue).settle() == 0
    assert looks == 1


async def test_one_that_is_told_to_stop_does_not_wait_for_the_dead(bench: Bench, queues: Queues) -> None:
    await bench.push(metric("d-1"))
    assert await hold(queues()) == 1
    worker = make_worker(queues(), FakeMetricStore())
    worker.stop()
    await until_empty(worker)
    assert await bench.reserved() == 1


async def test_silence_while_redis_gives_no_answer_proves_no_death(bench: Bench, queues: Queues) -> None:
    await bench.push(metric("d-1"))
    living, looking = queues(), queues()
    assert await hold(living) == 1
    holders = looking.holders
    asked = 0

    async def answers_mostly() -> dict[str, float]:
        nonlocal asked
        asked += 1
        if asked % SILENT_LOOKS == 0:
            raise Outage("redis", "away, as the test asked")
        return await holders()

    looking.holders = answers_mostly  # type: ignore[method-assign]
    for _ in range(2):
        with pytest.raises(Outage):
            await Predecessors(looking).settle()
    assert await bench.reserved() == 1


class LosesAnswers(Redis):
    """Does what it is asked, and the next answer to a script is lost on the way."""

    loses = False

    async def execute_command(self, *args: object, **options: object) -> object:
        answer = await super().execute_command(*args, **options)  # type: ignore[no-untyped-call]
        if self.loses and args[0] == "EVALSHA":
            self.loses = False
            raise RedisConnectionError("lost on the way")
        return answer


async def test_what_it_took_without_hearing_of_it_comes_first(bench: Bench, clock: Clock) -> None:
    redis = LosesAnswers.from_url(bench.redis_url)
    queue = ReservingQueue(
        redis, prefix=bench.prefix, queue="default", retry_after_s=RETRY_AFTER_S, clock=clock
    )
    store = FakeMetricStore()
    worker = make_worker(queue, store)
    await worker.turn()
    await bench.push(metric("d-1", 1.0))
    redis.loses = True
    async with running(worker):
        await eventually(lambda: not redis.loses)
        await bench.push(metric("d-1", 2.0))
        await eventually(lambda: len(store.jobs) == 2)
    assert [value_of(store, number) for number in range(2)] == [1.0, 2.0]
    assert await bench.is_empty()
    assert await bench.holds_nothing()
    await redis.aclose()


async def test_what_redis_has_forgotten_that_it_was_done_is_done_again_in_its_order(
    bench: Bench, queues: Queues
) -> None:
    """Redis comes back as it was when the first job was held: the second one is in the list again."""
    store = FakeMetricStore()
    write, saved = store.write, {}

    async def write_and_save(jobs: Sequence[Job]) -> int:
        if not saved:
            await bench.push(metric("d-1", 2.0))
            saved.update(
                {key: await bench.redis.dump(key) for key in await bench.redis.keys(f"{bench.prefix}*")}
            )
        return await write(jobs)

    store.write = write_and_save  # type: ignore[method-assign]
    await bench.push(metric("d-1", 1.0))
    async with running(make_worker(queues(), store)):
        await eventually(lambda: len(store.jobs) == 2)
        await eventually(bench.is_empty)
        for key, value in saved.items():
            await bench.redis.restore(key, 0, value)
        await bench.redis.client_kill_filter(_type="normal", skipme=True)
        await eventually(lambda: len(store.jobs) == 4)
        await eventually(bench.is_empty)
    assert [value_of(store, number) for number in range(4)] == [1.0, 2.0, 1.0, 2.0]
