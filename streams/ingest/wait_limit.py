"""How long a run that is to end by itself may wait for parts that are away. Pure: it is handed its clock."""

import time
from collections.abc import Callable

from streams.errors import NotFinished, Outage


class WaitLimit:
    """Shared by the workers of a run: what one of them gets done is progress of all.

    Args:
        limit_s: seconds without progress, after which the run ends; 0 for never.
        settled: returns how many jobs the run has settled so far.
        clock: seconds that never go back.
    """

    def __init__(
        self,
        limit_s: float = 0,
        settled: Callable[[], int] = lambda: 0,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._limit_s = limit_s
        self._settled = settled
        self._clock = clock
        self._waits_since_s: float | None = None
        self._settled_then = 0

    def progressed(self) -> None:
        """Take in that every part did what it was asked for."""
        self._waits_since_s = None

    def check(self, outage: Outage) -> None:
        """Take in that a part is away.

        Raises:
            NotFinished: nothing could be done for too long; with the outage as the reason.
        """
        now_s, settled = self._clock(), self._settled()
        # What another worker of the run settles is progress as well, so the time begins anew.
        if self._waits_since_s is None or settled != self._settled_then:
            self._waits_since_s, self._settled_then = now_s, settled
        elif self._limit_s and now_s - self._waits_since_s >= self._limit_s:
            raise NotFinished(
                f"nothing could be done for {self._limit_s:g} s (INGEST_WAIT_LIMIT_S), so this run ends; "
                f"what waits stays in the queue. The reason: {outage}"
            )

    def within(self, delay_s: float) -> float:
        """Return how long to wait before the next try, of which the last comes when the limit is reached."""
        if not self._limit_s or self._waits_since_s is None:
            return delay_s
        return min(delay_s, max(0.0, self._waits_since_s + self._limit_s - self._clock()))
