"""Keeps the log of a process: tells of outages, and of what flowed.

Between the `Statistics` and the log, on a timer of its own. It starts before everything else of a worker and
stops last, so that what happens at the start and at the end is told, too.
"""

import asyncio
import logging
import time
from collections.abc import Callable
from typing import Protocol

from streams.counters import Statistics
from streams.logs.outages import OutageLog
from streams.tasks import ended

log = logging.getLogger(__name__)

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
        self._task: asyncio.Task[None] | None = None

    async def start(self) -> None:
        """Begin to look."""
        self._task = asyncio.create_task(self._keep_looking(), name="logbook")

    async def stop(self) -> None:
        """Cease to look; say what has flowed since the last line."""
        if self._task is not None:
            await ended(self._task)
            if self._flow is not None:
                self._flow.tell(self._clock(), self._outages.away(self._clock()))

    async def _keep_looking(self) -> None:
        while True:
            await asyncio.sleep(EVERY_S)
            try:
                self.look()
            except Exception:
                # Whatever is wrong with the log, the worker goes on carrying.
                log.exception("the logbook has a bug")

    def look(self) -> None:
        """Tell what has changed."""
        now = self._clock()
        self._outages.look(now)
        if self._flow is not None:
            self._flow.look(now, self._outages.away(now))
