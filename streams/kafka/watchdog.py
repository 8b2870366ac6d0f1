"""Notices a worker without progress, and ends one that only a restart mends.

Every few seconds it looks at each partition, at what is committed and at the group. Readiness shows what has
stood for a while, whatever the reason; the worker ends when something stood for WATCHDOG_LIMIT_S without an
excuse. An excuse is what a restart would not mend: a part is away, the job queue is full.
"""

import logging
import time
from collections.abc import Callable
from typing import Any, cast

from faust.tables.manager import TableManager
from faust.types import TP

from streams.background import Background
from streams.errors import Stalled
from streams.kafka.loop_watchdog import LoopWatchdog
from streams.kafka.positions import Cursor
from streams.kafka.stall_detector import Observation, StallDetector, Standstill

log = logging.getLogger(__name__)

EVERY_S = 2.0
LONGEST_STEP_S = 10.0
STALLED_AFTER_S = 30.0
SETTLING = "the group is rebalancing or the table is being recovered"


class Watchdog:
    """Looks by a timer of its own.

    Args:
        app: what is watched.
        limit_s: how long something may stand without an excuse; 0 to end the worker for nothing.
        end: ends the worker.
    """

    def __init__(self, app: Any, limit_s: float, end: Callable[[BaseException], None]) -> None:
        self._app = app
        self._limit_s = limit_s
        self._end = end
        self._progress = StallDetector(LONGEST_STEP_S)
        self._frozen = LoopWatchdog(limit_s)
        self._looking = Background(
            "the watchdog",
            self._look,
            EVERY_S,
            app.statistics,
            meaning="Until it is mended, a standstill may go unnoticed; the worker carries on",
        )
        self._ended = False

    async def start(self) -> None:
        """Begin to watch."""
        self._looking.begin()
        await self._frozen.start()

    async def stop(self) -> None:
        """Cease to watch."""
        await self._frozen.stop()
        await self._looking.end()

    def stalled(self) -> list[str]:
        """Return what has stood for `STALLED_AFTER_S`, each with where it stands."""
        return [_shown(name, stand) for name, stand in self._progress.standing(STALLED_AFTER_S).items()]

    async def _look(self) -> None:
        self.look(looks(self._app), time.monotonic())

    def look(self, seen: dict[str, Observation], now: float) -> None:
        """Take in one look, and end the worker if there is no hope."""
        self._progress.look(seen, now)
        hopeless = self._progress.hopeless(self._limit_s) if self._limit_s else {}
        if hopeless and not self._ended and not self._app.should_stop:
            self._ended = True
            shown = "; ".join(_shown(name, stand) for name, stand in hopeless.items())
            # Once: the end of a worker takes a while, and each look would say it again.
            log.critical(
                "%s. Every part that it needs answers, so this worker ends, for its supervisor to start it "
                "again. The next worker reads the unfinished records again. If this line comes again, look "
                "at the log before it; WATCHDOG_LIMIT_S sets the limit",
                shown,
            )
            self._end(Stalled(shown))


def _shown(name: str, stand: Standstill) -> str:
    why = f" (waits: {stand.look.excuse})" if stand.look.excuse else ""
    return f"no progress on {name} for {stand.still_s:.0f} s: {stand.look.detail}{why}"


def looks(app: Any) -> dict[str, Observation]:
    """Look at everything that should move."""
    excuse = str(app.watch.outage or "")
    recovery = cast("TableManager", app.tables).recovery
    found: dict[str, Observation] = {}
    if app.rebalancing or not recovery.completed.is_set():
        left = recovery.active_remaining_total()
        found["the group"] = Observation(left, True, f"{SETTLING} ({left} records left)", excuse)  # noqa: FBT003 - a row of values
        # No partition moves meanwhile, and a restart would only begin the recovery anew. It has an
        # observation of its own.
        excuse = excuse or SETTLING
    consumer = app.deliverer()
    for tp, cursor in list(consumer.cursors.items()):
        name = f"{tp.topic}[{tp.partition}]"
        found[name] = _at_position(cursor, app.watch.end(tp), excuse)
        found[f"the commits of {name}"] = _at_commit(tp, cursor, consumer.committed, excuse)
    return found


def _at_position(cursor: Cursor, end: int | None, excuse: str) -> Observation:
    held = cursor.next_fetch is None
    lag = cursor.lag(end)
    detail = f"at offset {cursor.expected} with a lag of {lag} records, {_state(cursor)}"
    return Observation(None if held else cursor.expected, held or lag > 0, detail, excuse, cursor.outages)


def _at_commit(tp: TP, cursor: Cursor, committed: dict[TP, int], excuse: str) -> Observation:
    done, at = cursor.committable or 0, committed.get(tp, 0)
    detail = f"{at} is committed although everything before {done} is done"
    return Observation(at, cursor.next_fetch is not None and done > at, detail, excuse)


def _state(cursor: Cursor) -> str:
    if cursor.held_up_by:
        return f"last held up by {cursor.held_up_by}"
    if cursor.next_fetch is None:
        return "its position is not known"
    if cursor.busy:
        return "the agent is at work on it and does not return"
    return "its records do not reach the agent"
