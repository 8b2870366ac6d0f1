"""Runs the jobs of the queue: takes several, writes their rows at once, publishes, and settles each.

Between ``streams.queue.reserve`` and ``streams.ingest.store``. A bad row fails its own job alone. An outage
fails no job: the jobs at hand go back to where they were, and the worker waits.
"""

import asyncio
import logging
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager, suppress
from datetime import UTC, datetime
from enum import Enum
from typing import NamedTuple, TypeVar

from streams.backoff import delays
from streams.errors import ForeignJob, MalformedRecord, Outage, RowsLocked, RowsRefused
from streams.ingest.failing import FailedJob, exhausted_message, is_exhausted, next_try_s
from streams.ingest.rows import stamped
from streams.ingest.store import MetricStore
from streams.queue.reserve import Publication, ReservedJob, ReservingQueue
from streams.statistics import Statistics
from streams.wire import publication
from streams.wire.job import CONNECTION, JOB_CLASS, Job, decode_job

log = logging.getLogger(__name__)

MAX_JOBS = 200
MAX_BYTES = 2 * 1024 * 1024
"""One turn: some 10,000 rows, a fraction of a second, and far from any job's retry after."""

WAIT_S = 1
"""How long delayed and expired jobs may wait beyond their time while nothing else happens."""

ASIDE_S = 10
"""How long a job waits whose row is locked."""

T = TypeVar("T")


class Until(Enum):
    """When a worker ends by itself, as Laravel's does with ``--once`` and ``--stop-when-empty``."""

    STOPPED = "never"
    EMPTY = "nothing is due"
    ONE_JOB = "one job was run, or none was due"


class Taken(NamedTuple):
    """A job at hand that can be read."""

    reserved: ReservedJob
    job: Job
    publication: Publication


class IngestWorker:
    """Runs jobs until it is told to stop, or until what it was made for is done.

    Args:
        queue: where jobs come from.
        store: where rows go.
        queue_name: the queue's name as ``failed_jobs`` records it.
        statistics: counts ``ingested`` rows and ``jobs_done``, ``jobs_released`` and ``jobs_failed``.
        job_class: of the jobs that it runs.
        queue_connection: the connection's name as ``failed_jobs`` records it.
        delete_when_missing_models: whether the job's class says so, as Laravel before 13 asks it.
        until: when it ends by itself.
        clock: the time in UTC, for metrics without a timestamp.
    """

    def __init__(
        self,
        queue: ReservingQueue,
        store: MetricStore,
        *,
        queue_name: str,
        statistics: Statistics,
        job_class: str = JOB_CLASS,
        queue_connection: str = CONNECTION,
        delete_when_missing_models: bool = False,
        until: Until = Until.STOPPED,
        clock: Callable[[], datetime] = lambda: datetime.now(UTC),
    ) -> None:
        self._queue = queue
        self._store = store
        self._queue_name = queue_name
        self._statistics = statistics
        self._job_class = job_class
        self._queue_connection = queue_connection
        self._delete_when_missing_models = delete_when_missing_models
        self._until = until
        self._clock = clock
        self._held: dict[ReservedJob, None] = {}
        self._store_checked = False
        self._max_jobs = 1 if until is Until.ONE_JOB else MAX_JOBS
        self._stopping = asyncio.Event()

    def stop(self) -> None:
        """End `run` after the jobs at hand, or at once where it waits for a part that is away."""
        self._stopping.set()

    async def run(self) -> None:
        """Run jobs until `stop`, or until there is no more to do.

        Raises:
            ForeignJob: the queue holds a job of another class; it is where it was.
        """
        waits = delays()
        while not self._stopping.is_set():
            try:
                taken = await self.turn()
                if self._has_done(taken):
                    return
                if not taken:
                    await self._queue.wait(WAIT_S)
            except Outage as outage:
                self._is_away(outage)
                await self._pause(next(waits))
            else:
                waits = delays()

    async def turn(self) -> int:
        """Take what is there and settle it; return how many jobs that were."""
        if not self._store_checked:
            await self._store.check()
            self._store_checked = True
        jobs = await self._queue.reserve(max_jobs=self._max_jobs, max_bytes=MAX_BYTES)
        self._redis_answers()
        if jobs:
            async with self._holding(jobs):
                await self._run_jobs(jobs)
                self._learn(len(jobs))
        return len(jobs)

    def _learn(self, taken: int) -> None:
        """Take fewer jobs at once where there was no time for all, until there is."""
        if self._held:
            self._max_jobs = max(1, taken // 2)
        elif self._until is not Until.ONE_JOB:
            self._max_jobs = min(MAX_JOBS, self._max_jobs * 2)

    def _has_done(self, taken: int) -> bool:
        """Tell whether a turn that took so many jobs was the last one."""
        return self._until is Until.ONE_JOB or (self._until is Until.EMPTY and not taken)

    @asynccontextmanager
    async def _holding(self, jobs: Sequence[ReservedJob]) -> AsyncIterator[None]:
        """Put back whatever the block has not settled, whyever it ends: no attempt is burnt."""
        self._held = dict.fromkeys(jobs)
        try:
            yield
        finally:
            if self._held:
                await self._put_back(list(self._held))

    async def _put_back(self, jobs: Sequence[ReservedJob]) -> None:
        returned = await self._patiently(lambda: self._queue.put_back(jobs))
        log.info("%d jobs are back at the front of the queue, as they were", returned)
        self._held.clear()

    async def _run_jobs(self, jobs: Sequence[ReservedJob]) -> None:
        now = f"{self._clock():%Y-%m-%d %H:%M:%S.%f}"
        ready: list[Taken] = []
        foreign: ForeignJob | None = None
        for reserved in jobs:
            try:
                taken = self._read(reserved, now)
            except MalformedRecord as error:
                await self._give_up(reserved, f"{type(error).__name__}: {error}")
            except ForeignJob as error:
                foreign = error
                break
            else:
                ready += await self._unless_exhausted(taken)
        await self._settle(ready)
        if foreign is not None:
            raise foreign

    async def _unless_exhausted(self, taken: Taken) -> list[Taken]:
        if not is_exhausted(taken.job):
            return [taken]
        await self._give_up(taken.reserved, exhausted_message(taken.job))
        return []

    async def _settle(self, jobs: Sequence[Taken]) -> None:
        """Write jobs together; where that is refused, halves of them, until the bad ones stand alone.

        What there is no time for goes back: done late, it would be done twice, and an attempt lost.
        """
        if not jobs or self._queue.is_late:
            return
        try:
            rows = await self._store.write([taken.job for taken in jobs])
        except RowsRefused as refusal:
            if len(jobs) == 1:
                settle = self._set_aside if isinstance(refusal, RowsLocked) else self._refused
                await settle(jobs[0], refusal)
                return
            middle = len(jobs) // 2
            await self._settle(jobs[:middle])
            await self._settle(jobs[middle:])
        else:
            self._statistics.messages["ingested"] += rows
            await self._complete(jobs)

    async def _complete(self, jobs: Sequence[Taken]) -> None:
        done = [(taken.reserved, taken.publication) for taken in jobs]
        ours = await self._patiently(lambda: self._queue.complete(done))
        self._settled([reserved for reserved, _ in done], "jobs_done")
        if not all(ours):
            log.warning(
                "%d jobs were written, but are no longer reserved by this worker: whoever took them writes "
                "and publishes them again. Rows with a dedupe id are not doubled",
                ours.count(False),
            )

    async def _set_aside(self, taken: Taken, refusal: RowsRefused) -> None:
        """Let a job wait that cannot be run now: at the front it would hold up all others."""
        await self._patiently(lambda: self._queue.release(taken.reserved, ASIDE_S, counted=False))
        self._settled([taken.reserved], "jobs_released")
        log.warning("job %s waits for %d s, no try used: %s", taken.job.uuid, ASIDE_S, refusal)

    async def _refused(self, taken: Taken, refusal: RowsRefused) -> None:
        job = taken.job
        if refusal.for_good and (self._delete_when_missing_models or job.delete_when_missing_models):
            await self._drop(taken, refusal)
            return
        delay_s = None if refusal.for_good else next_try_s(job)
        if delay_s is None:
            await self._give_up(taken.reserved, str(refusal))
            return
        ours = await self._patiently(lambda: self._queue.release(taken.reserved, delay_s))
        self._settled([taken.reserved], "jobs_released")
        if not ours:
            log.warning("job %s failed, but is another worker's by now: %s", taken.job.uuid, refusal)
            return
        log.warning(
            "job %s failed at attempt %d and is tried again in %d s: %s",
            job.uuid,
            job.attempts + 1,
            delay_s,
            refusal,
        )

    async def _drop(self, taken: Taken, refusal: RowsRefused) -> None:
        await self._patiently(lambda: self._queue.delete(taken.reserved))
        self._settled([taken.reserved], "jobs_done")
        log.info("job %s is deleted (deleteWhenMissingModels): %s", taken.job.uuid, refusal)

    async def _give_up(self, reserved: ReservedJob, why: str) -> None:
        failed = FailedJob.of(reserved.payload, self._queue_name, why, self._queue_connection)
        await self._store.fail(failed)
        await self._patiently(lambda: self._queue.delete(reserved))
        self._settled([reserved], "jobs_failed")
        log.error("job %s is given up and now in the table failed_jobs: %s", failed.uuid, why)

    def _settled(self, jobs: Sequence[ReservedJob], how: str) -> None:
        self._statistics.messages[how] += len(jobs)
        for job in jobs:
            self._held.pop(job, None)

    async def _patiently(self, action: Callable[[], Awaitable[T]]) -> T:
        """Do what must still be done in Redis, waiting out its outage; give in only when told to stop.

        Raises:
            Outage: told to stop. What is still reserved comes back to the queue by its retry after.
        """
        for delay_s in delays():
            try:
                answer = await action()
            except Outage as outage:
                self._is_away(outage)
                if self._stopping.is_set():
                    raise
                await self._pause(delay_s)
            else:
                self._redis_answers()
                return answer
        raise AssertionError("delays never end")

    async def _pause(self, delay_s: float) -> None:
        with suppress(TimeoutError):
            await asyncio.wait_for(self._stopping.wait(), delay_s)

    def _is_away(self, outage: Outage) -> None:
        self._store_checked = False
        if self._statistics.set_part(outage.part, up=False, detail=str(outage)):
            log.warning("%s; no job is lost, waiting until it answers", outage)

    def _redis_answers(self) -> None:
        if self._statistics.set_part("redis", up=True):
            log.info("redis answers")

    def _read(self, reserved: ReservedJob, now: str) -> Taken:
        """Read a job and prepare all that it needs.

        Raises:
            MalformedRecord: it cannot be read.
            ForeignJob: it is not ours to run.
        """
        job = stamped(decode_job(reserved.payload, job_class=self._job_class), now)
        message = publication.encode(job.metrics)
        return Taken(reserved, job, Publication(f"tenant.{job.tenant_id}.metrics", message))
