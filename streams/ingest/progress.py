"""Whether jobs move, and how long the oldest has waited. Pure."""

from streams.laravel.job import pushed_at_s

STALLED_S = 30.0
"""What the worker's watchdog gives a partition before readiness fails."""


class JobProgress:
    """Looks at the queue from time to time, and remembers when jobs last moved.

    That tells a worker that hangs from one that has nothing to do.

    Args:
        now_s: seconds by a clock that never goes back.
    """

    def __init__(self, now_s: float) -> None:
        self._moved_at_s = now_s
        self._settled = 0

    def look(self, now_s: float, *, due: int, settled: int) -> None:
        """Take in how many jobs are due or in our hands, and how many this process has settled so far."""
        # Without work nothing has to move; and one job settled is progress, however many are due.
        if not due or settled != self._settled:
            self._moved_at_s, self._settled = now_s, settled

    def stalled_s(self, now_s: float) -> float | None:
        """Return for how long jobs were due while none was settled; None if that is not long."""
        still_s = now_s - self._moved_at_s
        return still_s if still_s >= STALLED_S else None


class Front:
    """Watches the job at the front of the list, which has waited longest.

    A payload that tells when it was pushed is believed. Most tell nothing: of those it is known since when
    they have been seen here, and that they have waited at least so long.
    """

    def __init__(self) -> None:
        self._job: bytes | None = None
        self._seen_at_s = 0.0
        self._pushed_at_s: float | None = None

    def look(self, now_s: float, job: bytes | None) -> None:
        """Take in what is at the front at `now_s`, by a clock that never goes back; None for nothing."""
        if job != self._job:
            self._job, self._seen_at_s = job, now_s
            # Read once: the payload may be large, and is looked at every few seconds.
            self._pushed_at_s = None if job is None else pushed_at_s(job)

    def still_s(self, now_s: float) -> float | None:
        """Return for how many seconds the same job has been seen there; None if there is none."""
        return None if self._job is None else now_s - self._seen_at_s

    def waits_s(self, now_s: float, unix_s: float) -> float | None:
        """Return the seconds that it has waited at least; None if there is none."""
        if self._job is None:
            return None
        seen_s = now_s - self._seen_at_s
        # At least since it was seen: the clock of whoever pushed it may be ahead of ours.
        return seen_s if self._pushed_at_s is None else max(seen_s, unix_s - self._pushed_at_s)
