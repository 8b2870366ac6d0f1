"""Takes a turn every few seconds beside the work, such as a look at Kafka: what watches must end nothing.

The logbook, the watchdog, the audit and their like each are a turn; this is the loop around it. A bug ends
the turn that meets it. It is logged and counted (`streams.bugs`), and the next turn comes.
"""

import asyncio
import time
from collections.abc import Awaitable, Callable

from streams.bugs import BugLog, foreseen
from streams.counters import Statistics
from streams.errors import Bug
from streams.tasks import AGAIN_S, ended


async def _nothing(_bug: Exception) -> None:
    """Do nothing more about a bug."""


class Background:
    """Turns in a task of their own, one after the other.

    Args:
        who: takes them, as the log calls it, "the logbook".
        turn: what is done; it handles the outages that it can meet, so what it raises is a bug.
        every_s: seconds from the end of a turn to the next one.
        statistics: counts bugs.
        meaning: a sentence, without its full stop, that the log has behind a bug: what goes on, and what
            does not.
        first_at_once: whether the first turn comes before the first wait.
        by_the_clock: count `every_s` from the beginning of a turn instead.
        on_bug: told of a bug, once it is logged.
    """

    def __init__(
        self,
        who: str,
        turn: Callable[[], Awaitable[None]],
        every_s: float,
        statistics: Statistics,
        *,
        meaning: str,
        first_at_once: bool = True,
        by_the_clock: bool = False,
        on_bug: Callable[[Exception], Awaitable[None]] = _nothing,
    ) -> None:
        self._who = who
        self._turn = turn
        self._every_s = every_s
        self._first_at_once = first_at_once
        self._by_the_clock = by_the_clock
        self._on_bug = on_bug
        self._bugs = BugLog(who, meaning, statistics)
        self._task: asyncio.Task[None] | None = None

    @property
    def is_running(self) -> bool:
        """Whether it has begun and has not ended."""
        return self._task is not None and not self._task.done()

    def begin(self) -> None:
        """Begin to take turns; does nothing if it does already."""
        if not self.is_running:
            self._task = asyncio.create_task(self._take_turns(), name=self._who)

    async def end(self, *, again_s: float = AGAIN_S) -> None:
        """Take no more turns; one that is under way is cancelled.

        Args:
            again_s: as of `streams.tasks.ended`.
        """
        task, self._task = self._task, None
        if task is not None:
            await ended(task, again_s=again_s)

    async def _take_turns(self) -> None:
        if not self._first_at_once:
            await asyncio.sleep(self._every_s)
        while True:
            began = time.monotonic()
            await self.take_turn()
            spent_s = time.monotonic() - began if self._by_the_clock else 0.0
            await asyncio.sleep(max(0.0, self._every_s - spent_s))

    async def take_turn(self) -> None:
        """Take one turn; a bug in it does not get out."""
        try:
            with foreseen():
                await self._turn()
        except Bug as bug:
            self._bugs.note(bug)
            await self._tell(bug)

    async def _tell(self, met: Bug) -> None:
        try:
            with foreseen():
                await self._on_bug(met.cause)
        except Bug as bug:
            self._bugs.note(bug)
