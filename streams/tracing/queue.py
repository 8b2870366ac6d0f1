"""Finds a job in the queue: in the list, delayed, or in the hands of a worker."""

from collections.abc import AsyncIterator
from enum import StrEnum
from typing import NamedTuple

import msgspec
from redis.asyncio import Redis

from streams.laravel.fence import Fence
from streams.laravel.push import RedisJobQueue
from streams.laravel.redis_client import connect
from streams.laravel.redis_keys import QueueKeys
from streams.laravel.redis_outages import answered
from streams.settings import Settings

AT_ONCE = 500
MOST = 200_000
"""Jobs that are looked at, of each kind."""


class JobPlace(StrEnum):
    """Where a job is."""

    WAITING = "waits"
    DELAYED = "is tried again later"
    RESERVED = "is with a worker"


class QueuedJob(NamedTuple):
    """A job that is in the queue."""

    place: JobPlace
    attempts: int
    """How often it was taken before."""
    before_it: int
    """Of one that waits: how many jobs are taken before it."""
    at_s: float | None
    """Unix time: of a delayed one when it is due, of a reserved one when another worker may take it."""


class _JobHead(msgspec.Struct):
    uuid: str = ""
    attempts: int = 0


_envelopes = msgspec.json.Decoder(_JobHead)


async def find_job(settings: Settings, uuid: str) -> QueuedJob | None:
    """Return where a job is; None if the queue does not hold it.

    Raises:
        Outage: Redis does not answer.
    """
    redis = connect(settings.redis_url.get_secret_value())
    try:
        return await _find(redis, QueueKeys.of(settings.queue_prefix, settings.queue_name), uuid)
    finally:
        await redis.aclose()


async def read_fence(settings: Settings, partition: int) -> Fence | None:
    """Return how far a partition's jobs were pushed.

    Raises:
        Outage: Redis does not answer.
        StartupRefused: it is another consumer group's.
    """
    redis = connect(settings.redis_url.get_secret_value())
    try:
        return (await RedisJobQueue.from_settings(redis, settings).standing(partition)).fence
    finally:
        await redis.aclose()


async def _find(redis: Redis, keys: QueueKeys, uuid: str) -> QueuedJob | None:
    mark = uuid.encode()
    async for before, payload in _waiting(redis, keys.list):
        if mark in payload and (job := _read(payload)).uuid == uuid:
            return QueuedJob(JobPlace.WAITING, job.attempts, before, None)
    for place, key in ((JobPlace.RESERVED, keys.reserved), (JobPlace.DELAYED, keys.delayed)):
        async for payload, at_s in _kept(redis, key):
            if mark in payload and (job := _read(payload)).uuid == uuid:
                return QueuedJob(place, job.attempts, 0, at_s)
    return None


async def _waiting(redis: Redis, key: str) -> AsyncIterator[tuple[int, bytes]]:
    for start in range(0, MOST, AT_ONCE):
        payloads = await answered(redis.lrange(key, start, start + AT_ONCE - 1))
        for number, payload in enumerate(payloads, start):
            yield number, payload
        if len(payloads) < AT_ONCE:
            return


async def _kept(redis: Redis, key: str) -> AsyncIterator[tuple[bytes, float]]:
    for start in range(0, MOST, AT_ONCE):
        found = await answered(redis.zrange(key, start, start + AT_ONCE - 1, withscores=True))
        for payload, score in found:
            yield payload, float(score)
        if len(found) < AT_ONCE:
            return


def _read(payload: bytes) -> _JobHead:
    try:
        return _envelopes.decode(payload)
    except msgspec.MsgspecError:
        return _JobHead()
