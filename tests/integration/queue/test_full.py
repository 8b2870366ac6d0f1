"""A Redis that is full can always be drained, and handoff waits before it is full."""

from collections.abc import Callable

import pytest
from redis.asyncio import Redis
from redis.exceptions import OutOfMemoryError

from streams.errors import Outage, QueueFull
from streams.laravel.fence import Fence
from streams.laravel.pipelined_script import PipelinedScript
from streams.laravel.push import ChunkOfJobs, Push
from streams.laravel.redis_memory import ASK_EVERY_S, MemoryGuard, guarded
from streams.laravel.reserve import ReservingQueue
from streams.laravel.scripts import script
from tests.integration.queue.conftest import Serve
from tests.integration.queue.queues import (
    KEYS,
    RETRY_AFTER_S,
    Clock,
    announced,
    held,
    payload,
    push,
    pushing,
    take,
    taking,
)
from tests.parts.eventually import eventually

Clients = Callable[[str], Redis]
JOBS = 300


@pytest.fixture
async def redis(serve: Serve, clients: Clients) -> Redis:
    server = serve(maxmemory="0", maxmemory_policy="noeviction")
    return clients(server.url)


async def fill(redis: Redis) -> None:
    """Let what is there be all that it may hold."""
    await redis.config_set("maxmemory", int((await redis.info("memory"))["used_memory"]))

    async def refuses() -> bool:
        try:
            await redis.rpush("another", "x" * 1_000)
        except OutOfMemoryError:
            return True
        return False

    await eventually(refuses, interval_s=0)


async def drained(queue: ReservingQueue) -> int:
    done = 0
    while jobs := await take(queue):
        done += sum(await queue.complete(announced(jobs)))
    return done


async def test_a_full_redis_is_drained_to_zero_and_then_takes_jobs_again(redis: Redis) -> None:
    await push(redis, *(payload(str(number), 10_000) for number in range(JOBS)))
    handoff = pushing(redis)
    await handoff.standing(0)
    await fill(redis)
    with pytest.raises(Outage, match="maxmemory"):
        await handoff.push(0, [ChunkOfJobs(Fence(1, 0, 0), [payload("late")])])
    assert await drained(taking(redis)) == JOBS
    assert await held(redis) == {"list": [], "delayed": [], "reserved": [], "notify": []}
    assert await handoff.push(0, [ChunkOfJobs(Fence(1, 0, 0), [payload("late")])]) is Push.PUSHED
    assert await drained(taking(redis)) == 1


async def test_what_is_delayed_and_what_has_expired_comes_back_on_a_full_redis(redis: Redis) -> None:
    clock = Clock()
    queue = taking(redis, clock)
    await push(redis, payload("a"), payload("b"))
    first, _ = await take(queue)
    await queue.release(first, 10)
    clock.now_s += RETRY_AFTER_S
    await fill(redis)
    assert await drained(queue) == len(["a", "b"])


async def test_jobs_go_back_aside_and_away_on_a_full_redis(redis: Redis) -> None:
    clock = Clock()
    queue = taking(redis, clock)
    await push(redis, *map(payload, "abc"))
    await fill(redis)
    put_back, aside, failed = await take(queue)
    assert await queue.put_back([put_back]) == 1
    assert await queue.release(aside, 10)
    assert await queue.delete(failed)
    assert {where: len(jobs) for where, jobs in (await held(redis)).items()} == {
        "list": 1,
        "delayed": 1,
        "reserved": 0,
        "notify": 1,
    }
    clock.now_s += 10
    assert await drained(queue) == len(["put back", "aside"])


async def test_ingest_is_ready_on_a_full_redis(redis: Redis) -> None:
    await fill(redis)
    await taking(redis).check()


async def test_handoff_waits_before_redis_is_full_and_goes_on_when_it_has_room(redis: Redis) -> None:
    clock = Clock()
    guard = MemoryGuard(redis, max_share=0.8, clock=clock)
    handoff = pushing(redis, guarded(PipelinedScript(redis, script("push")), guard))
    await handoff.standing(0)

    async def push_one(number: int) -> Push:
        return await handoff.push(0, [ChunkOfJobs(Fence(1, number, number), [b"job"])])

    assert await push_one(0) is Push.PUSHED
    used = int((await redis.info("memory"))["used_memory"])
    await redis.config_set("maxmemory", int(used * 1.1))
    assert await push_one(1) is Push.PUSHED  # as Redis stood a moment ago
    clock.now_s += ASK_EVERY_S
    with pytest.raises(QueueFull, match="HANDOFF_MAX_MEMORY_SHARE"):
        await push_one(2)
    assert await redis.llen(KEYS.list) == len([0, 1])
    await redis.config_set("maxmemory", used * 2)
    clock.now_s += ASK_EVERY_S
    assert await push_one(2) is Push.PUSHED


async def test_redis_is_asked_for_its_memory_once_a_second_at_most(redis: Redis) -> None:
    guard = MemoryGuard(redis, clock=Clock())
    for _ in range(100):
        await guard.check_room()
    assert (await redis.info("commandstats"))["cmdstat_info"]["calls"] == 1


async def test_what_expires_may_fill_a_redis_that_throws_it_away(redis: Redis) -> None:
    await redis.config_set("maxmemory-policy", "volatile-lru")
    used = int((await redis.info("memory"))["used_memory"])
    await redis.config_set("maxmemory", int(used * 1.1))
    await MemoryGuard(redis, max_share=0.8).check_room()


@pytest.mark.parametrize("policy", ["allkeys-lru", "allkeys-lfu", "allkeys-random"])
async def test_a_redis_that_evicts_jobs_is_refused_with_the_mend_until_it_does_not(
    redis: Redis, policy: str
) -> None:
    clock = Clock()
    guard, queue = MemoryGuard(redis, clock=clock), taking(redis)
    await redis.config_set("maxmemory-policy", policy)
    await guard.check_room()  # without a limit nothing is ever evicted
    await redis.config_set("maxmemory", "100mb")
    clock.now_s += ASK_EVERY_S
    for check in (guard.check_room, guard.check_room, queue.check):
        with pytest.raises(Outage, match=f"{policy}.*CONFIG SET maxmemory-policy noeviction"):
            await check()
    await redis.config_set("maxmemory-policy", "noeviction")
    clock.now_s += ASK_EVERY_S
    await guard.check_room()
    await queue.check()


async def test_a_redis_that_does_not_tell_its_policy_is_used_and_that_is_said_once(
    redis: Redis, clients: Clients, caplog: pytest.LogCaptureFixture
) -> None:
    await redis.acl_setuser(
        "narrow", enabled=True, passwords=["+pw"], keys=["*"], channels=["*"], commands=["+@all", "-info"]
    )
    port = redis.connection_pool.connection_kwargs["port"]
    queue = taking(clients(f"redis://narrow:pw@127.0.0.1:{port}/0"))
    await queue.check()
    await queue.check()
    assert [record.message for record in caplog.records if "does not tell" in record.message] == [
        caplog.records[-1].message
    ]
