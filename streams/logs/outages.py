"""Tells of each outage in the log: once when it begins, now and then while it lasts, once when it is over.

Between the `Statistics`, where everyone who uses a part notes how it fares, and whoever reads the log at
night. It looks every second or so: a part that is back within that is not told of, and one that answers for
a moment in between is one outage, not two. Pure but for the log: it is told the time.
"""

import logging
import re
from collections.abc import Iterable
from dataclasses import dataclass, field

from streams.counters import PartState, Statistics

log = logging.getLogger(__name__)

TOLD_AFTER_S = 1.0
"""What is over sooner is no outage worth a line."""
SETTLED_S = 3.0
"""How long a part must answer before the outage counts as over."""
REMIND_EVERY_S = 600.0
SHOWN_WAITING = 12
WAITED_FOR = {"queue": "room in the job queue", "agents": "what a bug holds up"}
"""What is no part of its own is called by what is missed."""

_NUMBERED = re.compile(r"(.+)\[(\d+)\]")


@dataclass(slots=True)
class _Told:
    began: float
    """When it was seen down first; by the clock of `OutageLog.look`."""
    seen_down: float
    said: float | None = None
    waited: set[str] = field(default_factory=set)


class OutageLog:
    """Looks at the parts' states and tells what has changed.

    Args:
        statistics: the states.
    """

    def __init__(self, statistics: Statistics) -> None:
        self._statistics = statistics
        self._told: dict[str, _Told] = {}
        self._answered: set[str] = set()

    def look(self, now: float) -> None:
        """Take in how the parts fare; `now` is in seconds that never go back."""
        for name, state in sorted(self._statistics.parts.items()):
            if state.troubles:
                self._is_down(name, state, now)
            elif name in self._told:
                self._is_up(name, now)
            elif state.up and not state.detail and name not in self._answered:
                self._answered.add(name)
                log.info("%s answers", name)

    def away(self, now: float) -> list[str]:
        """Return what is waited for, each with since when, for other lines of the log."""
        return [
            f"{_called(name)} for {now - told.began:.0f} s"
            for name, told in self._told.items()
            if told.said is not None
        ]

    def _is_down(self, name: str, state: PartState, now: float) -> None:
        told = self._told.setdefault(name, _Told(now, now))
        told.seen_down = now
        # Its end will be told as such, so "answers" would say it twice.
        self._answered.add(name)
        # All that has waited at any time: what goes on in the end is not only what waits just then.
        told.waited |= {each for trouble in state.troubles.values() for each in trouble.waits}
        lasts_s = now - told.began
        if told.said is None and lasts_s >= TOLD_AFTER_S:
            log.warning("waiting for %s: %s%s", _called(name), state.detail, _waiting("what waits", told))
        elif told.said is not None and now - told.said >= REMIND_EVERY_S:
            still = "still waiting for %s, since %.0f s: %s%s"
            log.warning(still, _called(name), lasts_s, state.detail, _waiting("what waits", told))
        else:
            return
        told.said = now

    def _is_up(self, name: str, now: float) -> None:
        told = self._told[name]
        # A part that answers for a moment in between is still in the same outage.
        if told.said is not None and now - told.seen_down < SETTLED_S:
            return
        del self._told[name]
        if told.said is not None:
            after_s = told.seen_down - told.began
            log.info(
                "the wait for %s is over after %.0f s%s", _called(name), after_s, _waiting("goes on", told)
            )


def _called(name: str) -> str:
    return WAITED_FOR.get(name, name)


def _waiting(verb: str, told: _Told) -> str:
    return f"; {verb}: {in_short(told.waited)}" if told.waited else ""


def in_short(names: Iterable[str]) -> str:
    """Return names on one short line, numbered ones together.

    >>> in_short({"b", "a[1]", "a[0]", "a[10]"})
    'a[0, 1, 10], b'
    """
    numbers: dict[str, list[int]] = {}
    for name in sorted(names):
        match = _NUMBERED.fullmatch(name)
        numbers.setdefault(match[1] if match else name, []).extend([int(match[2])] if match else [])
    return ", ".join(f"{name}[{_listed(sorted(each))}]" if each else name for name, each in numbers.items())


def _listed(numbers: list[int]) -> str:
    shown = ", ".join(map(str, numbers[:SHOWN_WAITING]))
    more = len(numbers) - SHOWN_WAITING
    return f"{shown} and {more} more" if more > 0 else shown
