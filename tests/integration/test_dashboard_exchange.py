"""Workers tell of each other through a real Redis, and say so where they cannot."""

from collections.abc import Callable

import redis.asyncio as redis_client

from streams.dashboard.exchange import Exchange, Queued, workers_key
from streams.dashboard.peers import FORGET_S
from streams.dashboard.summary import WorkerSummary, encode
from streams.laravel.redis_client import connect
from streams.laravel.redis_keys import QueueKeys
from tests.parts.redis import Redis

KEYS = QueueKeys.of("laravel_", "default")
KEY = workers_key("laravel_", "metrics")


class Clock:
    now = 0.0

    def __call__(self) -> float:
        return self.now


def exchange(url: str, worker: str, clock: Callable[[], float] | None = None) -> Exchange:
    return Exchange(connect(url), key=KEY, queue=KEYS, worker=worker, clock=clock or Clock())


def told(worker: str, received: float = 1.0) -> bytes:
    return encode(WorkerSummary(worker, rates={"received": received}))


def heard(one: Exchange) -> list[tuple[str, float]]:
    return [(peer.summary.id, peer.summary.rates["received"]) for peer in one.peers.all(0.0)]


async def test_each_hears_the_others_and_not_itself(redis_url: str) -> None:
    first, second = exchange(redis_url, "first"), exchange(redis_url, "second")
    await first.swap(told("first", 7))
    await second.swap(told("second", 9))
    await first.swap(told("first", 8))
    assert heard(first) == [("second", 9.0)]
    assert heard(second) == [("first", 7.0)]
    assert first.standing.up
    await second.leave()
    await first.swap(told("first", 8))
    assert heard(first) == []
    await first.leave()


async def test_the_hash_expires_and_who_is_gone_is_taken_out(redis_url: str) -> None:
    clock = Clock()
    first = exchange(redis_url, "first", clock)
    async with redis_client.from_url(redis_url) as client:
        await client.hset(KEY, "killed", told("killed"))
        await first.swap(told("first"))
        assert 0 < await client.ttl(KEY) <= 60
        clock.now += FORGET_S
        await first.swap(told("first"))
        assert await client.hkeys(KEY) == [b"first"]
    await first.leave()


async def test_the_jobs_of_the_queue_are_counted(redis_url: str) -> None:
    one = exchange(redis_url, "one")
    async with redis_client.from_url(redis_url) as client:
        await client.rpush(KEYS.list, "a", "b", "c")
        await client.zadd(KEYS.delayed, {"d": 1})
        await client.zadd(KEYS.reserved, {"e": 1, "f": 2})
    await one.swap(told("one"))
    assert one.queued == Queued(3, 1, 2)
    await one.leave()


async def test_a_redis_that_is_away_is_told_with_its_since_and_comes_back(
    own: Callable[[Callable[[], Redis]], Redis],
) -> None:
    server = own(lambda: Redis(append_only=True))
    one = exchange(server.url, "one")
    await one.swap(told("one"))
    server.stop()
    await one.swap(told("one"))
    standing = one.standing
    assert not standing.up
    assert standing.detail
    assert one.queued is None
    await one.swap(told("one"))
    assert one.standing.since == standing.since
    server.start()
    await one.swap(told("one"))
    assert one.standing.up
    assert one.queued == Queued(0, 0, 0)
    await one.leave()


async def test_a_missing_right_is_told_and_what_may_be_counted_is(
    own: Callable[[Callable[[], Redis]], Redis],
) -> None:
    server = own(lambda: Redis(append_only=True))
    async with redis_client.from_url(server.url) as client:
        rights = ("on", ">secret", "~laravel_queues:default*", "+@connection", "+llen", "+zcard")
        await client.execute_command("ACL", "SETUSER", "poor", *rights)
    one = exchange(server.url.replace("redis://", "redis://poor:secret@"), "poor")
    await one.swap(told("poor"))
    assert not one.standing.up
    assert KEY in one.standing.detail
    assert one.queued == Queued(0, 0, 0)
    await one.leave()


async def test_a_key_of_another_kind_is_told(redis_url: str) -> None:
    async with redis_client.from_url(redis_url) as client:
        await client.set(KEY, "a string")
    one = exchange(redis_url, "one")
    await one.swap(told("one"))
    assert not one.standing.up
    await one.leave()
