"""The fenced hand-off: one contract for the Lua script on a real Redis and for the fake beside it."""

from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass
from typing import Any

import pytest
from redis.asyncio import Redis

from streams.errors import Outage
from streams.queue.fake import FakeJobQueue, FakeRedis
from streams.queue.handoff import ChunkOfJobs, Fence, JobQueue, Push, RedisJobQueue, connect
from tests.parts.redis import Redis as RedisServer

MAX_JOBS = 4
PREFIX = "laravel_database_"
QUEUE = f"{PREFIX}queues:default"
FENCE = f"{PREFIX}metric-streams:metrics:fence"


@dataclass
class Subject:
    """A queue, a second worker's view of it, and how a test looks behind it."""

    queue: JobQueue
    other: JobQueue
    jobs: Callable[[], Awaitable[list[bytes]]]
    set_fence: Callable[[int, Fence | None], Awaitable[None]]


def _real_queue(client: Redis) -> RedisJobQueue:
    return RedisJobQueue(client, prefix=PREFIX, queue="default", topics="metrics", max_jobs=MAX_JOBS)


@pytest.fixture(params=["fake", "redis"])
async def subject(request: pytest.FixtureRequest) -> AsyncIterator[Subject]:
    if request.param == "fake":
        yield _fake_subject()
        return
    client = connect(request.getfixturevalue("redis_url"))

    async def jobs() -> list[bytes]:
        answer: Any = client.lrange(QUEUE, 0, -1)
        return list(await answer)

    async def set_fence(partition: int, fence: Fence | None) -> None:
        change: Any = (
            client.hset(FENCE, str(partition), str(fence)) if fence else client.hdel(FENCE, str(partition))
        )
        await change

    yield Subject(_real_queue(client), _real_queue(client), jobs, set_fence)
    await client.aclose()


def _fake_subject() -> Subject:
    redis = FakeRedis()
    queue, other = FakeJobQueue(MAX_JOBS, redis), FakeJobQueue(MAX_JOBS, redis)

    async def jobs() -> list[bytes]:
        return redis.jobs

    async def set_fence(partition: int, fence: Fence | None) -> None:
        if fence:
            redis.fences[str(partition)] = str(fence)
        else:
            redis.fences.pop(str(partition), None)

    return Subject(queue, other, jobs, set_fence)


async def test_jobs_and_fence_are_written_together(subject: Subject) -> None:
    assert await subject.queue.fence(3) is None
    assert await subject.queue.push(3, [ChunkOfJobs(Fence(1, 10, 7), [b"a", b"b"])]) == [Push.PUSHED]
    assert await subject.jobs() == [b"a", b"b"]
    assert await subject.other.fence(3) == Fence(1, 10, 7)


async def test_a_chunk_that_comes_again_at_a_new_offset_pushes_nothing_and_moves_the_position(
    subject: Subject,
) -> None:
    await subject.queue.fence(3)
    await subject.queue.push(3, [ChunkOfJobs(Fence(1, 10, 7), [b"a"])])
    assert await subject.queue.push(3, [ChunkOfJobs(Fence(1, 10, 8), [b"a"])]) == [Push.REPLAY]
    assert await subject.jobs() == [b"a"]
    assert await subject.other.fence(3) == Fence(1, 10, 8)


async def test_a_zombie_with_an_old_view_of_the_fence_does_nothing(subject: Subject) -> None:
    await subject.queue.fence(3)
    await subject.other.fence(3)
    await subject.other.push(3, [ChunkOfJobs(Fence(1, 10, 7), [b"a"])])
    assert await subject.queue.push(3, [ChunkOfJobs(Fence(1, 11, 8), [b"b"])]) == [Push.MOVED]
    assert await subject.jobs() == [b"a"]


async def test_a_fence_that_went_back_stops_the_push(subject: Subject) -> None:
    await subject.queue.fence(3)
    await subject.queue.push(3, [ChunkOfJobs(Fence(1, 10, 7), [b"a"])])
    await subject.queue.push(3, [ChunkOfJobs(Fence(1, 11, 8), [b"b"])])
    await subject.set_fence(3, Fence(1, 10, 7))
    assert await subject.queue.push(3, [ChunkOfJobs(Fence(1, 12, 9), [b"c"])]) == [Push.MOVED]
    assert await subject.queue.fence(3) == Fence(1, 10, 7)
    assert await subject.queue.push(3, [ChunkOfJobs(Fence(1, 11, 8), [b"b"])]) == [Push.PUSHED]


async def test_a_fence_that_is_gone_stops_the_push_until_it_was_read(subject: Subject) -> None:
    await subject.queue.fence(3)
    await subject.queue.push(3, [ChunkOfJobs(Fence(1, 10, 7), [b"a"])])
    await subject.set_fence(3, None)
    assert await subject.queue.push(3, [ChunkOfJobs(Fence(1, 11, 8), [b"b"])]) == [Push.MOVED]
    assert await subject.queue.fence(3) is None
    assert await subject.queue.push(3, [ChunkOfJobs(Fence(1, 11, 8), [b"b"])]) == [Push.PUSHED]


async def test_a_new_epoch_is_not_held_back_by_the_offsets_of_the_old_one(subject: Subject) -> None:
    await subject.queue.fence(3)
    await subject.queue.push(3, [ChunkOfJobs(Fence(1_795_442_400_123, 1_000, 7), [b"a"])])
    assert await subject.queue.push(3, [ChunkOfJobs(Fence(1_795_442_500_000, 0, 8), [b"b"])]) == [Push.PUSHED]
    assert await subject.queue.push(3, [ChunkOfJobs(Fence(1_795_442_400_123, 1_001, 9), [b"c"])]) == [
        Push.REPLAY
    ]
    assert await subject.other.fence(3) == Fence(1_795_442_500_000, 0, 9)


async def test_successive_chunks_are_pushed_in_order_but_for_those_that_were_before(subject: Subject) -> None:
    await subject.queue.fence(3)
    await subject.queue.push(3, [ChunkOfJobs(Fence(1, 10, 7), [b"a"])])
    chunks = [
        ChunkOfJobs(Fence(1, 10, 8), [b"a"]),
        ChunkOfJobs(Fence(1, 11, 9), [b"b", b"c"]),
        ChunkOfJobs(Fence(1, 11, 10), [b"b", b"c"]),
        ChunkOfJobs(Fence(1, 14, 11), []),
        ChunkOfJobs(Fence(2, 0, 12), [b"d", b"e", b"f"]),
        ChunkOfJobs(Fence(1, 15, 13), [b"g"]),
    ]
    assert await subject.queue.push(3, chunks) == [
        Push.REPLAY,
        Push.PUSHED,
        Push.REPLAY,
        Push.PUSHED,
        Push.PUSHED,
        Push.REPLAY,
    ]
    assert await subject.jobs() == [b"a", b"b", b"c", b"d", b"e", b"f"]
    assert await subject.other.fence(3) == Fence(2, 0, 13)


async def test_of_chunks_that_meet_another_fence_none_is_pushed(subject: Subject) -> None:
    await subject.queue.fence(3)
    await subject.set_fence(3, Fence(1, 10, 7))
    chunks = [ChunkOfJobs(Fence(1, number, number), [b"a"]) for number in (11, 12)]
    assert await subject.queue.push(3, chunks) == [Push.MOVED, Push.MOVED]
    assert await subject.jobs() == []


async def test_a_full_queue_takes_nothing_and_keeps_the_fence(subject: Subject) -> None:
    await subject.queue.fence(3)
    await subject.queue.push(3, [ChunkOfJobs(Fence(1, 10, 7), [b"a", b"b", b"c", b"d"])])
    assert await subject.queue.push(3, [ChunkOfJobs(Fence(1, 11, 8), [b"e"])]) == [Push.FULL]
    assert await subject.other.fence(3) == Fence(1, 10, 7)
    assert len(await subject.jobs()) == MAX_JOBS


async def test_our_own_script_whose_answer_was_lost_counts_as_pushed(redis_url: str) -> None:
    async with connect(redis_url) as client:
        queue, twin = _real_queue(client), _real_queue(client)
        await queue.fence(3)
        await twin.fence(3)
        await twin.push(
            3, [ChunkOfJobs(Fence(1, 10, 7), [b"a"])]
        )  # what this worker sent before the connection broke
        assert await queue.push(3, [ChunkOfJobs(Fence(1, 10, 7), [b"a"])]) == [Push.PUSHED]
        chunks = [ChunkOfJobs(Fence(1, 11, 8), [b"b"]), ChunkOfJobs(Fence(1, 12, 9), [b"c"])]
        await twin.push(3, chunks)
        assert await queue.push(3, chunks) == [Push.PUSHED, Push.PUSHED]
        answer: Any = client.lrange(QUEUE, 0, -1)
        assert await answer == [b"a", b"b", b"c"]


async def test_each_job_is_announced_to_blocking_workers(redis_url: str) -> None:
    async with connect(redis_url) as client:
        queue = _real_queue(client)
        await queue.fence(0)
        await queue.push(0, [ChunkOfJobs(Fence(1, 0, 0), [b"a", b"b"])])
        answer: Any = client.llen(f"{QUEUE}:notify")
        assert await answer == len([b"a", b"b"])


async def test_a_redis_that_does_not_answer_is_an_outage(redis_server: RedisServer) -> None:
    async with connect(redis_server.new_database_url()) as client:
        queue = _real_queue(client)
        redis_server.kill()
        with pytest.raises(Outage, match="redis"):
            await queue.fence(0)
        with pytest.raises(Outage, match="redis"):
            await queue.push(0, [ChunkOfJobs(Fence(1, 0, 0), [b"a"])])
