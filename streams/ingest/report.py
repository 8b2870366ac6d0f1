"""One line every few seconds on what ``ingest`` does."""

import logging
import time
from collections import Counter
from collections.abc import Callable

from streams.statistics import Statistics

log = logging.getLogger(__name__)

EVERY_S = 5.0
COUNTED = ("ingested", "jobs_done", "jobs_released", "jobs_failed")


class Report:
    """Logs rates from the counters, and nothing while nothing happens.

    Args:
        statistics: what the worker counts in.
        clock: seconds that never go back.
    """

    def __init__(self, statistics: Statistics, *, clock: Callable[[], float] = time.monotonic) -> None:
        self._counters = statistics.messages
        self._clock = clock
        self._since = clock()
        self._before = self._now()

    def now_and_then(self) -> None:
        """Log a line if the last one is long enough ago."""
        if self._clock() - self._since >= EVERY_S:
            self.final()

    def final(self) -> None:
        """Log a line on what happened since the last one, if anything did."""
        elapsed_s = max(self._clock() - self._since, 0.001)
        new = self._now() - self._before
        self._since, self._before = self._clock(), self._now()
        if new:
            log.info(
                "%d rows of %d jobs in %.1f s (%.0f rows/s); %d jobs to be tried again, %d given up",
                new["ingested"],
                new["jobs_done"],
                elapsed_s,
                new["ingested"] / elapsed_s,
                new["jobs_released"],
                new["jobs_failed"],
            )

    def _now(self) -> Counter[str]:
        return Counter({name: self._counters[name] for name in COUNTED})
