"""Whether jobs move: what tells a worker that hangs from one that has nothing to do. Pure."""

STALLED_S = 30.0
"""What the worker's watchdog gives a partition before readiness fails."""


class Progress:
    """Looks at the queue from time to time, and remembers when jobs last moved.

    Args:
        now_s: seconds by a clock that never goes back.
    """

    def __init__(self, now_s: float) -> None:
        self._moved_at_s = now_s
        self._settled = 0

    def look(self, now_s: float, *, due: int, settled: int) -> None:
        """Take in how many jobs are due, and how many this process has settled so far."""
        if not due or settled != self._settled:
            self._moved_at_s, self._settled = now_s, settled

    def stalled_s(self, now_s: float) -> float | None:
        """Return for how long jobs were due while none was settled; None if that is not long."""
        still_s = now_s - self._moved_at_s
        return still_s if still_s >= STALLED_S else None
