"""How much memory the job queue's Redis has left, and whether it throws keys away to get some.

Between handoff, which waits before Redis is full, and INFO, Redis's own account of itself. It is asked once a
second at most, however often handoff pushes.
"""

import logging
import time
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple, Self

from redis.asyncio import Redis
from redis.exceptions import ResponseError

from streams.errors import Outage, QueueFull
from streams.laravel.pipelined_script import Script
from streams.laravel.redis_outages import answered
from streams.laravel.redis_refusals import UNKNOWN, RedisMender, sort

log = logging.getLogger(__name__)

ASK_EVERY_S = 1.0
KEEPS = ("noeviction", "volatile-")
"""How the policies begin under which neither the queue nor the fence is evicted: neither ever expires."""
MIB = 1024 * 1024


class Memory(NamedTuple):
    """What INFO says of a Redis's memory."""

    used: int
    """Bytes, as Redis compares them with its limit."""
    limit: int
    """Bytes: maxmemory, or the memory of the machine where there is none; 0 where that is not told either."""
    policy: str
    """maxmemory-policy; empty where it is not told."""
    is_capped: bool
    """Whether there is a maxmemory."""

    @classmethod
    def of(cls, info: Mapping[str, Any]) -> Self:
        """Read the section ``memory`` of INFO."""
        capped = int(info.get("maxmemory", 0))
        used = int(info.get("used_memory", 0)) - int(info.get("mem_not_counted_for_evict", 0))
        limit = capped or int(info.get("total_system_memory", 0))
        return cls(used, limit, str(info.get("maxmemory_policy", "")), capped > 0)

    @property
    def evicts(self) -> bool:
        """Whether Redis, once it is full, throws away what never expires: jobs and the fence."""
        return self.is_capped and bool(self.policy) and not self.policy.startswith(KEEPS)

    @property
    def makes_room(self) -> bool:
        """Whether Redis, once it is full, throws away what others keep there for a while."""
        return self.is_capped and self.policy.startswith("volatile-")


class MemoryGuard:
    """Knows how a Redis's memory stands.

    Args:
        redis: the job queue's.
        max_share: of its memory; above it `check_room` refuses.
        clock: seconds that never go back.
    """

    def __init__(
        self, redis: Redis, *, max_share: float = 1.0, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._redis = redis
        self._max_share = max_share
        self._clock = clock
        self._known: Memory | None = None
        self._asked_at_s: float | None = None
        self._has_warned = False

    async def check_room(self) -> None:
        """Return if jobs may be pushed, as Redis stood a second ago at most.

        Raises:
            QueueFull: Redis is nearly full.
            Outage: it gives no answer, or evicts.
        """
        if self._asked_at_s is None or self._clock() - self._asked_at_s >= ASK_EVERY_S:
            await self.check_policy()
        memory = self._known
        if memory is None:
            return
        _refuse_eviction(memory)
        # Under a volatile policy a full Redis is usual: it makes room by throwing away what others let
        # expire.
        if memory.limit and not memory.makes_room and memory.used > self._max_share * memory.limit:
            raise QueueFull(
                f"Redis uses {memory.used // MIB} of {memory.limit // MIB} MiB, more than the "
                f"HANDOFF_MAX_MEMORY_SHARE of {self._max_share:g}: the workers of its queues are behind, or "
                "something else fills it"
            )

    async def check_policy(self) -> None:
        """Ask Redis anew, and return unless it evicts.

        Raises:
            Outage: it gives no answer, or evicts.
        """
        # Before the answer: while Redis gives none, it is not asked with each push either.
        self._asked_at_s = self._clock()
        self._known = await self.ask()
        if self._known is None or not self._known.policy:
            self._warn()
        else:
            _refuse_eviction(self._known)

    async def ask(self) -> Memory | None:
        """Ask Redis; return None where it does not tell.

        Raises:
            Outage: it gives no answer.
        """
        try:
            return Memory.of(await answered(self._redis.info("memory")))
        except Outage as outage:
            refusal = outage.__cause__
            if isinstance(refusal, ResponseError) and _is_about_info(refusal):
                return None
            raise

    def _warn(self) -> None:
        if not self._has_warned:
            self._has_warned = True
            log.warning(
                "Redis does not tell its maxmemory-policy (INFO memory): it is not known whether it evicts "
                "jobs once it is full. Make sure that it is noeviction, or grant the right: +info"
            )


def _is_about_info(refusal: ResponseError) -> bool:
    kind = sort(refusal)
    return kind is UNKNOWN or kind.mender is RedisMender.SETTINGS


def _refuse_eviction(memory: Memory) -> None:
    if memory.evicts:
        seen = f"its maxmemory-policy is {memory.policy}: once it is full it throws away jobs and the fence"
        mend = "Set it to noeviction (CONFIG SET maxmemory-policy noeviction, and in its redis.conf)"
        raise Outage("redis", f"{seen}. {mend}", seen=seen, mend=mend)


def guarded(script: Script, guard: MemoryGuard) -> Script:
    """Return a script that runs only while Redis has room for what it pushes."""

    async def run(**call: Any) -> Any:
        await guard.check_room()
        return await script(**call)

    return run
