"""Keeps the log of a process: tells of outages, and of what flowed.

Between the `Statistics` and the log, on a timer of its own. It starts before everything else of a worker and
stops last, so that what happens at the start and at the end is told, too.
"""

import time
from collections.abc import Callable
from typing import Protocol

from streams.background import Background
from streams.counters import Statistics
from streams.logs.outages import OutageLog

EVERY_S = 1.0


class FlowTeller(Protocol):
    """What tells of the flow."""

    def look(self, now: float, away: list[str]) -> None:
        """Say what flowed, if it is time; `away` names the parts that are waited for."""
        ...

    def tell(self, now: float, away: list[str]) -> None:
        """Say what flowed since the last line."""
        ...


class Logbook:
    """Looks every second.

    Args:
        statistics: how the parts fare.
        flow: tells what flowed; None where something else does.
        clock: seconds that never go back.
    """

    def __init__(
        self,
        statistics: Statistics,
        flow: FlowTeller | None = None,
        *,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._outages = OutageLog(statistics)
        self._flow = flow
        self._clock = clock
        self._looking = Background(
            "the logbook",
            self._look,
            EVERY_S,
            statistics,
            meaning="Until it is mended, the log may tell of no outage and no flow; the worker carries on",
            first_at_once=False,
        )

    async def start(self) -> None:
        """Begin to look."""
        self._looking.begin()

    async def stop(self) -> None:
        """Cease to look; say what has flowed since the last line."""
        has_begun = self._looking.is_running
        await self._looking.end()
        if has_begun and self._flow is not None:
            self._flow.tell(self._clock(), self._outages.away(self._clock()))

    async def _look(self) -> None:
        self.look()

    def look(self) -> None:
        """Tell what has changed."""
        now = self._clock()
        self._outages.look(now)
        if self._flow is not None:
            self._flow.look(now, self._outages.away(now))
