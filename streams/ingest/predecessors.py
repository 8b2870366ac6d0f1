"""Finds jobs whose runner died, before a worker takes any, and puts them back in front.

A job that is run again behind later ones lets an older value replace a later one. So who starts in the place
of an ingest that died runs first what that one held. So does a worker whose Redis was away: it may not have
heard which jobs it took, and a Redis that comes back from an older copy has jobs that were done.

Nobody can ask a process whether it died. Each that holds jobs counts a beat once a second in Redis. Who sees
the same count again and again takes it for dead. No clock is compared.
"""

import asyncio
import logging
from collections.abc import Awaitable, Callable

from streams.laravel.reserve import ReservingQueue, taken_at

log = logging.getLogger(__name__)

LOOK_EVERY_S = 1.0
SILENT_LOOKS = 10
"""So many looks in a row must find no beat. One is due between any two of them."""


class Predecessors:
    """Those who held jobs before this worker takes any, itself among them.

    Args:
        queue: of this worker.
        is_over: whether this worker was told to stop.
        pause: waits so many seconds, or until this worker is told to stop.

    Attributes:
        have_left_jobs: whether the last look found any that are to be put back; also where that then failed.
    """

    def __init__(
        self,
        queue: ReservingQueue,
        is_over: Callable[[], bool] = lambda: False,
        pause: Callable[[float], Awaitable[None]] = asyncio.sleep,
    ) -> None:
        self._queue = queue
        self._is_over = is_over
        self._pause = pause
        self.have_left_jobs = False

    async def settle(self) -> int:
        """Return when nobody's jobs are in doubt any more: at once where no other holds any.

        Does nothing more once this worker is told to stop. Must not be called while it holds jobs.

        Returns:
            How many jobs were put back in front.

        Raises:
            Outage: Redis does not answer. Nobody could beat, so the next call begins anew.
        """
        self.have_left_jobs = False
        silent = await self._queue.holders()
        ours = {mark: beats for mark, beats in silent.items() if self._queue.is_ours(mark)}
        others = silent.keys() - ours.keys()
        if others:
            within_s = LOOK_EVERY_S * SILENT_LOOKS
            log.info("other holders of jobs: %d; sees within %g s which of them live", len(others), within_s)
        for _ in range(SILENT_LOOKS if others else 0):
            await self._pause(LOOK_EVERY_S)
            if self._is_over():
                return 0
            found = await self._queue.holders()
            # One with another mark or another beat has done something since.
            silent = {mark: beats for mark, beats in silent.items() if found.get(mark) == beats}
            if silent.keys() <= ours.keys():
                log.info("all of them live")
                break
        taken = await self._take_back(silent)
        self._queue.begin_anew()
        return taken

    async def _take_back(self, silent: dict[str, float]) -> int:
        # What was taken last goes back first, so that what was taken first ends in front.
        taken = 0
        self.have_left_jobs = bool(silent)
        for mark in sorted(silent, key=taken_at, reverse=True):
            taken += await self._queue.take_back(mark, silent[mark])
        if taken:
            log.warning(
                "jobs that are put back in front, in their order: %d. Their worker died, or did not hear "
                "that it had them, or Redis has forgotten that they were done",
                taken,
            )
        return taken
