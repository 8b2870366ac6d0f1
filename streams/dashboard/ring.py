"""The last fifteen minutes of some figures, one of each a second. Pure, and bounded: arrays of one length.

Between the sampler, which adds, and the event stream, which sends all of it to a page that has just opened.
"""

from array import array
from collections.abc import Iterator, Mapping, Sequence
from math import isnan, nan

SECONDS = 15 * 60
DIGITS = 4
"""After the point, of what is sent: a latency of a tenth of a millisecond."""


class Ring:
    """Figures by name, each second overwriting the oldest.

    Args:
        names: of the figures.
        quiet: those of them that are not sent while they were 0 all the time.
        capacity: how many seconds are kept.
    """

    def __init__(self, names: Sequence[str], quiet: Sequence[str] = (), capacity: int = SECONDS) -> None:
        self._quiet = frozenset(quiet)
        self._capacity = capacity
        self._next = 0
        self._filled = 0
        self._at = array("d", [nan]) * capacity
        self._columns = {name: array("d", [nan]) * capacity for name in names}

    def __len__(self) -> int:
        return self._filled

    def add(self, at: float, figures: Mapping[str, float]) -> None:
        """Keep one second; a figure that is not named is not known.

        Args:
            at: Unix time in seconds.
            figures: by name; a name that the ring does not have is left out.
        """
        self._at[self._next] = at
        for name, column in self._columns.items():
            column[self._next] = figures.get(name, nan)
        self._next = (self._next + 1) % self._capacity
        self._filled = min(self._filled + 1, self._capacity)

    def history(self) -> dict[str, list[float | None]]:
        """Return the times as ``at`` and each figure, the oldest first; None where one is not known.

        A quiet figure that was always 0 is left out: of the reasons for a rejection most are.
        """
        told = {name: list(self._in_order(column)) for name, column in self._columns.items()}
        return {"at": list(self._in_order(self._at))} | {
            name: column for name, column in told.items() if name not in self._quiet or any(column)
        }

    def _in_order(self, column: "array[float]") -> Iterator[float | None]:
        begin = self._next - self._filled
        for index in range(begin, self._next):
            figure = column[index]  # below 0 it counts from the end, as it should
            yield None if isnan(figure) else round(figure, DIGITS)
