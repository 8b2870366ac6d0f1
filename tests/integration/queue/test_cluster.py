"""Redis Cluster: what works there, and what is said of what does not."""

from collections.abc import Awaitable, Callable
from typing import Any

import pytest
from redis.asyncio import Redis

from streams.errors import Outage
from streams.laravel.fence import Fence
from streams.laravel.push import ChunkOfJobs, Push, RedisJobQueue
from streams.laravel.redis_keys import QueueKeys
from streams.laravel.reserve import ReservingQueue
from tests.integration.queue.conftest import Serve
from tests.integration.queue.queues import RETRY_AFTER_S, announced, payload, take, taking
from tests.parts.eventually import eventually
from tests.parts.redis import Redis as RedisServer

Clients = Callable[[str], Redis]
TAGGED = "{laravel}_"
SLOTS = 16_384


async def command(redis: Redis, *words: str | int) -> Any:
    answer: Awaitable[Any] = redis.execute_command(*words)  # type: ignore[no-untyped-call] # redis-py's own
    return await answer


async def join(redis: Redis, slots: range) -> None:
    await command(redis, "CLUSTER", "ADDSLOTS", *slots)


def server_of_a_cluster(serve: Serve) -> RedisServer:
    return serve(cluster_enabled="yes", databases="1", cluster_require_full_coverage="no")


@pytest.fixture
async def cluster(serve: Serve, clients: Clients) -> Redis:
    redis = clients(server_of_a_cluster(serve).url)
    await join(redis, range(SLOTS))

    async def is_complete() -> bool:
        return b"cluster_state:ok" in await command(redis, "CLUSTER", "INFO")

    await eventually(is_complete)
    return redis


async def test_with_a_hash_tag_in_the_prefix_both_ends_work(cluster: Redis) -> None:
    handoff = RedisJobQueue(cluster, prefix=TAGGED, queue="default", topics="metrics", owner="g", max_jobs=10)
    ingest = ReservingQueue(cluster, prefix=TAGGED, queue="default", retry_after_s=RETRY_AFTER_S)
    await ingest.check()
    await handoff.standing(0)
    assert await handoff.push(0, [ChunkOfJobs(Fence(1, 0, 0), [payload("a")])]) is Push.PUSHED
    jobs = await take(ingest)
    assert await ingest.complete(announced(jobs)) == [True]


async def test_without_one_the_mend_is_told(cluster: Redis) -> None:
    for action in (lambda: take(taking(cluster)), taking(cluster).check):
        with pytest.raises(Outage, match=r"hash tag: see docs/redis\.md"):
            await action()


async def test_a_node_that_does_not_have_the_queue_says_so(serve: Serve, clients: Clients) -> None:
    first, second = server_of_a_cluster(serve), server_of_a_cluster(serve)
    one, two = clients(first.url), clients(second.url)
    slot = int(await command(one, "CLUSTER", "KEYSLOT", QueueKeys.of(TAGGED, "default").list))
    await join(one, range(slot))
    await join(two, range(slot, SLOTS))
    await command(one, "CLUSTER", "MEET", "127.0.0.1", second.port)

    async def refused() -> str:
        try:
            await take(ReservingQueue(one, prefix=TAGGED, queue="default", retry_after_s=RETRY_AFTER_S))
        except Outage as outage:
            return outage.detail if "another node" in outage.detail else ""
        return ""

    assert "docs/redis.md" in await eventually(refused)
