"""How long it took, after each fault, until what was acknowledged behind it had landed: liveness."""

import time
from collections.abc import Sequence
from dataclasses import dataclass

from tests.faults.bounds import BOUNDS_S

PROBE_S = 3.0
"""What comes until so long after a fault is waited for: where devices were quiet, nothing was due."""


@dataclass
class _Open:
    kind: str
    began: float
    rows_due: int | None = None


class Drains:
    """Measures each fault's recovery.

    While something else is wrong, nothing is expected to drain, and the time begins anew.

    Attributes:
        longest_s: the longest recovery by kind of fault.
    """

    def __init__(self) -> None:
        self.longest_s: dict[str, float] = {}
        self._open: list[_Open] = []

    def fault_over(self, kind: str) -> None:
        """Begin to count."""
        self._open.append(_Open(kind, time.monotonic()))

    def look(self, rows: int, rows_due: int, *, under_way: Sequence[object]) -> None:
        """Take in how many rows there are, and how many are due by now."""
        now = time.monotonic()
        for one in self._open:
            if under_way:
                one.began = now
            elif one.rows_due is None and now - one.began >= PROBE_S:
                one.rows_due = rows_due
        for one in [one for one in self._open if one.rows_due is not None and rows >= one.rows_due]:
            self.longest_s[one.kind] = max(self.longest_s.get(one.kind, 0.0), now - one.began)
            self._open.remove(one)

    def too_long(self) -> dict[str, float]:
        """Return the recoveries that took longer than what is promised, those included that are not over."""
        now = time.monotonic()
        took = self.longest_s | {one.kind: now - one.began for one in self._open}
        return {kind: took_s for kind, took_s in took.items() if took_s > BOUNDS_S[kind]}
