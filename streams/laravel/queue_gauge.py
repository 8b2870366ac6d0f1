"""The state of the job queue: asked when a page is shown, for Prometheus and the dashboard.

Between Redis and the pages. It has a connection of its own: a question that Redis refuses, or answers late,
must not disturb whoever pushes or takes jobs.
"""

import asyncio
import time
from collections.abc import Callable
from typing import NamedTuple

from redis.asyncio import Redis
from redis.exceptions import RedisError

from streams.errors import Outage
from streams.ingest.progress import Front
from streams.laravel.redis_client import connect
from streams.laravel.redis_keys import QueueKeys
from streams.laravel.redis_memory import Memory, MemoryGuard
from streams.laravel.reserve import Backlog, ReservingQueue
from streams.settings import Settings

LOOK_LIMIT_S = 2.0


class QueueState(NamedTuple):
    """The state of the queue at one look."""

    backlog: Backlog
    oldest_job_s: float | None
    """Seconds that the job at the front has waited at least; None if none waits in the list."""
    front_still_s: float | None
    """Seconds that the same job has been seen at the front: if that is long, nobody takes jobs."""
    size_bytes: int | None = None
    """Of the list; None where Redis does not tell (a user without the right to MEMORY USAGE)."""
    memory: Memory | None = None
    """Of Redis; None where it does not tell (INFO memory)."""


class QueueGauge:
    """Looks at the queue.

    Args:
        redis: a client that nobody else uses.
        settings: name the queue.
        clock: seconds that never go back.
        unix_clock: the Unix time in seconds, by which a job may tell when it was pushed.
    """

    def __init__(
        self,
        redis: Redis,
        settings: Settings,
        *,
        clock: Callable[[], float] = time.monotonic,
        unix_clock: Callable[[], float] = time.time,
    ) -> None:
        self._redis = redis
        self._queue = ReservingQueue.from_settings(redis, settings)
        self._list = QueueKeys.of(settings.queue_prefix, settings.queue_name).list
        self._memory = MemoryGuard(redis)
        self._front = Front()
        self._clock = clock
        self._unix_clock = unix_clock

    @classmethod
    def from_settings(cls, settings: Settings) -> "QueueGauge":
        """Return one with a connection of its own."""
        return cls(connect(settings.redis_url.get_secret_value()), settings)

    async def look(self) -> QueueState | None:
        """Return the state of the queue; None while Redis does not answer."""
        try:
            # A page is made from this while a person or a monitor waits.
            return await asyncio.wait_for(self._look(), LOOK_LIMIT_S)
        except (Outage, TimeoutError):
            return None

    async def _look(self) -> QueueState:
        backlog, front = await self._queue.backlog(), await self._queue.front()
        self._front.look(self._clock(), front)
        oldest_s = self._front.waits_s(self._clock(), self._unix_clock())
        still_s = self._front.still_s(self._clock())
        return QueueState(backlog, oldest_s, still_s, await self._size(), await self._memory.ask())

    async def _size(self) -> int | None:
        try:
            # It looks at five jobs and extrapolates, so a long queue costs no more.
            return int(await self._redis.memory_usage(self._list) or 0)
        except RedisError:
            return None

    async def start(self) -> None:
        """Do nothing: the client connects when it is first used."""

    async def stop(self) -> None:
        """Disconnect."""
        await self._redis.aclose()
