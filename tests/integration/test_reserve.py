"""Our end of the job queue on a real Redis; tests/contract holds it against Laravel's own."""

import asyncio
import json
from collections.abc import AsyncIterator
from math import ceil

import pytest
from redis.asyncio import Redis

from streams.errors import Outage
from streams.laravel.redis_client import connect
from streams.laravel.reserve import Broadcast, ReservedJob, ReservingQueue
from tests.parts.eventually import eventually
from tests.parts.redis import Redis as RedisServer

LIST, DELAYED, RESERVED, NOTIFY = (
    f"p_queues:default{kind}" for kind in ("", ":delayed", ":reserved", ":notify")
)
PLENTY = 1_000_000


class Clock:
    def __init__(self) -> None:
        self.now_s = 1_800_000_000.9

    def __call__(self) -> float:
        return self.now_s


@pytest.fixture
async def redis(redis_url: str) -> AsyncIterator[Redis]:
    client = connect(redis_url)
    yield client
    await client.aclose()


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def queue(redis: Redis, clock: Clock) -> ReservingQueue:
    return ReservingQueue(redis, prefix="p_", queue="default", retry_after_s=90, clock=clock)


def payload(name: str, attempts: int = 0) -> bytes:
    return json.dumps({"uuid": name, "attempts": attempts}).encode()


async def push(redis: Redis, *payloads: bytes) -> None:
    for one in payloads:
        await redis.rpush(LIST, one)
        await redis.rpush(NOTIFY, 1)


async def due(redis: Redis, key: str) -> list[tuple[bytes, int]]:
    """Return the jobs of a sorted set, each with the second from which on a worker takes it."""
    return [(job, ceil(score)) for job, score in await redis.zrange(key, 0, -1, withscores=True)]


async def state(redis: Redis) -> dict[str, object]:
    return {
        "list": await redis.lrange(LIST, 0, -1),
        "delayed": await due(redis, DELAYED),
        "reserved": await due(redis, RESERVED),
        "notify": await redis.llen(NOTIFY),
    }


async def reserve(queue: ReservingQueue, max_jobs: int = 10) -> list[ReservedJob]:
    return await queue.reserve(max_jobs=max_jobs, max_bytes=PLENTY)


async def test_jobs_come_in_order_with_their_attempt_counted(redis: Redis, queue: ReservingQueue) -> None:
    await push(redis, payload("a"), payload("b", 2), payload("c"))
    taken = await reserve(queue, 2)
    assert [job.payload for job in taken] == [payload("a"), payload("b", 2)]
    assert [json.loads(job.reserved)["attempts"] for job in taken] == [1, 3]
    assert await state(redis) == {
        "list": [payload("c")],
        "delayed": [],
        "reserved": [(job.reserved, 1_800_000_090) for job in taken],
        "notify": 1,
    }


async def test_an_empty_queue_gives_nothing(redis: Redis, queue: ReservingQueue) -> None:
    assert await reserve(queue) == []
    assert await redis.keys() == []


async def test_a_turn_is_bounded_in_bytes_but_a_single_job_never_too_large(
    redis: Redis, queue: ReservingQueue
) -> None:
    await push(redis, payload("a" * 100), payload("b" * 100), payload("c" * 100))
    assert len(await queue.reserve(max_jobs=10, max_bytes=10)) == 1
    assert len(await queue.reserve(max_jobs=10, max_bytes=1_000)) == 2


async def test_delayed_and_expired_jobs_come_back_when_they_are_due(
    redis: Redis, queue: ReservingQueue, clock: Clock
) -> None:
    await push(redis, payload("a"), payload("b"))
    first, second = await reserve(queue)
    assert await queue.release(first, 10)
    clock.now_s += 9
    assert await reserve(queue) == []
    clock.now_s += 1
    [again] = await reserve(queue)
    assert again.payload == first.reserved
    clock.now_s += 79
    assert await reserve(queue) == []
    clock.now_s += 1
    assert [job.payload for job in await reserve(queue)] == [second.reserved]


async def test_what_a_killed_worker_held_comes_back_in_the_order_of_the_queue(
    redis: Redis, queue: ReservingQueue, clock: Clock
) -> None:
    names = [f"{number * 7919 % 1009:04}" for number in range(1_000)]
    await push(redis, *map(payload, names))
    await reserve(queue, 600)
    clock.now_s += 0.05  # later in the same second
    await reserve(queue, 400)
    clock.now_s += 90
    again = await reserve(queue, 1_000)
    assert [json.loads(job.payload)["uuid"] for job in again] == names


async def test_what_was_released_in_one_second_comes_back_in_the_order_of_its_release(
    redis: Redis, queue: ReservingQueue, clock: Clock
) -> None:
    names = ["c", "a", "d", "b"]
    await push(redis, *map(payload, names))
    for job in await reserve(queue):
        assert await queue.release(job, 10)
        clock.now_s += 0.001
    clock.now_s += 10
    again = await reserve(queue)
    assert [json.loads(job.payload)["uuid"] for job in again] == names


async def test_hundreds_of_expired_jobs_come_back_at_once(
    redis: Redis, queue: ReservingQueue, clock: Clock
) -> None:
    await push(redis, *(payload(f"{number:03}") for number in range(250)))
    assert len(await reserve(queue, 1_000)) == 250
    clock.now_s += 90
    assert len(await reserve(queue, 1_000)) == 250
    assert (await state(redis))["notify"] == 0


@pytest.mark.parametrize(
    "rubbish",
    [b"", b"rubbish", b"\xff\x00", b"5", b'"text"', b"[]", b"{}", b'{"attempts":null}', b"[" * 2_000],
)
async def test_what_a_pop_would_destroy_is_reserved_as_it_is(
    redis: Redis, queue: ReservingQueue, rubbish: bytes
) -> None:
    await push(redis, rubbish, payload("next"))
    bad, good = await reserve(queue)
    assert (bad.payload, bad.reserved) == (rubbish, rubbish)
    assert good.payload == payload("next")
    assert await queue.delete(bad)
    assert await redis.zrange(RESERVED, 0, -1) == [good.reserved]


async def test_a_release_that_does_not_count_leaves_the_job_as_it_was(
    redis: Redis, queue: ReservingQueue, clock: Clock
) -> None:
    await push(redis, payload("a"))
    [job] = await reserve(queue)
    assert await queue.release(job, 10, counted=False)
    assert await reserve(queue) == []
    clock.now_s += 10
    assert [again.payload for again in await reserve(queue)] == [payload("a")]


async def test_putting_back_undoes_a_reservation(redis: Redis, queue: ReservingQueue) -> None:
    await push(redis, *(payload(name) for name in "abcd"))
    before = await state(redis)
    taken = await reserve(queue, 3)
    assert await queue.put_back(taken) == 3
    assert await state(redis) == before


async def test_completing_deletes_and_publishes_in_order(redis: Redis, queue: ReservingQueue) -> None:
    await push(redis, payload("a"), payload("b"))
    taken = await reserve(queue)
    async with redis.pubsub() as pubsub:
        await pubsub.subscribe("p_one", "p_two")
        done = [
            (taken[0], Broadcast("one", b"first")),
            (taken[1], Broadcast("two", b"\xffsecond")),
        ]
        assert await queue.complete(done) == [True, True]
        heard = []
        while len(heard) < 2:
            message = await pubsub.get_message(ignore_subscribe_messages=True, timeout=5)
            if message is not None:
                heard.append((message["channel"], message["data"]))
    assert heard == [(b"p_one", b"first"), (b"p_two", b"\xffsecond")]
    assert (await state(redis))["reserved"] == []


async def test_a_job_that_another_worker_has_taken_is_left_to_it(
    redis: Redis, queue: ReservingQueue, clock: Clock
) -> None:
    await push(redis, payload("a"))
    [ours] = await reserve(queue)
    clock.now_s += 90
    [theirs] = await reserve(queue)
    before = await state(redis)
    async with redis.pubsub() as pubsub:
        await pubsub.subscribe("p_one")
        assert await queue.complete([(ours, Broadcast("one", b"ours"))]) == [False]
        assert not await queue.release(ours, 10)
        assert not await queue.delete(ours)
        assert await queue.put_back([ours]) == 0
        assert await state(redis) == before
        assert await queue.complete([(theirs, Broadcast("one", b"theirs"))]) == [True]
        message = None
        while message is None:
            message = await pubsub.get_message(ignore_subscribe_messages=True, timeout=5)
        assert message["data"] == b"theirs"


async def test_waiting_ends_when_a_job_comes_and_leaves_one_notice_for_each_job_that_is_left(
    redis: Redis, queue: ReservingQueue
) -> None:
    waiting = asyncio.create_task(queue.wait(60))

    async def blocked() -> bool:
        return any("blpop" in client["cmd"] for client in await redis.client_list())

    await eventually(blocked)
    await push(redis, payload("a"), payload("b"))
    await asyncio.wait_for(waiting, 30)
    assert len(await reserve(queue, 1)) == 1
    assert (await state(redis))["notify"] == 1


async def test_waiting_ends_by_itself(queue: ReservingQueue) -> None:
    await asyncio.wait_for(queue.wait(0.05), 5)


async def test_a_redis_that_is_away_or_refuses_is_an_outage(
    redis: Redis, queue: ReservingQueue, redis_server: RedisServer
) -> None:
    await redis.set(LIST, "not a list")
    with pytest.raises(Outage, match="WRONGTYPE"):
        await reserve(queue)
    await asyncio.to_thread(redis_server.stop)
    with pytest.raises(Outage, match="redis"):
        await reserve(queue)
    await asyncio.to_thread(redis_server.start)
    await redis.delete(LIST)
    await push(redis, payload("a"))
    assert len(await reserve(queue)) == 1
