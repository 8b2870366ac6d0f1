"""The fenced hand-off: one contract for the Lua script on a real Redis and for the fake beside it."""

from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from dataclasses import dataclass
from typing import Any

import pytest
from redis.asyncio import Redis

from streams.errors import NewerFormat, Outage, StartupRefused
from streams.laravel.fence import MARK_EVERY, Fence, FenceMark, FenceState
from streams.laravel.push import ChunkOfJobs, Push, RedisJobQueue
from streams.laravel.redis_client import connect
from streams.laravel.testing import FakeJobQueue, FakeRedis
from tests.parts.redis import Redis as RedisServer

MAX_JOBS = 4
PREFIX = "laravel_database_"
QUEUE = f"{PREFIX}queues:default"
FENCE = f"{PREFIX}metric-streams:metrics:fence"
OWNER = "metric-streams"
DIGEST, OTHER = b"8 bytes.", b"another."


@dataclass
class Subject:
    """Workers' views of one queue, and how a test looks behind it."""

    worker: Callable[[str], RedisJobQueue]
    """Returns another worker's view, of a consumer group."""
    jobs: Callable[[], Awaitable[list[bytes]]]
    fields: Callable[[], Awaitable[dict[str, str]]]
    """Return the hash of the fences."""
    set_fields: Callable[[Mapping[str, str | None]], Awaitable[None]]
    """Change fields of that hash; None removes one."""

    def __post_init__(self) -> None:
        self.queue, self.other = self.worker(OWNER), self.worker(OWNER)


def _real_queue(client: Redis, owner: str = OWNER) -> RedisJobQueue:
    return RedisJobQueue(
        client, prefix=PREFIX, queue="default", topics="metrics", owner=owner, max_jobs=MAX_JOBS
    )


@pytest.fixture(params=["fake", "redis"])
async def subject(request: pytest.FixtureRequest) -> AsyncIterator[Subject]:
    if request.param == "fake":
        yield _fake_subject()
        return
    client = connect(request.getfixturevalue("redis_url"))

    async def jobs() -> list[bytes]:
        answer: Any = client.lrange(QUEUE, 0, -1)
        return list(await answer)

    async def fields() -> dict[str, str]:
        answer: Any = client.hgetall(FENCE)
        return {name.decode(): text.decode() for name, text in (await answer).items()}

    async def set_fields(changes: Mapping[str, str | None]) -> None:
        for name, text in changes.items():
            change: Any = client.hdel(FENCE, name) if text is None else client.hset(FENCE, name, text)
            await change

    yield Subject(lambda owner: _real_queue(client, owner), jobs, fields, set_fields)
    await client.aclose()


def _fake_subject() -> Subject:
    redis = FakeRedis()

    async def jobs() -> list[bytes]:
        return redis.jobs

    async def fields() -> dict[str, str]:
        return dict(redis.fences)

    async def set_fields(changes: Mapping[str, str | None]) -> None:
        for name, text in changes.items():
            if text is None:
                redis.fences.pop(name, None)
            else:
                redis.fences[name] = text

    return Subject(lambda owner: FakeJobQueue(MAX_JOBS, redis, owner), jobs, fields, set_fields)


def chunk(number: int, *jobs: bytes, epoch: int = 1, digest: bytes = DIGEST) -> ChunkOfJobs:
    return ChunkOfJobs(Fence(epoch, number, number, digest), jobs)


def replay(of: int, at: int) -> ChunkOfJobs:
    return ChunkOfJobs(Fence(1, of, at, DIGEST), [], is_replay=True)


async def test_jobs_fence_proof_and_owner_are_written_together(subject: Subject) -> None:
    assert await subject.queue.standing(3) == FenceState()
    assert await subject.queue.push(3, [chunk(10, b"a", b"b")]) is Push.PUSHED
    assert await subject.jobs() == [b"a", b"b"]
    assert await subject.fields() == {
        "3": "1:10:10",
        "3:proof": f"1;1;10;{DIGEST.hex()}",
        "owner": OWNER,
    }
    assert await subject.other.standing(3) == FenceState(Fence(1, 10, 10, DIGEST), push=1)


async def test_a_worker_that_has_read_nothing_pushes_where_there_is_no_fence(subject: Subject) -> None:
    assert await subject.queue.push(3, [chunk(10, b"a")]) is Push.PUSHED
    assert await subject.other.push(3, [chunk(11, b"b")]) is Push.MOVED


async def test_a_replay_pushes_nothing_and_moves_the_fence(subject: Subject) -> None:
    await subject.queue.push(3, [chunk(10, b"a")])
    assert await subject.queue.push(3, [replay(10, at=11)]) is Push.PUSHED
    assert await subject.jobs() == [b"a"]
    standing = await subject.other.standing(3)
    assert standing.fence == Fence(1, 10, 11, DIGEST)


async def test_the_fence_goes_where_it_is_told_also_back(subject: Subject) -> None:
    """Which chunk is a replay, the log tells, and no number in Redis."""
    await subject.queue.push(3, [chunk(1_000, b"a", epoch=2)])
    assert await subject.queue.push(3, [chunk(5, b"b", epoch=1)]) is Push.PUSHED
    assert await subject.jobs() == [b"a", b"b"]
    assert (await subject.other.standing(3)).fence == Fence(1, 5, 5, DIGEST)


async def test_a_zombie_with_an_old_view_of_the_fence_does_nothing(subject: Subject) -> None:
    await subject.queue.standing(3)
    await subject.other.push(3, [chunk(10, b"a")])
    assert await subject.queue.push(3, [chunk(11, b"b")]) is Push.MOVED
    assert await subject.jobs() == [b"a"]
    assert (await subject.fields())["3"] == "1:10:10"


async def test_a_zombie_is_known_by_the_proof_alone(subject: Subject) -> None:
    """The numbers may be the same where Kafka was set back in between."""
    await subject.queue.push(3, [chunk(10, b"a")])
    await subject.other.standing(3)
    await subject.other.push(3, [chunk(10, b"b", digest=OTHER)])
    assert await subject.queue.push(3, [chunk(11, b"c")]) is Push.MOVED
    assert await subject.jobs() == [b"a", b"b"]


async def test_a_fence_that_went_back_stops_the_push_until_it_was_read(subject: Subject) -> None:
    await subject.queue.push(3, [chunk(10, b"a")])
    before = await subject.fields()
    await subject.queue.push(3, [chunk(11, b"b")])
    await subject.set_fields(before)
    assert await subject.queue.push(3, [chunk(12, b"c")]) is Push.MOVED
    assert (await subject.queue.standing(3)).fence == Fence(1, 10, 10, DIGEST)
    assert await subject.queue.push(3, [chunk(11, b"b")]) is Push.PUSHED
    assert await subject.jobs() == [b"a", b"b", b"b"]


async def test_a_fence_that_is_gone_stops_the_push_until_it_was_read(subject: Subject) -> None:
    await subject.queue.push(3, [chunk(10, b"a")])
    await subject.set_fields({"3": None, "3:proof": None, "owner": None})
    assert await subject.queue.push(3, [chunk(11, b"b")]) is Push.MOVED
    assert await subject.queue.standing(3) == FenceState()
    assert await subject.queue.push(3, [chunk(11, b"b")]) is Push.PUSHED


async def test_what_an_older_version_pushes_in_between_stops_the_push_until_it_was_read(
    subject: Subject,
) -> None:
    await subject.queue.push(3, [chunk(10, b"a")])
    await subject.set_fields({"3": "1:11:11"})  # it knows of no proof
    assert await subject.queue.push(3, [chunk(11, b"b")]) is Push.MOVED
    assert (await subject.queue.standing(3)).fence == Fence(1, 11, 11)
    assert await subject.queue.push(3, [chunk(12, b"c")]) is Push.PUSHED
    assert (await subject.other.standing(3)).fence == Fence(1, 12, 12, DIGEST)


async def test_an_unmoved_fence_is_told_from_one_that_moved(subject: Subject) -> None:
    assert await subject.queue.is_unmoved(3)
    await subject.queue.standing(3)
    assert await subject.queue.is_unmoved(3)
    await subject.queue.push(3, [chunk(10, b"a")])
    assert await subject.queue.is_unmoved(3)
    before = await subject.fields()
    await subject.queue.push(3, [chunk(10, digest=OTHER)])
    assert await subject.queue.is_unmoved(3)
    await subject.set_fields(before)
    assert not await subject.queue.is_unmoved(3)
    assert not await subject.queue.is_unmoved(3)
    await subject.queue.standing(3)
    assert await subject.queue.is_unmoved(3)


async def test_successive_chunks_are_pushed_in_order_and_the_fence_stands_behind_the_last(
    subject: Subject,
) -> None:
    chunks = [replay(9, at=10), chunk(11, b"a", b"b"), chunk(12), chunk(13, b"c", epoch=2)]
    assert await subject.queue.push(3, chunks) is Push.PUSHED
    assert await subject.jobs() == [b"a", b"b", b"c"]
    assert await subject.other.standing(3) == FenceState(Fence(2, 13, 13, DIGEST), push=1)


async def test_of_chunks_that_meet_another_fence_none_is_pushed(subject: Subject) -> None:
    await subject.queue.standing(3)
    await subject.set_fields({"3": "1:10:7"})
    assert await subject.queue.push(3, [chunk(11, b"a"), chunk(12, b"a")]) is Push.MOVED
    assert await subject.jobs() == []


async def test_a_full_queue_takes_nothing_and_keeps_the_fence(subject: Subject) -> None:
    await subject.queue.push(3, [chunk(10, b"a", b"b", b"c", b"d")])
    assert await subject.queue.push(3, [chunk(11, b"e")]) is Push.FULL
    assert (await subject.other.standing(3)).fence == Fence(1, 10, 10, DIGEST)
    assert len(await subject.jobs()) == MAX_JOBS
    assert await subject.queue.push(3, [chunk(11), replay(11, at=12)]) is Push.PUSHED  # there is no job


async def test_partitions_do_not_share_their_fences(subject: Subject) -> None:
    await subject.queue.push(3, [chunk(10, b"a")])
    assert await subject.other.push(4, [chunk(1, b"b")]) is Push.PUSHED
    assert (await subject.other.standing(3)).fence == Fence(1, 10, 10, DIGEST)


async def test_marks_of_earlier_pushes_are_kept_beside_the_fence(subject: Subject) -> None:
    for number in range(3 * MARK_EVERY):
        await subject.queue.push(3, [chunk(number)])
    standing = await subject.other.standing(3)
    assert standing.push == 3 * MARK_EVERY
    assert standing.locator[0] == FenceMark(
        standing.push - 1, 1, 3 * MARK_EVERY - 2, 3 * MARK_EVERY - 2, DIGEST
    )
    assert await subject.other.push(3, [chunk(3 * MARK_EVERY)]) is Push.PUSHED
    assert (await subject.queue.standing(3)).locator == standing.locator


async def test_our_own_script_whose_answer_was_lost_counts_as_pushed(subject: Subject) -> None:
    chunks = [chunk(11, b"b"), chunk(12, b"c")]
    for sent in ([chunk(10, b"a")], chunks):
        await subject.other.push(3, sent)  # what this worker sent before the connection broke
        assert await subject.queue.push(3, sent) is Push.PUSHED
    assert await subject.jobs() == [b"a", b"b", b"c"]
    assert await subject.queue.push(3, [chunk(13, b"d")]) is Push.PUSHED


async def test_a_fence_of_another_group_is_refused_with_the_mend_and_nothing_is_done(
    subject: Subject,
) -> None:
    await subject.queue.push(3, [chunk(10, b"a")])
    before = await subject.fields()
    another = subject.worker("another")
    for refused in (another.standing(3), another.push(4, [chunk(1, b"b")])):
        with pytest.raises(StartupRefused, match=f"CONSUMER_GROUP={OWNER}"):
            await refused
    assert await subject.fields() == before
    assert await subject.jobs() == [b"a"]


async def test_a_fence_that_was_handed_over_is_the_other_groups(subject: Subject) -> None:
    await subject.queue.push(3, [chunk(10, b"a")])
    another = subject.worker("another")
    assert [await subject.queue.is_ours(), await another.is_ours()] == [True, False]
    await another.adopt()
    assert [await subject.queue.is_ours(), await another.is_ours()] == [False, True]
    assert (await another.standing(3)).fence == Fence(1, 10, 10, DIGEST)
    assert await another.push(3, [chunk(11, b"b")]) is Push.PUSHED
    with pytest.raises(StartupRefused, match="CONSUMER_GROUP=another"):
        await subject.queue.push(3, [chunk(11, b"c")])
    assert await subject.jobs() == [b"a", b"b"]


async def test_a_fence_is_told_to_who_does_not_push_and_one_that_cannot_be_read_is_none(
    subject: Subject,
) -> None:
    assert await subject.queue.fence(3) is None
    pushed = chunk(10, epoch=1_795_442_400_123)
    await subject.queue.push(3, [pushed])
    assert await subject.other.fence(3) == pushed.fence
    assert await subject.other.fence(4) is None
    await subject.set_fields({"3": "rubbish"})
    assert await subject.other.fence(3) is None


async def test_what_was_pushed_of_a_log_that_is_gone_is_told_until_the_epoch_has_risen(
    subject: Subject,
) -> None:
    lost = chunk(39).fence
    await subject.queue.push(3, [chunk(39)])
    await subject.queue.mark_lost(3, lost)
    await subject.queue.push(3, [chunk(30)])
    assert await subject.other.fence(3) == Fence(1, 39, 39, lost.digest)
    later = chunk(31, epoch=2)
    await subject.queue.push(3, [later])
    assert await subject.other.fence(3) == later.fence
    await subject.set_fields({"3:lost": "rubbish"})
    assert await subject.other.fence(3) == later.fence


async def test_a_fence_of_a_newer_version_is_not_taken_for_none(subject: Subject) -> None:
    await subject.set_fields({"3": "1:10:10", "3:proof": "2;of a later version"})
    with pytest.raises(NewerFormat):
        await subject.queue.standing(3)
    assert await subject.queue.push(3, [chunk(11, b"a")]) is Push.MOVED
    assert await subject.jobs() == []


async def test_each_job_is_announced_to_blocking_workers(redis_url: str) -> None:
    async with connect(redis_url) as client:
        queue = _real_queue(client)
        await queue.push(0, [chunk(0, b"a", b"b")])
        answer: Any = client.llen(f"{QUEUE}:notify")
        assert await answer == len([b"a", b"b"])


async def test_a_redis_that_does_not_answer_is_an_outage(redis_server: RedisServer) -> None:
    async with connect(redis_server.new_database_url()) as client:
        queue = _real_queue(client)
        redis_server.kill()
        with pytest.raises(Outage, match="redis"):
            await queue.standing(0)
        with pytest.raises(Outage, match="redis"):
            await queue.push(0, [chunk(0, b"a")])
        with pytest.raises(Outage, match="redis"):
            await queue.is_unmoved(0)
        with pytest.raises(Outage, match="redis"):
            await queue.fence(0)


@pytest.mark.parametrize("wrong", ["", ":notify"])
async def test_a_push_that_redis_refuses_in_the_middle_has_pushed_nothing(redis_url: str, wrong: str) -> None:
    """Were its first jobs there and the fence not, each retry would push them again."""
    async with connect(redis_url) as client:
        queue = _real_queue(client)
        await queue.push(0, [chunk(0, b"a")])
        moved: Any = client.rename(f"{QUEUE}{wrong}", "aside")
        spoilt: Any = client.set(f"{QUEUE}{wrong}", "no list")
        await moved, await spoilt
        before = await queue.standing(0)
        for _ in range(2):
            with pytest.raises(Outage, match="WRONGTYPE"):
                await queue.push(0, [chunk(1, b"b", b"c")])
        assert await queue.standing(0) == before
        mended: Any = client.rename("aside", f"{QUEUE}{wrong}")
        await mended
        assert await queue.push(0, [chunk(1, b"b", b"c")]) is Push.PUSHED
        jobs: Any = client.lrange(QUEUE, 0, -1)
        assert await jobs == [b"a", b"b", b"c"]


async def test_a_push_that_a_full_redis_refuses_has_pushed_nothing(redis_url: str) -> None:
    async with connect(redis_url) as client:
        queue = _real_queue(client)
        await queue.push(0, [chunk(0, b"a")])
        full: Any = client.config_set("maxmemory", 1)
        await full
        try:
            with pytest.raises(Outage):
                await queue.push(0, [chunk(1, b"b")])
        finally:
            mended: Any = client.config_set("maxmemory", 0)
            await mended
        assert await queue.push(0, [chunk(1, b"b")]) is Push.PUSHED
        jobs: Any = client.lrange(QUEUE, 0, -1)
        assert await jobs == [b"a", b"b"]
