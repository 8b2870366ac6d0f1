"""Our end of the queue and Laravel's take, release and settle each other's jobs."""

import json
from math import ceil

from redis.asyncio import Redis

from tests.contract.bench import NOW, RETRY_AFTER_S, metric
from tests.contract.conftest import MakeQueue
from tests.contract.laravel import TENANT, Laravel


async def state(redis: Redis, prefix: str) -> dict[str, object]:
    name = f"{prefix}queues:default"
    return {
        "list": await redis.lrange(name, 0, -1),
        "delayed": await due(redis, f"{name}:delayed"),
        "reserved": await due(redis, f"{name}:reserved"),
        "notify": await redis.lrange(f"{name}:notify", 0, -1),
    }


def our_mark(prefix: str) -> bytes:
    """Name what an ingest leaves that dies; the next one takes it away, and Laravel never looks at it."""
    return f"{prefix}queues:default:held".encode()


async def due(redis: Redis, name: str) -> dict[bytes, int]:
    """Return for each job of a sorted set the second from which on a worker takes it."""
    return {job: ceil(score) for job, score in await redis.zrange(name, 0, -1, withscores=True)}


async def test_reserving_two_jobs_leaves_redis_as_two_pops_of_laravel_do(
    laravel: Laravel, redis: Redis, prefix: str, make_queue: MakeQueue
) -> None:
    laravel.migrate(TENANT)
    for value in (1, 2.5, 3):
        laravel.dispatch(TENANT, [metric("d-1", value)])
    name = f"{prefix}queues:default"
    pushed, notices = await redis.lrange(name, 0, -1), await redis.lrange(f"{name}:notify", 0, -1)
    laravel.reserve(now=NOW)
    laravel.reserve(now=NOW)
    theirs = await state(redis, prefix)

    await redis.flushdb()
    await redis.rpush(name, *pushed)
    await redis.rpush(f"{name}:notify", *notices)
    await make_queue(clock=lambda: NOW).reserve(max_jobs=2, max_bytes=1_000_000)
    assert await state(redis, prefix) == theirs


async def test_a_job_that_a_dying_laravel_worker_held_comes_to_us(
    laravel: Laravel, make_queue: MakeQueue
) -> None:
    laravel.migrate(TENANT)
    laravel.dispatch(TENANT, [metric("d-1")])
    laravel.reserve(now=NOW)
    assert await make_queue(clock=lambda: NOW + RETRY_AFTER_S - 1).reserve(max_jobs=1, max_bytes=1) == []
    [job] = await make_queue(clock=lambda: NOW + RETRY_AFTER_S).reserve(max_jobs=1, max_bytes=1)
    assert json.loads(job.payload)["attempts"] == 1
    assert json.loads(job.reserved)["attempts"] == 2


async def test_a_job_that_we_held_and_one_that_we_released_come_to_laravel(
    laravel: Laravel, redis: Redis, prefix: str, make_queue: MakeQueue
) -> None:
    laravel.migrate(TENANT)
    laravel.dispatch(TENANT, [metric("held")])
    laravel.dispatch(TENANT, [metric("released")])
    queue = make_queue(clock=lambda: NOW)
    _, released = await queue.reserve(max_jobs=2, max_bytes=1_000_000)
    assert await queue.release(released, 10)
    laravel.work(2, now=NOW + 9)
    assert laravel.tables().rows == []
    laravel.work(2, now=NOW + 10)
    assert [row["dedupe_id"] for row in laravel.tables().rows] == ["released"]
    laravel.work(2, now=NOW + RETRY_AFTER_S)
    assert [row["dedupe_id"] for row in laravel.tables().rows] == ["released", "held"]
    assert await redis.keys(f"{prefix}*") == [our_mark(prefix)]


async def test_what_a_killed_worker_of_ours_held_laravel_runs_in_the_order_of_the_queue(
    laravel: Laravel, redis: Redis, prefix: str, make_queue: MakeQueue
) -> None:
    laravel.migrate(TENANT)
    for value in range(8):
        laravel.dispatch(TENANT, [metric("d-1", value)])
    await make_queue(clock=lambda: NOW + 0.5).reserve(max_jobs=8, max_bytes=1_000_000)
    laravel.work(9, now=NOW + RETRY_AFTER_S)
    assert [row["value"] for row in laravel.tables().rows] == ["7"]
    assert await redis.keys(f"{prefix}*") == [our_mark(prefix)]


async def test_what_we_put_back_laravel_runs_as_if_nobody_had_touched_it(
    laravel: Laravel, redis: Redis, prefix: str, make_queue: MakeQueue
) -> None:
    laravel.migrate(TENANT)
    laravel.dispatch(TENANT, [metric("d-1")])
    before = await state(redis, prefix)
    queue = make_queue()
    await queue.put_back(await queue.reserve(max_jobs=5, max_bytes=1_000_000))
    assert await state(redis, prefix) == before
    laravel.work()
    assert len(laravel.tables().rows) == 1
