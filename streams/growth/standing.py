"""Whether nothing is left to be done: nobody works, and what Kafka holds was refined and handed off.

Were a tenant to move while messages of it are unread in its former partition, newer ones would overtake them.
What is done is told by the effects: refine's last decision, the fence in Redis, and what the group has
committed of metrics.raw, which it does once all that was decided on is emitted.
"""

from collections.abc import Mapping

from faust.types import TP

from streams.errors import MetricStreamsError
from streams.kafka.admin import committed_offsets
from streams.kafka.group import KafkaGroup
from streams.kafka.histories import TAIL_RECORDS, Histories
from streams.kafka.log_reader import KafkaLogReader
from streams.kafka.positions import LogRange
from streams.laravel.fence import Fence
from streams.laravel.push import RedisJobQueue
from streams.laravel.redis_client import connect
from streams.settings import Settings

Decided = Mapping[int, int | None]
"""By partition the raw offset that was decided on last."""


async def check_idle(settings: Settings, decided: Decided) -> None:
    """Return if no worker runs and nothing is left to be done.

    Raises:
        MetricStreamsError: otherwise, with the mend.
        Outage: Kafka or Redis does not answer.
        StartupRefused: the fence is another consumer group's.
    """
    await check_nobody_works(settings)
    if behind := {topic: lag for topic, lag in (await lag_of(settings, decided)).items() if lag}:
        told = " and ".join(f"{lag:,} records of {topic}" for topic, lag in behind.items())
        raise MetricStreamsError(
            f"{told} are not handled yet, and would be overtaken by what their tenants send next. Let them "
            "be handled, without new ones from MQTT: metric-streams worker --drain; then run this again"
        )


async def check_nobody_works(settings: Settings) -> None:
    """Return if the consumer group has no member.

    Raises:
        MetricStreamsError: it has, or the broker does not tell.
        Outage: Kafka does not answer.
    """
    if members := await count_workers(settings):
        are = "workers are" if members > 1 else "worker is"
        raise MetricStreamsError(
            f"{members} {are} in the group {settings.consumer_group}: stop all workers, the broker keeps "
            f"what devices publish. One that was killed leaves within {settings.consumer_session_s:g} s"
        )


async def count_workers(settings: Settings) -> int:
    """Return how many members the consumer group has.

    Raises:
        MetricStreamsError: the broker does not tell.
        Outage: Kafka does not answer.
    """
    group = KafkaGroup(settings, [settings.raw_topic, settings.unique_topic])
    try:
        standing = await group.standing()
    finally:
        await group.close()
    if standing is None:
        name = settings.consumer_group
        raise MetricStreamsError(f"Kafka does not describe the group {name}: it may have workers or not")
    return standing.members


async def lag_of(settings: Settings, decided: Decided) -> dict[str, int]:
    """Return by topic how many records are still to be handled.

    Raises:
        Outage: Kafka or Redis does not answer.
        StartupRefused: the fence is another consumer group's.
    """
    committed = await committed_offsets(settings)
    redis, reader = connect(settings.redis_url.get_secret_value()), KafkaLogReader(settings)
    histories = Histories(reader, raw_topic=settings.raw_topic, unique_topic=settings.unique_topic)
    queue = RedisJobQueue.from_settings(redis, settings)
    raw = unique = 0
    try:
        for partition in range(settings.topic_partitions):
            emitted = committed.get(TP(settings.raw_topic, partition), 0)
            raw += raw_lag(await histories.raw_range(partition), decided.get(partition), emitted)
            fence = (await queue.standing(partition)).fence
            unique += await _unique_lag(histories, partition, fence)
    finally:
        await reader.stop()
        await redis.aclose()
    return {settings.raw_topic: raw, settings.unique_topic: unique}


def raw_lag(log: LogRange, decided: int | None, emitted: int) -> int:
    """Return how many records of a partition of metrics.raw are still to be refined.

    Args:
        log: what it holds.
        decided: the offset that was decided on last; None where none was.
        emitted: up to where the group has committed.
    """
    done = min(emitted, log.start if decided is None else decided + 1)
    if done > log.end:  # another log than the one that was decided on: refine has to go back
        return max(1, log.end - log.start)
    return log.end - max(done, log.start)


async def _unique_lag(histories: Histories, partition: int, fence: Fence | None) -> int:
    log = await histories.unique_range(partition)
    pushed = log.start if fence is None else max(log.start, fence.unique_offset + 1)
    if pushed > log.end:  # likewise: handoff has to go back
        return max(1, log.end - log.start)
    if log.end - pushed > TAIL_RECORDS:
        return log.end - pushed
    # A record that is no chunk of ours is passed over, and the fence stays before it.
    found = await histories.emitted(partition, log.end, count=log.end - pushed)
    return sum(emitted.offset >= pushed for emitted in found)
