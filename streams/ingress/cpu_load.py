"""How busy a process has been of late. Pure: it is told the time, and the CPU time."""

MEMORY_S = 0.5
"""What was longer ago counts for little."""


class CpuLoad:
    """The share of one core that a process uses; more than 1 where it has several threads at work.

    Args:
        now_s: a time in seconds that never goes back.
        cpu_s: CPU time of the process in seconds.
    """

    def __init__(self, now_s: float, cpu_s: float) -> None:
        self.share = 0.0
        self._now_s = now_s
        self._cpu_s = cpu_s

    def note(self, now_s: float, cpu_s: float) -> None:
        """Look at the present load; to be called again and again."""
        passed_s, used_s = now_s - self._now_s, cpu_s - self._cpu_s
        if passed_s <= 0:
            return
        self._now_s, self._cpu_s = now_s, cpu_s
        weight = min(1.0, passed_s / MEMORY_S)
        self.share += weight * (used_s / passed_s - self.share)
