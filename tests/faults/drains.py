"""How long it took, after each fault, until what was acknowledged behind it had landed: liveness."""

import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

from tests.faults.bounds import BOUNDS_S

PROBE_S = 3.0
"""What comes until so long after a fault is waited for: where devices were quiet, nothing was due."""


class Kind(Protocol):
    """A fault, of which the kind alone matters here."""

    @property
    def kind(self) -> str:
        """Its kind."""
        ...


@dataclass
class _Open:
    kind: str
    began: float
    limit_s: float
    """What is promised for the slowest of the kinds from which things recovered meanwhile."""
    rows_due: int | None = None


class Drains:
    """Measures each fault's recovery.

    While something else is wrong, nothing is expected to drain, and the time begins anew.

    Attributes:
        longest_s: the longest recovery by kind of fault.
        too_long_s: of those that took longer than what is promised, the longest by kind.
    """

    def __init__(self) -> None:
        self.longest_s: dict[str, float] = {}
        self.too_long_s: dict[str, float] = {}
        self._open: list[_Open] = []

    def fault_over(self, kind: str) -> None:
        """Begin to count."""
        self._open.append(_Open(kind, time.monotonic(), BOUNDS_S[kind]))

    def look(self, rows: int, rows_due: int, *, under_way: Sequence[Kind]) -> None:
        """Take in how many rows there are, and how many are due by now."""
        now = time.monotonic()
        slowest = max(
            [BOUNDS_S[fault.kind] for fault in under_way] + [one.limit_s for one in self._open], default=0.0
        )
        for one in self._open:
            one.limit_s = slowest
            if under_way:
                one.began = now
            elif one.rows_due is None and now - one.began >= PROBE_S:
                one.rows_due = rows_due
        for one in [one for one in self._open if one.rows_due is not None and rows >= one.rows_due]:
            self._open.remove(one)
            self._note(one, now - one.began)

    def end(self) -> None:
        """Take what has not recovered so far for what it is."""
        for one in self._open:
            self._note(one, time.monotonic() - one.began)
        self._open.clear()

    def _note(self, one: _Open, took_s: float) -> None:
        self.longest_s[one.kind] = max(self.longest_s.get(one.kind, 0.0), took_s)
        if took_s > one.limit_s:
            self.too_long_s[one.kind] = max(self.too_long_s.get(one.kind, 0.0), took_s)
