"""Whether what has work to do moves, and since when it does not: pure bookkeeping, without a clock.

The watchdog looks every few seconds and hands its looks in. Readiness and the end of the worker both read
from here, so the two never disagree.
"""

from collections.abc import Hashable, Mapping
from dataclasses import dataclass
from typing import NamedTuple


class Observation(NamedTuple):
    """One look at something that moves when all is well: a partition, its commits, a recovery."""

    mark: Hashable
    """Another one than at the last look: it has moved."""
    behind: bool
    """Whether there is anything to move for."""
    detail: str
    """Where it stands, for people."""
    excuse: str = ""
    """What it waits for that no restart would mend; empty if nothing is known."""
    outages: int = 0
    """How often it has met an outage; another number than at the last look is an excuse, too."""


@dataclass(frozen=True, slots=True)
class Standstill:
    """Something that was looked at, and for how many seconds it stood."""

    look: Observation
    still_s: float = 0.0
    """Since it moved last, whatever the reason."""
    unexcused_s: float = 0.0
    """Since it moved last or had an excuse last."""


class StallDetector:
    """Counts for how long things stand while they are behind.

    Args:
        longest_step_s: between two looks no more than this is counted. A process that was stopped (SIGSTOP,
            a suspended machine) could move nothing meanwhile, and what it finds then is not its fault.
    """

    def __init__(self, longest_step_s: float) -> None:
        self._longest_step_s = longest_step_s
        self._stands: dict[str, Standstill] = {}
        self._last: float | None = None

    def look(self, looks: Mapping[str, Observation], now: float) -> None:
        """Take in one look at everything there is; what is not in it is forgotten.

        Args:
            looks: by name.
            now: seconds on a monotonic clock.
        """
        step_s = 0.0 if self._last is None else min(now - self._last, self._longest_step_s)
        self._last = now
        self._stands = {name: _next(self._stands.get(name), look, step_s) for name, look in looks.items()}

    def standing(self, limit_s: float) -> dict[str, Standstill]:
        """Return what has stood for longer than `limit_s`, whatever the reason."""
        return {name: stand for name, stand in sorted(self._stands.items()) if stand.still_s > limit_s}

    def hopeless(self, limit_s: float) -> dict[str, Standstill]:
        """Return what has stood for longer than `limit_s` without an excuse."""
        return {name: stand for name, stand in sorted(self._stands.items()) if stand.unexcused_s > limit_s}


def _next(before: Standstill | None, look: Observation, step_s: float) -> Standstill:
    # What has only now come to be behind has stood for no time, however long it had nothing to do.
    if before is None or not look.behind or not before.look.behind or look.mark != before.look.mark:
        return Standstill(look)
    excused = look.excuse or look.outages != before.look.outages
    return Standstill(look, before.still_s + step_s, 0.0 if excused else before.unexcused_s + step_s)
