"""What becomes of a reserved job: done, tried again, deleted, or given up.

By the rules of ``streams.ingest.failing``; each way ends in the queue, whose outage is waited out.
"""

import logging
from collections.abc import Awaitable, Callable, Sequence

from streams.counters import Count
from streams.errors import RowsDoubted, RowsLocked, RowsRefused
from streams.ingest.failing import FailedJob, next_try_s
from streams.ingest.outage_wait import OutageWait
from streams.ingest.prepared_job import PreparedJob
from streams.ingest.reservations import Reservations
from streams.ingest.store import MetricStore
from streams.laravel.reserve import ReservedJob, ReservingQueue

log = logging.getLogger(__name__)

ASIDE_S = 10
"""How long a job waits whose row is locked, or that cannot be kept in failed_jobs."""


class Outcomes:
    """Settles jobs in the queue and takes them off the reservations.

    Every method raises `Outage` where the store is away, or the queue when the worker was told to stop.

    Args:
        queue: where the jobs were taken.
        store: keeps those that are given up.
        reservations: those jobs.
        outage_wait: waits for a queue that is away.
        queue_name: the queue's name as ``failed_jobs`` records it.
        queue_connection: the connection's name as ``failed_jobs`` records it.
        delete_when_missing_models: whether the job's class says so, as Laravel before 13 asks it.
        clock: returns Unix time in seconds.
    """

    def __init__(
        self,
        queue: ReservingQueue,
        store: MetricStore,
        reservations: Reservations,
        outage_wait: OutageWait,
        *,
        queue_name: str,
        queue_connection: str,
        delete_when_missing_models: bool,
        clock: Callable[[], float],
    ) -> None:
        self._queue = queue
        self._store = store
        self._reservations = reservations
        self._outage_wait = outage_wait
        self._queue_name = queue_name
        self._queue_connection = queue_connection
        self._delete_when_missing_models = delete_when_missing_models
        self._clock = clock

    async def complete(self, jobs: Sequence[PreparedJob]) -> None:
        """Delete jobs whose rows are written, and publish what they announce."""
        done = [(taken.reserved, taken.publication) for taken in jobs]
        ours = await self._outage_wait.wait_out(lambda: self._queue.complete(done))
        self._reservations.settled([reserved for reserved, _ in done], Count.JOBS_DONE)
        if not all(ours):
            self._outage_wait.doubt()
            log.warning(
                "wrote the rows of %d jobs that this worker no longer holds: another took them, or Redis "
                "came back from an older copy. They are written and published again; rows with a dedupe id "
                "are not doubled. If this comes often, raise QUEUE_RETRY_AFTER_S",
                ours.count(False),
            )

    async def refused(self, taken: PreparedJob, refusal: RowsRefused) -> None:
        """Do with a job whose rows were refused what the refusal and its tries leave."""
        if isinstance(refusal, RowsLocked):
            await self._set_aside(taken.reserved)
            log.warning("job %s waits for %d s, and no try is used: %s", taken.job.uuid, ASIDE_S, refusal)
            return
        job = taken.job
        if refusal.for_good and (self._delete_when_missing_models or job.delete_when_missing_models):
            await self._drop(taken, refusal)
            return
        delay_s = None if refusal.for_good else next_try_s(job, self._clock())
        if delay_s is None:
            await self.give_up(taken.reserved, str(refusal))
            return
        await self._try_again(taken, refusal, delay_s)

    async def give_up(self, reserved: ReservedJob, why: str) -> None:
        """Move a job to ``failed_jobs``."""
        failed = FailedJob.of(reserved.payload, self._queue_name, why, self._queue_connection)
        await self._queue.confirm()
        try:
            await self._store.fail(failed)
        except (RowsRefused, RowsDoubted) as refusal:
            await self._keep(reserved, failed.uuid, why, refusal)
            return
        await self._settle(reserved, Count.JOBS_FAILED, lambda: self._queue.delete(reserved))
        log.error("gave up job %s and moved it to the table failed_jobs: %s", failed.uuid, why)

    async def _keep(
        self, reserved: ReservedJob, uuid: str, why: str, refusal: RowsRefused | RowsDoubted
    ) -> None:
        """Let a job wait that has failed, but that failed_jobs does not take: it must hold up no other."""
        await self._set_aside(reserved)
        log.error(
            "job %s has failed, but the table failed_jobs does not accept it. It is tried again in %d s, and "
            "no try is used: %s; why it failed: %s",
            uuid,
            ASIDE_S,
            refusal,
            why,
        )

    async def _set_aside(self, reserved: ReservedJob) -> None:
        """Let a job wait that cannot be run now: at the front it would hold up all others."""
        await self._settle(
            reserved, Count.JOBS_RELEASED, lambda: self._queue.release(reserved, ASIDE_S, counted=False)
        )

    async def _drop(self, taken: PreparedJob, refusal: RowsRefused) -> None:
        await self._settle(taken.reserved, Count.JOBS_DONE, lambda: self._queue.delete(taken.reserved))
        log.info("deleted job %s (deleteWhenMissingModels): %s", taken.job.uuid, refusal)

    async def _try_again(self, taken: PreparedJob, refusal: RowsRefused, delay_s: int) -> None:
        ours = await self._settle(
            taken.reserved, Count.JOBS_RELEASED, lambda: self._queue.release(taken.reserved, delay_s)
        )
        if not ours:
            log.warning("job %s failed here, but another worker has it by now: %s", taken.job.uuid, refusal)
            return
        log.warning(
            "job %s failed at attempt %d and is tried again in %d s: %s",
            taken.job.uuid,
            taken.job.attempts + 1,
            delay_s,
            refusal,
        )

    async def _settle(self, reserved: ReservedJob, how: Count, settle: Callable[[], Awaitable[bool]]) -> bool:
        """Settle a job in the queue; return whether it was still ours. If not, we look who holds what."""
        ours = await self._outage_wait.wait_out(settle)
        self._reservations.settled([reserved], how)
        if not ours:
            self._outage_wait.doubt()
        return ours
