"""Looks at the Redis of the job queue: what it would lose, whether it is full, and what its user may do."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from redis.asyncio import Redis
from redis.exceptions import RedisError

from streams.doctor.finding import Finding, broken, ok, warning
from streams.errors import Outage
from streams.laravel.redis_client import connect
from streams.laravel.redis_health import LACKING, QueueHealth, handoff_health, ingest_health
from streams.laravel.redis_keys import QueueKeys, fence_key
from streams.laravel.redis_memory import MIB, Memory
from streams.laravel.redis_outages import answered
from streams.laravel.reserve import Backlog, ReservingQueue
from streams.settings import Settings

PART = "redis"
NEARLY_FULL = 0.9
"""Of a limit, from where there is a warning."""
SAMPLES = 20
"""Jobs that Redis looks at to tell how many bytes a queue has."""
DURABLE = "CONFIG SET appendonly yes, and appendfsync always (or everysec), also in its redis.conf"
NO_EVICTION = "CONFIG SET maxmemory-policy noeviction, also in its redis.conf"


async def examine_redis(settings: Settings) -> list[Finding]:
    """Look at the server, and at what the user may do there.

    Raises:
        Outage: it does not answer, or does not let us in.
    """
    redis = connect(settings.redis_url.get_secret_value())
    try:
        await answered(redis.ping())
        info = await _info(redis)
        found = [*of_server(info), *of_memory(info, settings.handoff_max_memory_share)]
        return [*found, *await _rights(redis, settings), *await _queue(redis, settings)]
    finally:
        await redis.aclose()


async def _info(redis: Redis) -> Mapping[str, Any]:
    """Ask for all sections; none where the user may not ask."""
    try:
        told: Mapping[str, Any] = await redis.info()
    except RedisError:
        return {}
    return told


def of_server(info: Mapping[str, Any]) -> Iterable[Finding]:
    """Return what is to be said of the server."""
    if not info:
        yield warning(PART, "it does not tell how it is configured (INFO)", "Grant the user the right: +info")
        return
    version = str(info.get("redis_version", "of an unknown version"))
    # Redis still calls it so in INFO, whatever the commands are named by now.
    if info.get("role") == "slave":
        yield broken(PART, f"{version}, a replica: it takes no jobs", "Let REDIS_URL lead to the master")
    elif not int(info.get("aof_enabled", 0)):
        seen = (
            f"{version}, appendonly is off: a crash loses jobs, which are pushed again, and what workers hold"
        )
        yield warning(PART, seen, DURABLE)
    else:
        yield ok(PART, f"{version}, appendonly")
    if info.get("aof_last_write_status", "ok") != "ok" or info.get("rdb_last_bgsave_status", "ok") != "ok":
        yield broken(PART, "it cannot save its data", "Mostly its disk is full: see its log")


def of_memory(info: Mapping[str, Any], max_share: float) -> Iterable[Finding]:
    """Return what is to be said of its memory.

    Args:
        info: what Redis says of itself.
        max_share: HANDOFF_MAX_MEMORY_SHARE.
    """
    memory = Memory.of(info)
    if memory.evicts:
        seen = f"maxmemory-policy is {memory.policy}: once it is full it throws away jobs and the fence"
        yield broken(PART, seen, NO_EVICTION)
    elif memory.policy:
        capped = "" if memory.is_capped else ", without a maxmemory"
        yield ok(PART, f"maxmemory-policy is {memory.policy}{capped}")
    if not memory.limit:
        return
    seen = f"{memory.used // MIB:,} of {memory.limit // MIB:,} MiB are used"
    mend = "Let more workers run the queue's jobs, see what else fills it, or raise maxmemory"
    if memory.used > max_share * memory.limit:
        yield broken(PART, f"{seen}: above HANDOFF_MAX_MEMORY_SHARE={max_share:g} handoff waits", mend)
    elif memory.used > NEARLY_FULL * max_share * memory.limit:
        yield warning(PART, f"{seen}: handoff waits from HANDOFF_MAX_MEMORY_SHARE={max_share:g} on", mend)
    else:
        yield ok(PART, seen)


async def _rights(redis: Redis, settings: Settings) -> list[Finding]:
    prefix, queue = settings.queue_prefix, settings.queue_name
    asked: dict[str, QueueHealth] = {
        "the worker": handoff_health(redis, prefix, queue, fence_key(prefix, settings.topic_prefix)),
        "ingest": ingest_health(redis, prefix, queue),
    }
    refusals: dict[str, Outage] = {}
    for who, health in asked.items():
        try:
            await health.check()
        except Outage as outage:
            if "maxmemory-policy" not in outage.seen:  # which has a line of its own
                refusals[who] = outage
    return list(of_rights(list(asked), refusals))


def of_rights(whose: Sequence[str], refusals: Mapping[str, Outage]) -> Iterable[Finding]:
    """Return what is to be said of the rights of the user in REDIS_URL.

    Args:
        whose: the programs that it may be for.
        refusals: by those of them that cannot work with it, why.
    """
    for who in whose:
        if (outage := refusals.get(who)) is None:
            yield ok(PART, f"the user may do what {who} does")
        # Each program may have a user of its own (docs/redis.md), and this URL be that of the other one.
        elif LACKING in outage.seen and len(refusals) < len(whose):
            mend = f"Nothing, if {who} logs in as another user; else: {outage.mend}"
            yield warning(PART, f"{who} cannot work with this user: {outage.seen}", mend)
        else:
            yield broken(PART, f"{who} cannot work there: {outage.seen}", outage.mend or NO_MEND)


NO_MEND = "docs/redis.md says how the Redis of the queue must be set up"


async def _queue(redis: Redis, settings: Settings) -> list[Finding]:
    backlog = await ReservingQueue.from_settings(redis, settings).backlog()
    keys = QueueKeys.of(settings.queue_prefix, settings.queue_name)
    try:
        size = await redis.memory_usage(keys.list, samples=SAMPLES)
    except RedisError:
        size = None
    return list(of_queue(backlog, size, keys.list, settings.handoff_max_queued_jobs))


def of_queue(backlog: Backlog, size: int | None, name: str, limit: int) -> Iterable[Finding]:
    """Return what is to be said of the queue's length.

    Args:
        backlog: how many jobs there are.
        size: the bytes of those that wait; None if that is not known.
        name: of its list.
        limit: HANDOFF_MAX_QUEUED_JOBS.
    """
    bytes_ = f" in some {size / MIB:.1f} MiB" if size else ""
    seen = (
        f"{name}: {backlog.waiting:,} jobs wait{bytes_}, {backlog.delayed:,} are delayed, "
        f"{backlog.reserved:,} in the hands of workers"
    )
    mend = "Let more workers run the queue's jobs; Kafka holds what follows"
    if backlog.waiting >= limit:
        yield broken(PART, f"{seen}: at HANDOFF_MAX_QUEUED_JOBS={limit:,} handoff waits", mend)
    elif backlog.waiting >= NEARLY_FULL * limit:
        yield warning(PART, f"{seen}: handoff waits from HANDOFF_MAX_QUEUED_JOBS={limit:,} on", mend)
    else:
        yield ok(PART, seen)
