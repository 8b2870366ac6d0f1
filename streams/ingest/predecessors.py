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

from streams.ingest.caution import Caution
from streams.ingest.holder_watch import SILENT_LOOKS, HolderWatch
from streams.laravel.marks import Mark
from streams.laravel.reserve import ReservingQueue

log = logging.getLogger(__name__)

LOOK_EVERY_S = 1.0


class Predecessors:
    """Those who held jobs before this worker takes any, itself among them.

    Args:
        queue: of this worker.
        caution: of this process, whose workers look one after the other.
        is_over: whether this worker was told to stop.
        pause: waits so many seconds, or until this worker is told to stop.
    """

    def __init__(
        self,
        queue: ReservingQueue,
        caution: Caution | None = None,
        is_over: Callable[[], bool] = lambda: False,
        pause: Callable[[float], Awaitable[None]] = asyncio.sleep,
    ) -> None:
        self._queue = queue
        self._caution = caution or Caution()
        self._is_over = is_over
        self._pause = pause

    async def settle(self) -> int:
        """Return when nobody's jobs are in doubt any more: at once where no other holds any.

        Does nothing more once this worker is told to stop. Must not be called while it holds jobs.

        Returns:
            How many jobs were put back in front.

        Raises:
            Outage: Redis does not answer. Nobody could beat, so the next call begins anew.
        """
        # Nobody is to take us for dead while we wait for our turn, and see who else is.
        unheard = await self.let_go()
        async with self._caution.alone:
            return unheard + await self._settle()

    async def let_go(self) -> int:
        """Put back what this worker holds without knowing of it. `settle` begins with this.

        Returns:
            How many jobs were put back in front.

        Raises:
            Outage: Redis does not answer.
        """
        await self._queue.hold_nothing()
        found = await self._queue.holders()
        unheard = await self._queue.take_back(
            {mark: beats for mark, beats in found.items() if self._queue.is_ours(mark)}
        )
        if unheard:
            log.warning(
                "jobs that are put back in front, in their order: %d. This worker did not hear that it had "
                "them, or Redis has forgotten that they were done",
                unheard,
            )
        return unheard

    async def _settle(self) -> int:
        if self._is_over():
            return 0
        watch = HolderWatch()
        found = await self._look(watch)
        if watch.suspects:
            within_s = LOOK_EVERY_S * SILENT_LOOKS
            others = watch.suspects
            log.info("other holders of jobs: %d; sees within %g s which of them live", others, within_s)
        while watch.suspects:
            await self._pause(LOOK_EVERY_S)
            if self._is_over():
                return 0
            found = await self._look(watch)
        taken = await self._queue.take_back(
            {mark: beats for mark, beats in found.items() if watch.is_dead(mark)}
        )
        if taken:
            log.warning("jobs that are put back in front, in their order: %d. Their worker died", taken)
        return taken

    async def _look(self, watch: HolderWatch) -> dict[Mark, float]:
        found = await self._queue.holders()
        watch.look({mark: beats for mark, beats in found.items() if not self._queue.is_ours(mark)})
        return found
