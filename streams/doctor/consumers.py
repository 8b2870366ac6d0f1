"""Looks whether anyone works the job queue, ingest or a Laravel worker: by watching it for a moment.

Laravel's workers leave no trace in Redis but what they take. So the queue is looked at twice, and the
reservations tell when a job was taken last.
"""

import asyncio
import time
from collections.abc import Iterable
from datetime import UTC, datetime
from typing import NamedTuple

from redis.asyncio import Redis
from redis.exceptions import RedisError

from streams.doctor.finding import Finding, broken, ok, warning
from streams.errors import MetricStreamsError
from streams.laravel.job import decode_job, pushed_at_s
from streams.laravel.redis_client import connect
from streams.laravel.redis_keys import QueueKeys
from streams.laravel.redis_outages import answered
from streams.laravel.reserve import Backlog, ReservingQueue
from streams.settings import Settings

PART = "queue"
WATCHED_S = 2.0
OLD_S = 60.0
"""A job that has waited for so long is worth a warning although somebody works."""
MOST_CLIENTS = 10_000


class QueueGlance(NamedTuple):
    """The queue at one moment."""

    backlog: Backlog
    front: bytes | None
    last_taken_s: float | None
    """The Unix time at which the job was taken that was taken last, of those that are not settled."""


class QueueWatch(NamedTuple):
    """The queue at two moments."""

    before: QueueGlance
    after: QueueGlance
    waiting_clients: int
    """Connections that wait for a job of some queue; ingest's does, and Laravel's with ``block_for``."""
    now_s: float

    @property
    def is_worked(self) -> bool:
        """Whether somebody took a job, or holds one."""
        held = self.after.backlog.reserved > 0 and self.after.last_taken_s is not None
        return held or self.before.front != self.after.front or self.fewer

    @property
    def fewer(self) -> bool:
        """Whether jobs have gone."""
        return self.after.backlog.waiting < self.before.backlog.waiting


async def examine_consumers(settings: Settings) -> list[Finding]:
    """Watch the queue.

    Raises:
        Outage: Redis does not answer.
    """
    redis = connect(settings.redis_url.get_secret_value())
    try:
        before = await _glance(redis, settings)
        if before.backlog.due:
            await asyncio.sleep(WATCHED_S)
        watched = QueueWatch(
            before, await _glance(redis, settings), await _waiting_clients(redis), time.time()
        )
        return list(of_queue(watched, settings.queue_name, settings.job_class))
    finally:
        await redis.aclose()


async def _glance(redis: Redis, settings: Settings) -> QueueGlance:
    queue = ReservingQueue.from_settings(redis, settings)
    reserved = QueueKeys.of(settings.queue_prefix, settings.queue_name).reserved
    newest = await answered(redis.zrevrange(reserved, 0, 0, withscores=True))
    expires_s = float(newest[0][1]) if newest else 0.0
    # What has expired tells of a worker that died.
    taken_s = expires_s - settings.queue_retry_after_s if expires_s > time.time() else None
    return QueueGlance(await queue.backlog(), await queue.front(), taken_s)


async def _waiting_clients(redis: Redis) -> int:
    try:
        clients = await redis.client_list()
    except RedisError:
        return 0
    return sum(client.get("cmd") == "blpop" for client in clients[:MOST_CLIENTS])


def of_queue(watched: QueueWatch, queue: str, job_class: str) -> Iterable[Finding]:
    """Return what is to be said of who works the queue."""
    now = watched.after
    if not now.backlog.due:
        yield ok(PART, f"no job is due{_who_waits(watched)}{_held(watched)}")
        return
    oldest_s = waiting_since_s(now.front, job_class)
    since = "" if oldest_s is None else f", the oldest since {_shown(oldest_s)}"
    seen = f"{now.backlog.due:,} job{'s are' if now.backlog.due != 1 else ' is'} due{since}"
    if not watched.is_worked:
        mend = (
            f"Start what runs them: metric-streams ingest, or php artisan queue:work redis --queue={queue}; "
            "if one runs, see its log"
        )
        yield broken(
            PART, f"nobody works the queue {queue}: {seen}, and none was taken in {WATCHED_S:g} s", mend
        )
    elif oldest_s is not None and watched.now_s - oldest_s > OLD_S:
        yield warning(PART, f"{seen}; they are worked{_held(watched)}", "Let more workers run them")
    else:
        yield ok(PART, f"{seen}; they are worked{_held(watched)}")


def waiting_since_s(front: bytes | None, job_class: str) -> float | None:
    """Return the Unix time since when a job waits, or of its newest reading; None if nothing tells."""
    if front is None:
        return None
    if (pushed_s := pushed_at_s(front)) is not None:
        return pushed_s
    try:
        times = [metric.timestamp for metric in decode_job(front, job_class=job_class).metrics]
        return max(datetime.fromisoformat(str(each)).replace(tzinfo=UTC).timestamp() for each in times)
    except (MetricStreamsError, ValueError, OverflowError):
        return None


def _held(watched: QueueWatch) -> str:
    held = watched.after.backlog.reserved
    taken_s = watched.after.last_taken_s
    return f"; {held:,} in hand, the last taken at {_shown(taken_s)}" if held and taken_s is not None else ""


def _who_waits(watched: QueueWatch) -> str:
    count = watched.waiting_clients
    return f"; {count} worker{'s wait' if count != 1 else ' waits'} for one" if count else ""


def _shown(unix_s: float) -> str:
    return datetime.fromtimestamp(unix_s, UTC).strftime("%Y-%m-%d %H:%M:%SZ")
