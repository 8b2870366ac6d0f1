"""Which of very many keys, such as tenants, send the most. Pure, and bounded whatever devices send.

Handoff and refine note how many messages a chunk holds for each key. Once a second the sampler folds what
was noted into a table of the busiest (the space-saving algorithm of Metwally, Agrawal and El Abbadi, 2005,
on counts that fade): a key that is not in the table may have been counted before it was pushed out, so what
comes in anew is given the count that the last one pushed out had, as its error.
"""

from collections.abc import Mapping
from heapq import nlargest
from operator import itemgetter
from typing import NamedTuple

KEPT = 256
NOTED_IN_A_SECOND = 20_000
"""Keys; what others send in the same second is not counted. Some 3 MB at most."""
HALF_LIFE_S = 30.0


class Busy(NamedTuple):
    """How much one key sends."""

    key: str
    per_s: float
    """Messages a second, of late."""
    total: int
    """Messages since the key is in the table."""
    last: float
    """Unix time in seconds of the second in which it sent last."""


class _Entry:
    """What the table holds for one key; both counts fade, so that `fading` over their time is a rate."""

    __slots__ = ("error", "fading", "last", "total")

    def __init__(self, error: float) -> None:
        self.fading = error
        self.error = error
        self.total = 0
        self.last = 0.0


class Busiest:
    """A table of the busiest keys.

    Args:
        kept: how many.
        noted: how many keys are counted between two folds.
    """

    def __init__(self, kept: int = KEPT, noted: int = NOTED_IN_A_SECOND) -> None:
        self._kept = kept
        self._most_noted = noted
        self._noted: dict[str, int] = {}
        self._table: dict[str, _Entry] = {}
        self._floor = 0.0
        """The highest count that a key was pushed out with; it fades as they do."""

    def __len__(self) -> int:
        return len(self._table)

    def note(self, counts: Mapping[str, int]) -> None:
        """Count messages by key."""
        noted = self._noted
        for key, count in counts.items():
            if key in noted:
                noted[key] += count
            elif len(noted) < self._most_noted:
                noted[key] = count

    def fold(self, now: float, elapsed_s: float) -> None:
        """Take what was noted into the table.

        Args:
            now: Unix time in seconds.
            elapsed_s: seconds since the last time.
        """
        noted, self._noted = self._noted, {}
        fade = 0.5 ** (elapsed_s / HALF_LIFE_S)
        self._floor *= fade
        for entry in self._table.values():
            entry.fading *= fade
            entry.error *= fade
        for key in self._table.keys() & noted.keys():
            self._add(key, noted.pop(key), now)
        # Of very many that are new, those alone that could stay.
        new = nlargest(self._kept + 1, noted.items(), key=itemgetter(1))
        for key, count in new:
            self._add(key, count, now)
        if len(self._table) > self._kept:
            self._push_out()

    def _add(self, key: str, count: int, now: float) -> None:
        entry = self._table.get(key) or self._table.setdefault(key, _Entry(self._floor))
        entry.fading += count
        entry.total += count
        entry.last = now

    def top(self, count: int) -> list[Busy]:
        """Return those that send the most, the busiest first."""
        # A steady rate r has faded to r * half-life / ln 2 once it has been on for long.
        lasts_s = HALF_LIFE_S / 0.6931
        shown = nlargest(count, self._table.items(), key=lambda item: item[1].fading - item[1].error)
        return [
            Busy(key, (entry.fading - entry.error) / lasts_s, entry.total, entry.last) for key, entry in shown
        ]

    def latest(self, count: int) -> list[Busy]:
        """Return those that sent last, the latest first."""
        shown = nlargest(count, self.top(len(self._table)), key=lambda busy: (busy.last, busy.per_s))
        return list(shown)

    def _push_out(self) -> None:
        ordered = nlargest(self._kept + 1, self._table.items(), key=lambda item: item[1].fading)
        self._floor = max(self._floor, ordered[-1][1].fading)
        self._table = dict(ordered[: self._kept])
