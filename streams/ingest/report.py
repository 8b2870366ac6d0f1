"""What ``ingest`` does and how far it is behind: a line once a minute, and what its web pages show."""

import asyncio
import logging
import time
from collections import Counter
from collections.abc import Callable
from typing import NamedTuple, Protocol

from streams.counters import Count, Statistics
from streams.errors import Outage
from streams.ingest.progress import Front, JobProgress
from streams.laravel.reserve import Backlog

log = logging.getLogger(__name__)

EVERY_S = 5.0
"""How often the rates are taken anew."""
LINE_EVERY_S = 60.0
IDLE_LINE_EVERY_S = 1800.0
SETTLED = (Count.JOBS_DONE, Count.JOBS_RELEASED, Count.JOBS_FAILED)
LET_GO = (*SETTLED, Count.JOBS_RETURNED)
COUNTED = (Count.INGESTED, *SETTLED)


class Counted(Protocol):
    """The queue, as the report needs it."""

    async def backlog(self) -> Backlog:
        """Count the jobs.

        Raises:
            Outage: if Redis does not answer.
        """

    async def front(self) -> bytes | None:
        """Return the job that is taken next.

        Raises:
            Outage: if Redis does not answer.
        """


class Rates(NamedTuple):
    """What was done a second, in the time between the last two looks."""

    rows: float
    jobs: float


class Report:
    """Logs rates and lag, and next to nothing while nothing happens and nothing waits.

    Args:
        statistics: what the workers count in.
        queue: asked for its length with each line.
        clock: seconds that never go back.
        unix_clock: the Unix time in seconds, by which a payload may tell when it was pushed.

    Attributes:
        rates: as of the last look.
        oldest_job_s: seconds that the job at the front of the list has waited at least, as of the last count
            of jobs; None if none waits there.
    """

    def __init__(
        self,
        statistics: Statistics,
        queue: Counted,
        *,
        clock: Callable[[], float] = time.monotonic,
        unix_clock: Callable[[], float] = time.time,
    ) -> None:
        self._counters = statistics.messages
        self._queue = queue
        self._clock = clock
        self._unix_clock = unix_clock
        self._front = Front()
        self.oldest_job_s: float | None = None
        self._since = self._line_since = clock()
        self._before = self._line_before = self._now()
        self._idle_since: float | None = None
        self._idle_said: float | None = None
        self._progress = JobProgress(self._since)
        self.rates = Rates(0, 0)

    async def run(self) -> None:
        """Report every few seconds, until it is cancelled."""
        while True:
            await asyncio.sleep(EVERY_S)
            await self.look()

    async def look(self) -> None:
        """Take the rates anew; log what happened since the last line, if a minute is over."""
        elapsed_s = max(self._clock() - self._since, 0.001)
        new = self._now() - self._before
        self._since, self._before = self._clock(), self._now()
        self.rates = Rates(new[Count.INGESTED] / elapsed_s, sum(new[how] for how in SETTLED) / elapsed_s)
        if self._clock() - self._line_since >= LINE_EVERY_S:
            await self.tell()
        else:
            await self.backlog()

    async def tell(self) -> None:
        """Log what happened since the last line, and what waits, if there is anything to tell."""
        since, self._line_since = self._line_since, self._clock()
        new, self._line_before = self._now() - self._line_before, self._now()
        backlog = await self.backlog()
        if not new and (backlog is None or not backlog.due):
            self._tell_idle(since, backlog)
            return
        self._idle_since = self._idle_said = None
        elapsed_s = max(self._clock() - since, 0.001)
        log.info(
            "%d rows of %d jobs in %.1f s (%.0f rows/s); %d jobs to be tried again, %d given up; %s",
            new[Count.INGESTED],
            new[Count.JOBS_DONE],
            elapsed_s,
            new[Count.INGESTED] / elapsed_s,
            new[Count.JOBS_RELEASED],
            new[Count.JOBS_FAILED],
            _told(backlog, self.oldest_job_s),
            extra={
                "seconds": elapsed_s,
                "rows": new[Count.INGESTED],
                "jobs": {how.removeprefix("jobs_"): new[how] for how in SETTLED},
                "queue": None if backlog is None else backlog._asdict(),
                "oldest_job_s": self.oldest_job_s,
            },
        )

    def _tell_idle(self, since: float, backlog: Backlog | None) -> None:
        now, self._idle_since = self._clock(), since if self._idle_since is None else self._idle_since
        if self._idle_said is None or now - self._idle_said >= IDLE_LINE_EVERY_S:
            self._idle_said = now
            log.info(
                "no job was settled in the last %.0f s; %s", now - self._idle_since, _told(backlog, None)
            )

    async def backlog(self) -> Backlog | None:
        """Count the jobs in the queue, and note whether they move; None while Redis does not answer."""
        try:
            backlog, front = await self._queue.backlog(), await self._queue.front()
        except Outage:
            self.oldest_job_s = None
            return None
        self._front.look(self._clock(), front)
        self.oldest_job_s = self._front.waits_s(self._clock(), self._unix_clock())
        settled = sum(self._counters[how] for how in SETTLED)
        at_hand = self._counters[Count.JOBS_TAKEN] - sum(self._counters[how] for how in LET_GO)
        self._progress.look(self._clock(), due=backlog.due + at_hand, settled=settled)
        return backlog

    async def waiting(self) -> str:
        """Return in words how many jobs wait."""
        return _told(await self.backlog(), self.oldest_job_s)

    async def check_progress(self) -> None:
        """Return if jobs move, or none is due.

        Raises:
            Outage: jobs have been due for a while, and none was settled.
        """
        await self.backlog()
        stalled_s = self._progress.stalled_s(self._clock())
        if stalled_s is not None:
            raise Outage("jobs", f"some are due or reserved, but none was settled for {stalled_s:.0f} s")

    def _now(self) -> Counter[str]:
        return Counter({name: self._counters[name] for name in COUNTED})


def _told(backlog: Backlog | None, oldest_job_s: float | None) -> str:
    if backlog is None:
        return "how many wait is not known"
    oldest = "" if oldest_job_s is None else f"; the oldest has waited for at least {oldest_job_s:.0f} s"
    return f"{backlog.due} are due, {backlog.delayed} delayed, {backlog.reserved} reserved{oldest}"
