r"""Takes jobs from the Laravel queue and settles them, by the protocol of Laravel's own workers.

Between Redis and ``streams.ingest``. What each step does is read from ``Illuminate\Queue\RedisQueue`` and
``LuaScripts`` (8.83): a pop moves due jobs of ``:delayed`` and ``:reserved`` back to the list, takes the
first, raises its ``attempts`` through cjson, and keeps that copy in ``:reserved`` until now + retry after.
Workers of both kinds can share a queue, and either can die: the other gets its jobs back.
"""

import secrets
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import NamedTuple, Self

from redis.asyncio import Redis

from streams.errors import Outage
from streams.laravel.marks import Mark
from streams.laravel.redis_health import ingest_health
from streams.laravel.redis_keys import QueueKeys
from streams.laravel.redis_outages import answered
from streams.laravel.scripts import script
from streams.settings import Settings


def due(now_s: float, delay_s: int) -> str:
    """Return the score at which a job is due, in Unix seconds.

    Laravel writes the whole second, and compares with whole seconds. A fraction that rounds up to it is
    due at the same time, and keeps jobs in order that would else be sorted by their bytes.

    >>> due(1_800_000_000.25, 10)
    '1800000009.250001'
    """
    return f"{now_s + delay_s - 1 + 1e-6:.6f}"


FORGOTTEN = (
    "what this worker held is not as it left it: Redis came back from an older copy, an answer was lost, or "
    "another ingest took this one for dead. It looks again who holds what"
)


def process_id() -> str:
    """Return a name that no other process has, and that its workers share: they die together."""
    return secrets.token_hex(8)


class ReservedJob(NamedTuple):
    """A job that this worker holds until it settles it or its time has passed."""

    payload: bytes
    """As it was in the list: what a worker reads and what goes into failed_jobs."""
    reserved: bytes
    """As it is in ``:reserved``: what settles it."""
    place: bytes
    """Its score there. At another place it is another worker's, who took it since."""


class Broadcast(NamedTuple):
    """What is published when a job is done."""

    channel: str
    """Without the prefix."""
    message: bytes


class Backlog(NamedTuple):
    """How many jobs a queue holds."""

    waiting: int
    """In the list."""
    delayed: int
    """To be tried again later; those whose time has come among them."""
    reserved: int
    """In the hands of a worker; those whose time is over among them."""
    due: int
    """The lag: what could be taken now."""


class ReservingQueue:
    """A Laravel queue as its workers see it. Every method raises `Outage` when Redis does not answer.

    Args:
        redis: a client that does not retry by itself: a script whose answer was lost may have run.
        prefix: Laravel's key prefix, which stands before channels too.
        queue: the queue's name.
        retry_after_s: seconds after which a job that was not settled goes to another worker.
        clock: Unix time in seconds; all workers of a queue should agree on it.
        process: of which this worker is one; by default it is the only one.

    Attributes:
        holds_suspect: whether the job that was reserved last may have ended a worker before. It comes alone.
    """

    def __init__(
        self,
        redis: Redis,
        *,
        prefix: str,
        queue: str,
        retry_after_s: int,
        clock: Callable[[], float] = time.time,
        process: str | None = None,
    ) -> None:
        self._redis = redis
        self._prefix = prefix
        self._retry_after_s = retry_after_s
        self._clock = clock
        self._list, self._delayed, self._reserved, self._notify, self._held = QueueKeys.of(prefix, queue)
        self._holder = f"{process or process_id()}{secrets.token_hex(8)}".encode()
        self._mark = b""
        self._woken = 0
        self._reserved_at = 0.0
        self.holds_suspect = False
        self._health = ingest_health(redis, prefix, queue)
        self._reserve, self._complete, self._delete, self._release, self._put_back = (
            redis.register_script(script("held", name))
            for name in ("reserve", "complete", "delete", "release", "put_back")
        )
        self._take_back, self._beat, self._leave = (
            redis.register_script(script("held", name)) for name in ("take_back", "beat", "leave")
        )

    @classmethod
    def from_settings(cls, redis: Redis, settings: Settings, process: str | None = None) -> Self:
        """Build the queue that handoff writes to, for a worker of this process."""
        return cls(
            redis,
            prefix=settings.queue_prefix,
            queue=settings.queue_name,
            retry_after_s=settings.queue_retry_after_s,
            process=process,
        )

    async def reserve(self, *, max_jobs: int, max_bytes: int) -> list[ReservedJob]:
        """Take jobs from the front, in order: at most `max_jobs` and `max_bytes`, but one in any case.

        Raises:
            Outage: Redis does not answer, or what this worker held before is not as it left it.
        """
        self._reserved_at = self._clock()
        # Whole seconds: Laravel compares with PHP's time().
        now = int(self._reserved_at)
        expires = due(self._reserved_at, self._retry_after_s)
        answer = await answered(
            self._reserve(
                keys=[self._list, self._delayed, self._reserved, self._notify, self._held],
                args=[now, expires, max_jobs, max_bytes, self._woken, self._holder, self._mark],
            )
        )
        if answer is None:
            raise Outage("redis", FORGOTTEN)
        self._woken = 0
        self._mark, taken, suspect = answer
        self.holds_suspect = bool(suspect)
        return [ReservedJob(*each) for each in taken]

    @property
    def is_late(self) -> bool:
        """Whether nothing new should be begun with the jobs reserved last: they will soon be another's."""
        # Half of it, so that what was begun just before has as long again to be written and settled.
        return self._clock() - self._reserved_at >= self._retry_after_s / 2

    async def wait(self, timeout_s: float) -> None:
        """Return when there may be a job, at the latest after `timeout_s`.

        Delayed and expired jobs announce themselves only to those who reserve, so the wait should be short.
        """
        if await answered(self._redis.blpop([self._notify], timeout=timeout_s)):
            # BLPOP has taken one announcement off `:notify`, so the script is to take one less.
            self._woken = 1

    async def complete(self, done: Iterable[tuple[ReservedJob, Broadcast]]) -> list[bool]:
        """Delete jobs and publish what they announce, in one step.

        Returns:
            Which of them were still ours. Of the others nothing was published: another worker has taken them.
        """
        arguments = [part for job, publication in done for part in self._announced(job, publication)]
        return [bool(ours) for ours in await answered(self._complete(keys=[self._reserved], args=arguments))]

    async def delete(self, job: ReservedJob) -> bool:
        """Delete a job; return whether it was still ours."""
        deleted = self._delete(keys=[self._reserved], args=[job.reserved, job.place])
        return bool(await answered(deleted))

    async def release(self, job: ReservedJob, delay_s: int, *, counted: bool = True) -> bool:
        """Let a job be tried again after a delay; return whether it was still ours.

        Args:
            job: what was reserved.
            delay_s: until it is due.
            counted: whether this was an attempt.
        """
        available_at = due(self._clock(), delay_s)
        left = job.reserved if counted else job.payload
        keys = [self._reserved, self._delayed]
        released = self._release(keys=keys, args=[job.reserved, job.place, available_at, left])
        return bool(await answered(released))

    async def put_back(self, jobs: Sequence[ReservedJob]) -> int:
        """Undo the reservation: back to the front in their old order, bytes and attempts as before.

        Returns:
            How many were still ours to put back.
        """
        arguments = [part for job in jobs for part in (job.reserved, job.place, job.payload)]
        keys = [self._reserved, self._list, self._notify, self._held]
        returned = int(await answered(self._put_back(keys=keys, args=[self._mark, *arguments])))
        self._mark = b""
        return returned

    async def holders(self) -> dict[Mark, float]:
        """Return the marks of all that hold jobs, or died while they did, with the beats of each.

        What is no mark is another program's, and left alone.
        """
        found = await answered(self._redis.zrangebyscore(self._held, "-inf", "+inf", withscores=True))
        marks = ((Mark.read(text), beats) for text, beats in found)
        return {mark: beats for mark, beats in marks if mark is not None}

    def is_ours(self, mark: Mark) -> bool:
        """Tell whether a mark is this worker's."""
        return mark.holder == self._holder

    async def beat(self) -> bool:
        """Show that we live and work on what we hold. Due every second while we hold jobs.

        Returns:
            Whether our mark is still there.
        """
        return not self._mark or await answered(self._beat(keys=[self._held], args=[self._mark])) is not None

    async def confirm(self) -> None:
        """Return if what we hold is still ours.

        Raises:
            Outage: it is not, or Redis does not answer.
        """
        if not await self.beat():
            raise Outage("redis", FORGOTTEN)

    async def hold_nothing(self) -> None:
        """Take our mark away: nobody need wait for us. It stays if Redis forgot that a job was done."""
        if self._mark:
            await answered(self._leave(keys=[self._reserved, self._held], args=[self._mark]))
            self._mark = b""

    async def take_back(self, left: Mapping[Mark, float]) -> int:
        """Put what holders will not settle any more back to the front in its old order.

        A try is used where another process held a single job in all, which may have ended it. Of several
        nobody knows which one did: they are suspects from now on, and taken alone. What this process held
        itself has not ended it.

        Args:
            left: the marks, with the beats of each as they were seen last. Who has more by now lives.

        Returns:
            How many jobs there were.
        """
        if not left:
            return 0
        # What was taken last goes back first, so that what was taken first ends in front.
        marks = sorted(left, key=lambda mark: mark.taken_at, reverse=True)
        arguments = [part for mark in marks for part in (mark.text, left[mark])]
        keys = [self._reserved, self._list, self._notify, self._held]
        return int(await answered(self._take_back(keys=keys, args=[self._holder, *arguments])))

    async def backlog(self) -> Backlog:
        """Count the jobs, all at the same moment."""
        now = int(self._clock())
        async with self._redis.pipeline(transaction=True) as counts:
            counts.llen(self._list)
            for later in (self._delayed, self._reserved):
                counts.zcard(later)
                counts.zcount(later, "-inf", now)
            waiting, delayed, due, reserved, expired = await answered(counts.execute())
        return Backlog(waiting, delayed, reserved, waiting + due + expired)

    async def front(self) -> bytes | None:
        """Return the job that is taken next, which stays where it is; None where none waits in the list."""
        front: bytes | None = await answered(self._redis.lindex(self._list, 0))
        return front

    async def check(self) -> None:
        """Return if jobs can be taken and settled: Redis takes writes, and grants every right."""
        await self._health.check()

    def _announced(self, job: ReservedJob, publication: Broadcast) -> Iterator[bytes | str]:
        yield job.reserved
        yield job.place
        yield self._prefix + publication.channel
        yield publication.message
