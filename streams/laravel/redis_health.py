"""Whether the job queue's Redis can be used: not that it answers, but that what is to be written can be.

Between the readiness pages and Redis. A replica answers a ping, and so does a Redis whose user may not
publish. So it is asked for every right, each key is written to in a way that changes nothing, and its memory
is looked at.
"""

import json
from collections.abc import Sequence

from redis.asyncio import Redis
from redis.exceptions import RedisError

from streams.errors import Outage
from streams.laravel.redis_keys import QueueKeys, channel_of
from streams.laravel.redis_memory import MemoryGuard
from streams.laravel.redis_outages import answered
from streams.laravel.redis_refusals import sort
from streams.laravel.scripts import script

Command = tuple[str | int, ...]

SOME_TENANT = "00000000-0000-0000-0000-000000000000"
NOBODY = "metric-streams: no job at all"
LACKING = "the user in REDIS_URL has no right to:"


class QueueHealth:
    """Asks a Redis whether one of its users can do its work.

    Args:
        redis: the job queue's.
        keys: those that are written to.
        needs: every command that the work consists of, as one example each.
        writes: commands that write, but change nothing.
        memory: of that Redis.
    """

    def __init__(
        self,
        redis: Redis,
        *,
        keys: Sequence[str],
        needs: Sequence[Command],
        writes: Sequence[Command],
        memory: MemoryGuard,
    ) -> None:
        self._script = redis.register_script(script("ready"))
        self._keys = list(keys)
        self._asked = json.dumps({"needs": needs, "writes": writes})
        self._memory = memory

    async def check(self) -> None:
        """Return if the work can be done.

        Raises:
            Outage: it cannot; with what is missing and the mend.
        """
        try:
            missing = await answered(self._script(keys=self._keys, args=[self._asked]))
        except Outage as outage:
            if isinstance(outage.__cause__, RedisError) and sort(outage.__cause__).code == "NOPERM":
                # Without the right to the script itself nothing else can be asked.
                raise _lacking(f"EVALSHA with the keys {' '.join(self._keys)}", outage.detail) from outage
            raise
        if missing:
            raise _lacking(", ".join(command.decode(errors="replace").strip() for command in missing))
        await self._memory.check_policy()


def _lacking(what: str, said: str = "") -> Outage:
    seen = f"{LACKING} {what}"
    mend = "Grant what docs/redis.md lists, with ACL SETUSER"
    detail = f"{seen}. {mend}" + (f". Redis says: {said}" if said else "")
    return Outage("redis", detail, seen=seen, mend=mend)


def ingest_health(redis: Redis, prefix: str, queue: str) -> QueueHealth:
    """Ask for what `streams.laravel.reserve` does."""
    keys = QueueKeys.of(prefix, queue)
    later = (keys.delayed, keys.reserved)
    writes: list[Command] = [
        ("ltrim", keys.list, 0, -1),
        ("ltrim", keys.notify, 0, -1),
        *(("zremrangebyrank", key, 1, 0) for key in later),
        *(("zrem", key, NOBODY) for key in (*later, keys.held)),
        *(("zadd", key, "XX", 0, NOBODY) for key in (*later, keys.held)),
    ]
    needs: list[Command] = [
        *writes,
        ("lindex", keys.list, 0),
        ("llen", keys.list),
        *((push, key, 1) for push in ("lpush", "rpush") for key in (keys.list, keys.notify)),
        ("blpop", keys.notify, 1),
        *(("zrangebyscore", key, "-inf", 0) for key in (*later, keys.held)),
        *(("zcount", key, "-inf", 0) for key in later),
        *(("zcard", key) for key in later),
        *(("zscore", key, NOBODY) for key in (keys.reserved, keys.held)),
        ("publish", channel_of(prefix, SOME_TENANT), ""),
    ]
    return QueueHealth(redis, keys=keys, needs=needs, writes=writes, memory=MemoryGuard(redis))


def handoff_health(redis: Redis, prefix: str, queue: str, fence: str) -> QueueHealth:
    """Ask for what `streams.laravel.push` does."""
    keys = QueueKeys.of(prefix, queue)
    writes: list[Command] = [
        ("ltrim", keys.list, 0, -1),
        ("ltrim", keys.notify, 0, -1),
        ("hdel", fence, NOBODY),
    ]
    needs: list[Command] = [
        *writes,
        ("hmget", fence, 0),
        ("hset", fence, 0, ""),
        ("llen", keys.list),
        ("rpush", keys.list, "job"),
        ("rpush", keys.notify, 1),
    ]
    asked = [keys.list, keys.notify, fence]
    return QueueHealth(redis, keys=asked, needs=needs, writes=writes, memory=MemoryGuard(redis))
