"""Runs the jobs of the queue: takes several, writes their rows at once, publishes, and settles each.

Between ``streams.laravel.reserve`` and ``streams.ingest.store``. A bad row fails its own job alone. An outage
fails no job: the reserved jobs go back to where they were, and the worker waits.
"""

from collections.abc import Callable, Sequence
from contextlib import suppress
from datetime import UTC, datetime
from enum import Enum

from streams.backoff import delays
from streams.counters import Statistics
from streams.errors import ForeignJob, MalformedRecord, Outage
from streams.ingest.batch import Batch
from streams.ingest.caution import Caution
from streams.ingest.failing import exhausted_message, is_exhausted
from streams.ingest.outage_wait import OutageWait
from streams.ingest.outcomes import Outcomes
from streams.ingest.predecessors import Predecessors
from streams.ingest.prepared_job import PreparedJob
from streams.ingest.reservations import Reservations
from streams.ingest.stoppable_store import StoppableStore
from streams.ingest.store import MetricStore
from streams.ingest.wait_limit import WaitLimit
from streams.laravel.job import CONNECTION, JOB_CLASS
from streams.laravel.reserve import ReservedJob, ReservingQueue

MAX_JOBS = 200
MAX_BYTES = 2 * 1024 * 1024
"""One turn: some 10,000 rows, a fraction of a second, and far from any job's retry after."""

WAIT_S = 1
"""How long delayed and expired jobs may wait beyond their time while nothing else happens."""


class Until(Enum):
    """When a worker ends by itself, as Laravel's does with ``--once`` and ``--stop-when-empty``."""

    STOPPED = "never"
    EMPTY = "nothing is due"
    ONE_JOB = "one job was run, or none was due"


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
        limit: how long it waits for parts that are away; by default for ever.
        caution: of the process, where it has several workers.
        clock: the time in UTC.
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
        limit: WaitLimit | None = None,
        caution: Caution | None = None,
        clock: Callable[[], datetime] = lambda: datetime.now(UTC),
    ) -> None:
        self._queue = queue
        self._statistics = statistics
        self._job_class = job_class
        self._until = until
        self._clock = clock
        self._max_jobs = 1 if until is Until.ONE_JOB else MAX_JOBS
        self._outage_wait = OutageWait(statistics, limit or WaitLimit())
        self._store = StoppableStore(store, self._outage_wait)
        self._caution = caution or Caution()
        self._predecessors = Predecessors(
            queue, self._caution, lambda: self._outage_wait.is_over, self._outage_wait.rest
        )
        self._reservations = Reservations(queue, self._outage_wait, statistics)
        self._outcomes = Outcomes(
            queue,
            self._store,
            self._reservations,
            self._outage_wait,
            queue_name=queue_name,
            queue_connection=queue_connection,
            delete_when_missing_models=delete_when_missing_models,
            clock=lambda: clock().timestamp(),
        )

    def stop(self) -> None:
        """End `run` after the reserved jobs, or at once where it waits for a part that is away."""
        self._outage_wait.stop()

    async def run(self) -> None:
        """Run jobs until `stop`, or until there is no more to do.

        Raises:
            ForeignJob: the queue holds a job of another class; it is where it was.
            NotFinished: nothing could be done for as long as the limit says.
        """
        try:
            await self._run()
        finally:
            # What could not be put back is the successor's to take. Else it need not look whether we live.
            if not self._reservations:
                with suppress(Outage):
                    await self._queue.hold_nothing()

    async def _run(self) -> None:
        waits = delays()
        while not self._outage_wait.is_over:
            try:
                taken = await self.turn()
                self._outage_wait.progressed()
                if self._has_done(taken):
                    return
                # Only where nothing was there: more may have come during the turn.
                if not taken:
                    await self._queue.wait(WAIT_S)
            except Outage as outage:
                self._outage_wait.is_away(outage)
                await self._outage_wait.pause(next(waits))
            else:
                waits = delays()

    async def turn(self) -> int:
        """Take what is there and settle it; return how many jobs that were."""
        await self._outage_wait.be_sure(self._check)
        taken = None
        while taken is None:
            if self._caution.is_needed:
                # Who waits for its turn holds nothing, and does not beat.
                await self._queue.hold_nothing()
            async with self._caution.turn() as alone:
                if self._outage_wait.is_over:
                    return 0
                taken = await self._take(alone=alone)
        return taken

    async def _take(self, *, alone: bool) -> int | None:
        """Take what is there and settle it; None if that must be done alone."""
        jobs = await self._queue.reserve(max_jobs=self._max_jobs, max_bytes=MAX_BYTES)
        self._outage_wait.redis_answers()
        self._caution.took(suspect=self._queue.holds_suspect, alone=alone)
        if jobs:
            async with self._reservations.holding(jobs):
                if self._queue.holds_suspect and not alone:
                    return None
                batch = Batch(self._queue, self._store, self._outcomes, self._statistics)
                try:
                    await self._run_jobs(jobs, batch)
                finally:
                    # In any case: also a turn that an outage ended tells how much there was time for.
                    self._learn(batch.too_many or len(jobs))
        return len(jobs)

    async def _check(self) -> None:
        """Return if jobs can be settled in both places, and those that came earlier are in front."""
        await self._queue.check()
        # While the store is away nobody is to take what we did not hear of for a dead one's.
        await self._predecessors.let_go()
        await self._store.check()
        await self._predecessors.settle()

    def _learn(self, too_many: int) -> None:
        """Take fewer jobs at once where there was no time for all, until there is."""
        if self._reservations and self._queue.is_late:
            self._max_jobs = max(1, too_many // 2)
        elif self._until is not Until.ONE_JOB:
            self._max_jobs = min(MAX_JOBS, self._max_jobs * 2)

    def _has_done(self, taken: int) -> bool:
        """Tell whether a turn that took so many jobs was the last one."""
        return self._until is Until.ONE_JOB or (self._until is Until.EMPTY and not taken)

    async def _run_jobs(self, jobs: Sequence[ReservedJob], batch: Batch) -> None:
        now = f"{self._clock():%Y-%m-%d %H:%M:%S.%f}"
        ready: list[PreparedJob] = []
        foreign: ForeignJob | None = None
        for reserved in jobs:
            try:
                taken = PreparedJob.read(reserved, job_class=self._job_class, now=now)
            except MalformedRecord as error:
                await self._outcomes.give_up(reserved, f"{type(error).__name__}: {error}")
            except ForeignJob as error:
                # What was taken with it, and lies behind it, goes back to the queue as it was.
                foreign = error
                break
            else:
                ready += await self._unless_exhausted(taken)
        await batch.run(ready)
        if foreign is not None:
            raise foreign

    async def _unless_exhausted(self, taken: PreparedJob) -> list[PreparedJob]:
        if not is_exhausted(taken.job, self._clock().timestamp()):
            return [taken]
        await self._outcomes.give_up(taken.reserved, exhausted_message(taken.job))
        return []
