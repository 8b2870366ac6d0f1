"""Looks whether the fence in Redis is about the present logs, and whose it is."""

from collections.abc import Iterable, Mapping, Sequence
from typing import NamedTuple

from faust.types import TP

from streams.doctor.finding import Finding, broken, ok, warning
from streams.doctor.logs import reading
from streams.kafka.histories import read_emitted
from streams.kafka.log_reader import LogRecord
from streams.kafka.positions import LogRange
from streams.laravel.fence import Fence
from streams.laravel.fence_positions import is_about
from streams.laravel.push import RedisJobQueue
from streams.laravel.redis_client import connect
from streams.settings import Settings

PART = "redis"
SHOWN = 4


class Fenced(NamedTuple):
    """A partition of metrics.unique and its fence."""

    fence: Fence | None
    log: LogRange
    record: LogRecord | None
    """Which stands at the fence; None if it did not come."""


async def examine_fences(settings: Settings) -> list[Finding]:
    """Compare the fences with the logs.

    Raises:
        Outage: Redis or Kafka does not answer.
        StartupRefused: the fence is another consumer group's.
        NewerFormat: a newer version wrote it.
    """
    redis = connect(settings.redis_url.get_secret_value())
    try:
        queue = RedisJobQueue.from_settings(redis, settings)
        fences = {n: (await queue.standing(n)).fence for n in range(settings.topic_partitions)}
    finally:
        await redis.aclose()
    tps = {n: TP(settings.unique_topic, n) for n in fences}
    async with reading(settings) as logs:
        ranges = (await logs.ends(tps.values())).ranges
        standing = {tps[n]: fence for n, fence in fences.items() if fence is not None and tps[n] in ranges}
        at = {tp: f.unique_offset for tp, f in standing.items() if _holds(ranges[tp], f.unique_offset)}
        records = await logs.read(at)
    found = {n: Fenced(fences[n], ranges[tp], records.get(tp)) for n, tp in tps.items() if tp in ranges}
    return list(of_fences(found, settings.unique_topic))


def _holds(log: LogRange, offset: int) -> bool:
    return log.start <= offset < log.end


def of_fences(found: Mapping[int, Fenced], topic: str) -> Iterable[Finding]:
    """Return what is to be said of the fences, by partition."""
    wrong = [n for n, each in found.items() if _is_wrong(n, each)]
    lost = [n for n, each in found.items() if each.fence is None and each.log.end > each.log.start]
    if wrong:
        which = _named(topic, wrong)
        seen = f"the fence is not about {which}: Kafka or Redis was set back, or a topic made anew"
        mend = "Let a worker run: it pushes again from the last place both have in common; rows stay single"
        yield broken(PART, seen, mend)
    if lost:
        seen = f"there is no fence for {_named(topic, lost)}: nothing shows what was pushed"
        mend = "So it is on a first start; else Redis lost it, and a worker pushes FENCE_LOST_REWIND_S again"
        yield warning(PART, seen, mend)
    if found and not wrong and not lost:
        behind = sum(each.log.end - each.fence.unique_offset - 1 for each in found.values() if each.fence)
        yield ok(PART, f"the fence fits {topic}; {behind:,} records are behind it")


def _is_wrong(partition: int, fenced: Fenced) -> bool:
    fence, log, record = fenced
    # What retention has removed can no longer be compared.
    if fence is None or fence.unique_offset < log.start:
        return False
    # A fence ahead of the log: Kafka was set back since the push.
    if fence.unique_offset >= log.end:
        return True
    emitted = None if record is None else read_emitted(record, partition)
    return record is not None and (emitted is None or not is_about(fence, emitted))


def _named(topic: str, partitions: Sequence[int]) -> str:
    names = ", ".join(f"{topic}[{n}]" for n in partitions[:SHOWN])
    return names + (f" and {len(partitions) - SHOWN} more" if len(partitions) > SHOWN else "")
