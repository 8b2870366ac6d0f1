"""What these tests share: both ends of one queue, and all that it holds."""

import json
from collections.abc import Iterable

from redis.asyncio import Redis

from streams.laravel.pipelined_script import Script
from streams.laravel.push import RedisJobQueue
from streams.laravel.redis_keys import QueueKeys, fence_key
from streams.laravel.reserve import Broadcast, ReservedJob, ReservingQueue

PREFIX, NAME = "p_", "default"
KEYS = QueueKeys.of(PREFIX, NAME)
FENCE = fence_key(PREFIX, "metrics")
NOW_S = 1_800_000_000
RETRY_AFTER_S = 90
PLENTY = 1_000_000


class Clock:
    def __init__(self) -> None:
        self.now_s = float(NOW_S)

    def __call__(self) -> float:
        return self.now_s


def taking(redis: Redis, clock: Clock | None = None) -> ReservingQueue:
    return ReservingQueue(
        redis, prefix=PREFIX, queue=NAME, retry_after_s=RETRY_AFTER_S, clock=clock or Clock()
    )


def pushing(redis: Redis, script: Script | None = None) -> RedisJobQueue:
    return RedisJobQueue(
        redis,
        prefix=PREFIX,
        queue=NAME,
        topics="metrics",
        owner="the tests",
        max_jobs=10**6,
        script=script,
    )


def payload(name: str, size_bytes: int = 0) -> bytes:
    return json.dumps({"uuid": name, "attempts": 0, "data": "x" * size_bytes}).encode()


async def push(redis: Redis, *payloads: bytes) -> None:
    for one in payloads:
        await redis.rpush(KEYS.list, one)
        await redis.rpush(KEYS.notify, 1)


async def held(redis: Redis) -> dict[str, list[bytes]]:
    """Return all jobs, by where they are."""
    return {
        "list": await redis.lrange(KEYS.list, 0, -1),
        "delayed": await redis.zrange(KEYS.delayed, 0, -1),
        "reserved": await redis.zrange(KEYS.reserved, 0, -1),
        "notify": await redis.lrange(KEYS.notify, 0, -1),
    }


async def take(queue: ReservingQueue, most: int = 100) -> list[ReservedJob]:
    return await queue.reserve(max_jobs=most, max_bytes=PLENTY)


def announced(jobs: Iterable[ReservedJob]) -> list[tuple[ReservedJob, Broadcast]]:
    return [(job, Broadcast("tenant.t.metrics", b"row")) for job in jobs]
