"""The jobs that a worker has reserved and not settled yet."""

import logging
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager

from streams.counters import Count, Statistics
from streams.ingest.outage_wait import OutageWait
from streams.laravel.reserve import ReservedJob, ReservingQueue

log = logging.getLogger(__name__)


class Reservations:
    """Knows which they are, and puts back what is left of them.

    Args:
        queue: where they come from.
        outage_wait: waits for a queue that is away.
        statistics: counts them once they are settled.
    """

    def __init__(self, queue: ReservingQueue, outage_wait: OutageWait, statistics: Statistics) -> None:
        self._queue = queue
        self._outage_wait = outage_wait
        self._statistics = statistics
        self._held: dict[ReservedJob, None] = {}

    def __bool__(self) -> bool:
        """Tell whether any is left."""
        return bool(self._held)

    @asynccontextmanager
    async def holding(self, jobs: Sequence[ReservedJob]) -> AsyncIterator[None]:
        """Put back what the block has not settled, for whatever reason it ends: no try is used."""
        self._held = dict.fromkeys(jobs)
        self._statistics.messages[Count.JOBS_TAKEN] += len(jobs)
        try:
            yield
        finally:
            if self._held:
                # By an error, a cancellation, or because there was no time left for them.
                left = list(self._held)
                try:
                    await self._put_back(left)
                finally:
                    self._statistics.messages[Count.JOBS_RETURNED] += len(left)

    def settled(self, jobs: Sequence[ReservedJob], how: Count) -> None:
        """Take in what became of some of them."""
        self._statistics.messages[how] += len(jobs)
        for job in jobs:
            self._held.pop(job, None)

    async def _put_back(self, jobs: Sequence[ReservedJob]) -> None:
        returned = await self._outage_wait.wait_out(lambda: self._queue.put_back(jobs))
        log.info("put %d jobs back at the front of the queue, unchanged", returned)
        self._held.clear()
