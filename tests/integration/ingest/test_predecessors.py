"""What an ingest held when it died is run before what came later, so that the last value wins."""

import asyncio
import json
from collections.abc import AsyncIterator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from typing import Any, Protocol

import asyncpg
import pytest
from redis.asyncio import Redis
from redis.exceptions import ConnectionError as RedisConnectionError

from streams.database.session import DatabaseSession
from streams.errors import Outage, RowsRefused
from streams.ingest.caution import Caution
from streams.ingest.holder_watch import SILENT_LOOKS
from streams.ingest.predecessors import Predecessors
from streams.ingest.store import FakeMetricStore, PostgresStore
from streams.ingest.wait_limit import WaitLimit
from streams.ingest.worker import IngestWorker, Until
from streams.ingest.worker_pool import WorkerPool
from streams.laravel.job import Job
from streams.laravel.marks import Mark
from streams.laravel.redis_client import connect
from streams.laravel.reserve import Broadcast, ReservedJob, ReservingQueue, process_id
from streams.tasks import ended
from tests.integration.ingest.bench import RETRY_AFTER_S, Bench, Clock, make_worker, metric, rows, running
from tests.parts.eventually import eventually
from tests.parts.variants import long

LOOK_EVERY_S = 0.02


class Queues(Protocol):
    """The queue as each worker has it: with a client and an identity of its own."""

    def __call__(self, *, process: str | None = None, client: type[Redis] | None = None) -> ReservingQueue:
        """Return it for another worker, of a process of its own or of this one."""


@pytest.fixture
async def queues(bench: Bench, clock: Clock) -> AsyncIterator[Queues]:
    async with AsyncExitStack() as clients:

        def queue(*, process: str | None = None, client: type[Redis] | None = None) -> ReservingQueue:
            redis = client.from_url(bench.redis_url) if client else connect(bench.redis_url)
            clients.push_async_callback(redis.aclose)
            return ReservingQueue(
                redis,
                prefix=bench.prefix,
                queue="default",
                retry_after_s=RETRY_AFTER_S,
                clock=clock,
                process=process,
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


def values_of(written: FakeMetricStore) -> list[float | None]:
    return [value_of(written, number) for number in range(len(written.jobs))]


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
    for value in range(6):
        await bench.push(metric(f"d-{value}", float(value)))
    assert await hold(queues()) == 6
    for value in range(6, 10):
        await bench.push(metric(f"d-{value}", float(value)))
    worker = make_worker(queues(), FakeMetricStore())
    assert [await worker.turn() for _ in range(8)] == [*[1] * 6, 4, 0]


async def test_another_worker_that_knows_of_no_danger_takes_it_alone_as_well(
    bench: Bench, queues: Queues
) -> None:
    """Else it would take all the others at once, and die with many, which nobody could tell from the one."""
    for value in range(6):
        await bench.push(metric(f"d-{value}", float(value)))
    assert await hold(queues()) == 6
    knows_nothing = make_worker(queues(), FakeMetricStore())
    assert await Predecessors(queues()).settle() == 6
    assert [await knows_nothing.turn() for _ in range(7)] == [*[1] * 6, 0]


async def test_of_several_that_a_process_held_one_by_one_none_uses_a_try(
    bench: Bench, queues: Queues, clock: Clock
) -> None:
    process = process_id()
    for value in range(3):
        await bench.push(metric(f"d-{value}", float(value)), maxTries=1)
        assert await hold(queues(process=process)) == 1
        clock.now_s += 0.001
    store = FakeMetricStore()
    await until_empty(make_worker(queues(), store, until=Until.EMPTY))
    assert [value_of(store, number) for number in range(3)] == [0.0, 1.0, 2.0]
    assert not store.failed


async def test_of_what_two_processes_held_each_that_was_alone_uses_a_try(
    bench: Bench, queues: Queues, clock: Clock
) -> None:
    """Were they counted together, two jobs that kill could excuse each other for ever."""
    for value in range(2):
        await bench.push(metric(f"d-{value}", float(value)), maxTries=1)
        assert await hold(queues()) == 1
        clock.now_s += 0.001
    for value in range(2, 4):
        await bench.push(metric(f"d-{value}", float(value)), maxTries=1)
    assert await hold(queues()) == 2
    store = FakeMetricStore()
    await until_empty(make_worker(queues(), store, until=Until.EMPTY))
    assert values_of(store) == [2.0, 3.0]
    assert len(store.failed) == 2


@pytest.mark.parametrize("job_id", [None, "x" * 65])
async def test_a_neighbour_without_a_usable_id_excuses_as_any_other(
    bench: Bench, queues: Queues, job_id: str | None
) -> None:
    await bench.push(metric("d-0", 0.0), maxTries=1, id=job_id)
    await bench.push(metric("d-1", 1.0), maxTries=1)
    assert await hold(queues()) == 2
    store = FakeMetricStore()
    await until_empty(make_worker(queues(), store, until=Until.EMPTY))
    assert values_of(store) == [1.0]
    assert not store.failed
    assert await bench.reserved() == 1  # comes by its retry after


@pytest.mark.parametrize("tries", [1, 3])
async def test_a_job_that_ends_its_worker_by_a_bug_uses_up_its_tries_and_takes_no_other_along(
    bench: Bench, queues: Queues, tries: int
) -> None:
    for value in range(5):
        await bench.push(metric(f"d-{value}", float(value)), maxTries=tries)

    class Buggy(FakeMetricStore):
        async def write(self, jobs: Sequence[Job]) -> int:
            if any(job.metrics[0].dedupe_id == "d-3" for job in jobs):
                raise MemoryError("as the test asked")
            return await super().write(jobs)

    store, ends = Buggy(), 0
    while not await bench.is_empty():
        try:
            await until_empty(make_worker(queues(), store, until=Until.EMPTY))
        except MemoryError:
            ends += 1
    assert ends == tries + 1  # the first time it was among others, and nobody knew
    assert [json.loads(failed.payload)["attempts"] for failed in store.failed.values()] == [tries]
    assert values_of(store) == [0.0, 1.0, 2.0, 4.0]


async def test_a_suspect_waits_until_the_other_workers_of_its_process_hold_nothing(
    bench: Bench, queues: Queues
) -> None:
    await bench.push(metric("d-0", 0.0))
    await bench.push(metric("d-1", 1.0))
    assert await hold(queues()) == 2
    assert await Predecessors(queues()).settle() == 2
    suspects = await bench.waiting()
    await bench.redis.delete(bench.name)
    caution, process, begun, released = Caution(), process_id(), asyncio.Event(), asyncio.Event()

    class Slow(FakeMetricStore):
        async def write(self, jobs: Sequence[Job]) -> int:
            if jobs[0].metrics[0].dedupe_id == "slow":
                begun.set()
                await released.wait()
            return await super().write(jobs)

    store = Slow()
    busy, other = (make_worker(queues(process=process), store, caution=caution) for _ in range(2))
    await other.turn()
    await bench.push(metric("slow", 9.0))
    in_the_middle = asyncio.create_task(busy.turn())
    await begun.wait()
    for payload in suspects:
        await bench.push_raw(payload)
    meets_it = asyncio.create_task(other.turn())

    async def has_put_it_back() -> bool:
        return caution.is_needed and len(await bench.waiting()) == 2

    await eventually(has_put_it_back)
    assert await bench.reserved() == 1
    released.set()
    assert (await in_the_middle, await meets_it) == (1, 1)
    assert values_of(store) == [9.0, 0.0]


async def test_a_worker_that_waits_for_its_turn_is_not_taken_for_dead(bench: Bench, queues: Queues) -> None:
    caution, queue = Caution(), queues()
    await bench.push(metric("d-1"))
    [held] = await queue.reserve(max_jobs=1, max_bytes=1)
    assert await queue.delete(held)

    async def has_left() -> bool:
        return not any(queue.is_ours(mark) for mark in await queue.holders())

    async with caution.alone:
        settling = asyncio.create_task(Predecessors(queue, caution).settle())
        await eventually(has_left)
    assert await settling == 0


class Mortal(Redis):
    """A client whose process dies: from then on nothing reaches Redis."""

    is_dead = False

    async def execute_command(self, *args: object, **options: object) -> object:
        if self.is_dead:
            raise RedisConnectionError("dead, as the test asked")
        return await super().execute_command(*args, **options)  # type: ignore[no-untyped-call]  # of redis-py


@pytest.mark.parametrize(("tries", "concurrency"), [(1, 1), long(5, 1), (1, 3), (5, 3)])
async def test_of_many_jobs_only_the_one_that_kills_its_worker_is_given_up(
    bench: Bench, clock: Clock, tries: int, concurrency: int
) -> None:
    """The process dies with all that it held, and is started again, as often as it takes."""
    for value in range(30):
        await bench.push(metric(f"d-{value}", float(value)), maxTries=tries)
    written: list[str | None] = []

    class Deadly(FakeMetricStore):
        async def write(self, jobs: Sequence[Job]) -> int:
            ids = [job.metrics[0].dedupe_id for job in jobs]
            if "d-17" in ids:
                redis.is_dead = True
                await asyncio.Event().wait()
            written.extend(ids)
            return await super().write(jobs)

    deaths = 0
    while True:
        redis, caution, store = Mortal.from_url(bench.redis_url), Caution(), Deadly()
        own: dict[str, Any] = {
            "prefix": bench.prefix, "queue": "default", "retry_after_s": RETRY_AFTER_S, "clock": clock,
            "process": process_id(),
        }  # fmt: skip
        hands = [
            make_worker(ReservingQueue(redis, **own), store, caution=caution) for _ in range(concurrency)
        ]
        process = asyncio.create_task(WorkerPool(hands).run())
        await eventually(lambda: redis.is_dead or store.failed)  # noqa: B023 - of this round
        if store.failed:
            break
        deaths += 1
        process.cancel()
        await asyncio.wait({process})
        await redis.aclose()
    await eventually(bench.is_empty)
    await ended(process)
    await redis.aclose()
    assert [json.loads(failed.payload)["attempts"] for failed in store.failed.values()] == [tries]
    assert sorted(written, key=str) == sorted((f"d-{n}" for n in range(30) if n != 17), key=str)
    assert deaths == tries + 1  # the first time it was among others, and nobody knew


@pytest.mark.parametrize(
    "job_id",
    ["5f0c19a2-92ce-495b-86e6-986f871bedf9", "of:another,application", "a\u00a0b", "a\x1cb", "\u00e4"],
)
async def test_whatever_words_the_ids_of_jobs_are(bench: Bench, queues: Queues, job_id: str) -> None:
    """Those of Horizon are uuids."""
    await bench.push(metric("d-1", 1.0), id=job_id)
    assert await hold(queues()) == 1
    await bench.push(metric("d-1", 2.0))
    store = FakeMetricStore()
    await until_empty(make_worker(queues(), store, until=Until.EMPTY))
    assert [value_of(store, number) for number in range(2)] == [1.0, 2.0]


@pytest.mark.parametrize("member", ["", "x", b"\xff", "h notanumber 2 i", f"{'a' * 32} 1 x i"])
async def test_what_is_no_mark_is_left_alone(bench: Bench, queues: Queues, member: str | bytes) -> None:
    await bench.redis.zadd(f"{bench.name}:held", {member: 0})
    await bench.push(metric("d-1"))
    store = FakeMetricStore()
    await until_empty(make_worker(queues(), store, until=Until.EMPTY))
    assert len(store.jobs) == 1
    assert await bench.redis.zcard(f"{bench.name}:held") == 1


async def test_what_was_put_back_leaves_no_mark(bench: Bench, queues: Queues) -> None:
    store = FakeMetricStore()
    worker = make_worker(queues(), store)
    await worker.turn()
    await bench.push(metric("d-1"))
    store.away = True
    with pytest.raises(Outage):
        await worker.turn()
    assert len(await bench.waiting()) == 1
    assert await bench.holds_nothing()


async def test_a_living_worker_is_not_robbed_though_a_run_has_no_time_left(
    bench: Bench, queues: Queues
) -> None:
    """A run that may wait no longer for its parts looks as long as any other."""
    now_s = 0.0
    limit = WaitLimit(1, clock=lambda: now_s)
    limit.check(Outage("postgres", "away for as long as the run may wait"))
    now_s = 1.0
    async with slowly_at_work(bench, queues) as store:
        run = make_worker(queues(), FakeMetricStore(), until=Until.EMPTY, limit=limit)
        assert await run.turn() == 0
        assert await bench.reserved() == 1
    assert [job.metrics[0].dedupe_id for job in store.jobs] == ["d-1"]


async def test_a_job_whose_id_is_no_text_is_run_or_given_up_as_any_other(
    bench: Bench, queues: Queues
) -> None:
    good = await bench.push(metric("d-1", 1.0))
    await bench.push_raw(good.replace(b'"id":"', b'"id":"\xff'))
    assert await hold(queues()) == 2
    await bench.push(metric("d-1", 2.0))
    store = FakeMetricStore()
    await until_empty(make_worker(queues(), store, until=Until.EMPTY))
    assert values_of(store)[-1] == 2.0
    assert len(store.jobs) + len(store.failed) == 3
    assert await bench.is_empty()
    assert await bench.holds_nothing()


class Saved:
    """The queue as a Redis keeps it in an older copy, and comes back with."""

    def __init__(self, bench: Bench) -> None:
        self._bench = bench
        self._keys: dict[bytes, bytes | None] = {}

    async def save(self) -> None:
        found = await self._bench.redis.keys(f"{self._bench.prefix}*")
        self._keys = {key: await self._bench.redis.dump(key) for key in found}

    async def come_back(self) -> None:
        async with self._bench.redis.pipeline(transaction=True) as at_once:
            for key in await self._bench.redis.keys(f"{self._bench.prefix}*"):
                at_once.delete(key)
            for key, value in self._keys.items():
                at_once.restore(key, 0, value, replace=True)
            await at_once.execute()


async def test_an_end_in_good_order_leaves_the_mark_of_a_job_that_redis_forgot_was_done(
    bench: Bench, queues: Queues, clock: Clock
) -> None:
    await bench.push(metric("d-1", 1.0))
    ending, saved = queues(), Saved(bench)
    [held] = await ending.reserve(max_jobs=1, max_bytes=1)
    await bench.push(metric("d-1", 2.0))
    await saved.save()
    assert await ending.delete(held)
    await saved.come_back()
    await ending.hold_nothing()
    store = FakeMetricStore()
    await until_empty(make_worker(queues(), store, until=Until.EMPTY))
    clock.now_s += RETRY_AFTER_S
    await until_empty(make_worker(queues(), store, until=Until.EMPTY))
    assert values_of(store) == [1.0, 2.0]
    assert await bench.holds_nothing()


async def test_what_is_put_back_leaves_the_mark_of_a_job_that_redis_forgot_was_done(
    bench: Bench, queues: Queues
) -> None:
    await bench.push(metric("d-1", 1.0))
    await bench.push(metric("e-1", 1.0))
    queue, saved = queues(), Saved(bench)
    done, undone = await queue.reserve(max_jobs=2, max_bytes=1_000_000)
    await bench.push(metric("d-1", 2.0))
    await saved.save()
    assert await queue.delete(done)
    await saved.come_back()
    assert await queue.put_back([undone]) == 1
    store = FakeMetricStore()
    await until_empty(make_worker(queue, store, until=Until.EMPTY))
    assert values_of(store) == [1.0, 1.0, 2.0]
    assert await bench.is_empty()
    assert await bench.holds_nothing()


async def test_workers_that_take_jobs_at_the_same_moment_suspect_nothing(
    bench: Bench, queues: Queues, clock: Clock
) -> None:
    """The places of one's jobs are among those of the other's."""
    for value in range(6):
        await bench.push(metric(f"d-{value}"))
    one, other = queues(), queues()
    mine = await one.reserve(max_jobs=3, max_bytes=1_000_000)
    clock.now_s += 1e-6
    assert len(await other.reserve(max_jobs=3, max_bytes=1_000_000)) == 3
    for job in mine:
        assert await one.delete(job)
    assert await one.reserve(max_jobs=3, max_bytes=1_000_000) == []


async def test_who_stood_still_and_was_taken_for_dead_writes_nothing_over_what_came_later(
    bench: Bench, queues: Queues
) -> None:
    await bench.push(metric("d-1", 1.0))
    store, frozen = FakeMetricStore(), queues()
    worker = make_worker(frozen, store)
    reserve = frozen.reserve

    async def stand_still(**most: int) -> list[ReservedJob]:
        jobs = await reserve(**most)
        if jobs and not store.jobs:
            await bench.push(metric("d-1", 2.0))
            await until_empty(make_worker(queues(), store, until=Until.EMPTY))
        return jobs

    frozen.reserve = stand_still  # type: ignore[method-assign]  # of this test's alone
    with pytest.raises(Outage):
        await worker.turn()
    assert values_of(store) == [1.0, 2.0]


@pytest.mark.parametrize("how", ["put_back", "release", "delete", "complete"])
async def test_what_is_settled_twice_is_not_taken_from_whom_it_came_to_meanwhile(
    bench: Bench, queues: Queues, clock: Clock, how: str
) -> None:
    """The first answer was lost. Put back as it was, the job has the same bytes in other hands."""
    await bench.push(metric("d-1"))
    queue, other = queues(), queues()
    [held] = await queue.reserve(max_jobs=1, max_bytes=1)
    assert await queue.put_back([held]) == 1
    clock.now_s += 1
    [again] = await other.reserve(max_jobs=1, max_bytes=1)
    assert again.reserved == held.reserved
    settle = {
        "put_back": lambda: queue.put_back([held]),
        "release": lambda: queue.release(held, 10, counted=False),
        "delete": lambda: queue.delete(held),
        "complete": lambda: queue.complete([(held, Broadcast("a", b"b"))]),
    }
    assert await settle[how]() in (0, [False])
    assert await other.delete(again)


async def test_the_try_of_a_dead_worker_counts(bench: Bench, queues: Queues) -> None:
    await bench.push(metric("d-1"), attempts=4, maxTries=5)
    assert await hold(queues()) == 1
    store = FakeMetricStore()
    await until_empty(make_worker(queues(), store, until=Until.EMPTY))
    assert store.jobs == []
    assert len(store.failed) == 1


@asynccontextmanager
async def slowly_at_work(bench: Bench, queues: Queues) -> AsyncIterator[FakeMetricStore]:
    """Let a worker hold a job, and write it only in the end."""
    store, released = FakeMetricStore(), asyncio.Event()
    write = store.write

    async def slow(jobs: Sequence[Job]) -> int:
        await released.wait()
        return await write(jobs)

    store.write = slow  # type: ignore[method-assign]  # of this test's alone
    await bench.push(metric("d-1"))
    async with running(make_worker(queues(), store)):
        await eventually(bench.reserved)
        yield store
        released.set()
        await eventually(lambda: store.jobs)


async def test_what_a_living_worker_holds_is_left_to_it(bench: Bench, queues: Queues) -> None:
    async with slowly_at_work(bench, queues) as living:
        other = FakeMetricStore()
        async with running(make_worker(queues(), other)):
            await bench.push(metric("d-2"))
            await eventually(lambda: other.jobs)

            async def has_one_left() -> bool:
                return await bench.reserved() == 1

            await eventually(has_one_left)  # the other's is written, and may not be settled yet
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
    assert await successor.take_back({mark: beat}) == 0
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
    looking = queues()
    marks = await looking.holders()
    first = min(marks, key=lambda mark: mark.taken_at)
    assert await looking.take_back({first: marks[first]}) == 0
    assert await bench.reserved() == 1
    assert list(await looking.holders()) == [mark for mark in marks if mark != first]


async def test_nobody_waits_where_nobody_held_anything(bench: Bench, queues: Queues) -> None:
    ended = make_worker(queues(), FakeMetricStore())
    await bench.push(metric("d-1"))
    async with running(ended):
        await eventually(bench.is_empty)

    async def pause(_: float) -> None:
        pytest.fail("waits, though nobody is in doubt")

    assert await Predecessors(queues(), pause=pause).settle() == 0


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

    async def answers_mostly() -> dict[Mark, float]:
        nonlocal asked
        asked += 1
        if asked % SILENT_LOOKS == 0:
            raise Outage("redis", "away, as the test asked")
        return await holders()

    looking.holders = answers_mostly  # type: ignore[method-assign]  # of this test's alone
    for _ in range(2):
        with pytest.raises(Outage):
            await Predecessors(looking).settle()
    assert await bench.reserved() == 1


class LosesAnswers(Redis):
    """Does what it is asked, and the next answer to a script is lost on the way."""

    loses = False

    async def execute_command(self, *args: object, **options: object) -> object:
        answer = await super().execute_command(*args, **options)  # type: ignore[no-untyped-call]  # of redis-py
        if self.loses and args[0] == "EVALSHA":
            type(self).loses = False
            raise RedisConnectionError("lost on the way")
        return answer


@pytest.mark.parametrize("times", [1, 5])
async def test_what_it_took_without_hearing_of_it_comes_first_and_uses_no_try(
    bench: Bench, clock: Clock, times: int
) -> None:
    redis = LosesAnswers.from_url(bench.redis_url)
    queue = ReservingQueue(
        redis, prefix=bench.prefix, queue="default", retry_after_s=RETRY_AFTER_S, clock=clock
    )
    store = FakeMetricStore()
    worker = make_worker(queue, store)
    await worker.turn()
    await bench.push(metric("d-1", 1.0), attempts=4, maxTries=5)
    for _ in range(times):
        LosesAnswers.loses = True
        with pytest.raises(Outage):
            await queue.reserve(max_jobs=100, max_bytes=1_000_000)
        assert await Predecessors(queue).settle() == 1
    LosesAnswers.loses = True
    with pytest.raises(Outage):
        await queue.reserve(max_jobs=100, max_bytes=1_000_000)
    await bench.push(metric("d-1", 2.0))
    async with running(worker):
        await eventually(lambda: len(store.jobs) == 2)
    assert [value_of(store, number) for number in range(2)] == [1.0, 2.0]
    assert await bench.is_empty()
    assert await bench.holds_nothing()
    await redis.aclose()


@pytest.mark.parametrize("turns", [1, 2, 3])
@pytest.mark.parametrize("noticed", [True, False])
async def test_what_redis_has_forgotten_that_it_was_done_is_done_again_in_its_order(
    bench: Bench, queues: Queues, *, noticed: bool, turns: int
) -> None:
    """Redis comes back as it was when the first job was held: the second one is in the list again.

    Also where no command of the worker's met the outage. By then it has done the first job, both, or is idle.
    """
    store = FakeMetricStore()
    write, saved = store.write, Saved(bench)

    async def write_and_save(jobs: Sequence[Job]) -> int:
        if not store.jobs:
            await bench.push(metric("d-1", 2.0))
            await saved.save()
        return await write(jobs)

    store.write = write_and_save  # type: ignore[method-assign]  # of this test's alone
    await bench.push(metric("d-1", 1.0))
    worker = make_worker(queues(), store)
    for _ in range(turns):
        await worker.turn()
    done = len(store.jobs)
    await saved.come_back()
    if noticed:
        await bench.redis.client_kill_filter(_type="normal", skipme=True)
    async with running(worker):
        await eventually(lambda: len(store.jobs) == done + 2)
        await eventually(bench.is_empty)
    assert [value_of(store, number) for number in range(done + 2)] == [*[1.0, 2.0][:done], 1.0, 2.0]
    assert await bench.holds_nothing()


async def put_back_unchanged(bench: Bench) -> int:
    """Return how many wait, none of which has used a try or is suspected."""
    waiting = [json.loads(payload) for payload in await bench.waiting()]
    assert all(payload["attempts"] == 0 and "metricStreamsSuspect" not in payload for payload in waiting)
    return len(waiting)


async def test_what_a_worker_did_not_hear_of_is_not_taken_for_a_dead_ones_by_another_that_looks_first(
    bench: Bench, queues: Queues
) -> None:
    """The outage has met both; in one process one looks after the other."""
    caution, process = Caution(), process_id()
    deaf = queues(process=process, client=LosesAnswers)
    assert await deaf.reserve(max_jobs=1, max_bytes=1) == []  # the script is loaded
    await bench.push(metric("d-1"))
    LosesAnswers.loses = True
    with pytest.raises(Outage):
        await deaf.reserve(max_jobs=1, max_bytes=1)
    looking = asyncio.create_task(Predecessors(queues(process=process), caution).settle())
    await eventually(caution.alone.locked)
    assert await Predecessors(deaf, caution).settle() == 1
    assert await looking == 0
    assert await put_back_unchanged(bench) == 1


async def test_nor_is_what_redis_has_forgotten_that_a_living_one_had_done(
    bench: Bench, queues: Queues, clock: Clock
) -> None:
    living, saved, done = [queues(), queues()], Saved(bench), []
    for queue in living:
        await bench.push(metric("d-1"))
        done += [(queue, job) for job in await queue.reserve(max_jobs=1, max_bytes=1)]
        clock.now_s += 0.001
    await saved.save()
    for queue, job in done:
        assert await queue.delete(job)
    await saved.come_back()
    assert sum(await asyncio.gather(*(Predecessors(queue).settle() for queue in living))) == 2
    assert await put_back_unchanged(bench) == 2


async def test_who_stood_still_and_was_taken_for_dead_gives_up_nothing_that_another_has_run(
    bench: Bench, queues: Queues, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("streams.ingest.reservations.BEAT_EVERY_S", 60.0)
    await bench.push(metric("d-1"))
    living = FakeMetricStore()

    class StandsStill(FakeMetricStore):
        async def write(self, jobs: Sequence[Job]) -> int:  # noqa: ARG002 - of a store
            await until_empty(make_worker(queues(), living, until=Until.EMPTY))
            raise RowsRefused("there is no such tenant", for_good=True)

    store = StandsStill()
    with pytest.raises(Outage):
        await make_worker(queues(), store).turn()
    assert (len(living.jobs), store.failed) == (1, {})
