"""The jobs that a worker has reserved and not settled yet."""

import asyncio
import logging
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager

from streams.counters import Count, Statistics
from streams.errors import MetricStreamsError, Outage
from streams.ingest.outage_wait import OutageWait
from streams.laravel.reserve import ReservedJob, ReservingQueue
from streams.tasks import ended_well

log = logging.getLogger(__name__)

BEAT_EVERY_S = 1.0


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
        """Put back what the block has not settled: no try is used.

        Unless a bug ends it, which one of them may bring about. Then they stay reserved, with the mark of who
        held them: whoever comes after does with them as after any death.
        """
        self._held = dict.fromkeys(jobs)
        self._statistics.messages[Count.JOBS_TAKEN] += len(jobs)
        beating = asyncio.create_task(self._beat(), name="ingest beat")
        try:
            try:
                yield
            except (MetricStreamsError, asyncio.CancelledError):
                await self._return_left()
                raise
            await self._return_left()
        finally:
            await ended_well(beating)

    def settled(self, jobs: Sequence[ReservedJob], how: Count) -> None:
        """Take in what became of some of them."""
        self._statistics.messages[how] += len(jobs)
        for job in jobs:
            self._held.pop(job, None)

    async def _beat(self) -> None:
        """Show that we live, so that nobody takes these jobs for a dead one's."""
        while True:
            await asyncio.sleep(BEAT_EVERY_S)
            try:
                is_there = await self._queue.beat()
            except Outage:
                is_there = False
            if not is_there:
                # Of an outage that is over by the next turn nobody else may have heard.
                self._outage_wait.doubt()

    async def _return_left(self) -> None:
        left = list(self._held)
        if not left:
            return
        try:
            await self._put_back(left)
        finally:
            self._statistics.messages[Count.JOBS_RETURNED] += len(left)

    async def _put_back(self, jobs: Sequence[ReservedJob]) -> None:
        returned = await self._outage_wait.wait_out(lambda: self._queue.put_back(jobs))
        if returned < len(jobs):
            self._outage_wait.doubt()
        log.info("put %d jobs back at the front of the queue, unchanged", returned)
        self._held.clear()
