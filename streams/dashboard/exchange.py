"""Tells the other workers of this one, and hears of them: through a hash in the Redis of the queue.

Redis and not Kafka: a hash needs no topic to be made and no consumer, expires by itself, and costs one round
trip a second. While Redis is away each page shows its own worker alone, and says so; Kafka would serve no
longer, since without it nothing flows at all. The same round trip counts the jobs of the queue.

On a client of its own: what Redis refuses here must not disturb handoff's connections.
"""

import asyncio
import time
from collections.abc import Callable
from contextlib import suppress
from typing import Any, NamedTuple

from redis.asyncio import Redis
from redis.exceptions import RedisError

from streams.dashboard.peers import Peers
from streams.dashboard.summary import PartSeen
from streams.errors import Outage
from streams.laravel.redis_keys import QueueKeys
from streams.laravel.redis_outages import answered
from streams.laravel.redis_refusals import told as told_by

EXPIRES_S = 60
LIMIT_S = 3.0
"""For one exchange: what takes longer shows as an outage."""
LEAVE_LIMIT_S = 1.0


class Queued(NamedTuple):
    """The jobs of the queue, by where they are."""

    waiting: int
    delayed: int
    reserved: int


def workers_key(prefix: str, topics: str) -> str:
    """Name the hash in which workers tell of themselves."""
    return f"{prefix}metric-streams:{topics}:workers"


class Exchange:
    """One worker's side of it.

    Args:
        redis: the queue's, with connections of its own.
        key: of the hash.
        queue: the names of the queue's lists.
        worker: this worker's name.
        clock: seconds that never go back.
        wall: Unix time in seconds.

    Attributes:
        standing: whether the others were heard last, and since when.
        queued: the jobs of the queue; None while they are not known.
        peers: the other workers.
    """

    def __init__(
        self,
        redis: Redis,
        *,
        key: str,
        queue: QueueKeys,
        worker: str,
        clock: Callable[[], float] = time.monotonic,
        wall: Callable[[], float] = time.time,
    ) -> None:
        self._redis = redis
        self._key = key
        self._queue = queue
        self._worker = worker
        self._clock = clock
        self._wall = wall
        self.standing = PartSeen(up=False, detail="not asked yet", since=wall())
        self.queued: Queued | None = None
        self.peers = Peers()

    async def swap(self, told: bytes) -> None:
        """Tell what there is to tell, and hear the others; what keeps it from that is noted in `standing`."""
        try:
            async with asyncio.timeout(LIMIT_S):
                await self._swap(told)
        except TimeoutError:
            self.queued = None
            self._stand(up=False, detail=f"no answer within {LIMIT_S:g} s")
        except Outage as outage:
            self._stand(up=False, detail=outage.detail)
        else:
            self._stand(up=True, detail="")

    async def _swap(self, told: bytes) -> None:
        pipeline = self._redis.pipeline(transaction=False)
        pipeline.hset(self._key, self._worker, told)
        pipeline.expire(self._key, EXPIRES_S)
        pipeline.hgetall(self._key)
        pipeline.llen(self._queue.list)
        pipeline.zcard(self._queue.delayed)
        pipeline.zcard(self._queue.reserved)
        # A worker that was killed leaves its line: whoever notices takes it out.
        if gone := self.peers.gone(self._clock()):
            pipeline.hdel(self._key, *gone)
        try:
            answers = await answered(pipeline.execute(raise_on_error=False))
        except Outage:
            self.queued = None
            raise
        # Counted even where the rest is refused: the rights to the hash are others than those to the queue.
        self._count(answers[3:6])
        for answer in answers[:3]:
            if isinstance(answer, RedisError):
                raise Outage("redis", f"workers cannot tell of each other in {self._key}: {told_by(answer)}")
        others = {name.decode(): line for name, line in answers[2].items() if name.decode() != self._worker}
        self.peers.hear(others, self._clock())

    def _count(self, answers: list[Any]) -> None:
        known = not any(isinstance(answer, RedisError) for answer in answers)
        self.queued = Queued(*answers) if known else None

    def _stand(self, *, up: bool, detail: str) -> None:
        since = self.standing.since if self.standing.up is up else self._wall()
        self.standing = PartSeen(up=up, detail=detail, since=since)

    async def leave(self) -> None:
        """Tell the others that this worker is gone, if Redis answers, and disconnect."""
        with suppress(RedisError, OSError, TimeoutError):
            await asyncio.wait_for(self._redis.hdel(self._key, self._worker), LEAVE_LIMIT_S)
        with suppress(RedisError, OSError):
            await self._redis.aclose()
