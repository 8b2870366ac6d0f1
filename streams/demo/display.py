"""Shows a run of ``./dev run``: a live table on a terminal, lines elsewhere.

What is on a terminal fits in 80 columns and 24 lines.
"""

import os
import signal
import sys
from collections import deque
from collections.abc import Mapping
from datetime import timedelta
from typing import Protocol

from rich.columns import Columns
from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.table import Table
from rich.text import Text

from streams.demo.counters import PARTS, SERVERS, Counts

RATE_OVER_S = 5.0
OFTEN_S = (1, 2, 3, 5, 10, 20, 30, 60)
"""When lines are written at first; after that once a minute."""
FLOWS = ("sent", "accepted", "duplicates", "rejected", "rows")
IN_A_LINE = ("sent", "rows", "duplicates", "rejected")


class Display(Protocol):
    """Where a run shows itself."""

    def say(self, line: str) -> None:
        """Show a line for good."""
        ...

    def show(self, glance: Counts) -> None:
        """Show what flows now."""
        ...

    def close(self) -> None:
        """Leave what was shown last as it stands."""
        ...


def display() -> Display:
    """Return the one that fits stdout."""
    console = Console(highlight=False, markup=False)
    return Screen(console) if console.is_terminal and not console.is_dumb_terminal else Lines()


class Lines:
    """Lines for a file, a pipe or a log: often at first, then once a minute, and whenever a part changes."""

    def __init__(self) -> None:
        self._next_s = 0.0
        self._troubles: Mapping[str, str] = {}

    def say(self, line: str) -> None:
        """Write a line at once, also where it goes to a file that someone watches."""
        try:
            sys.stdout.write(f"{line}\n")
            sys.stdout.flush()
        except OSError:
            nobody_reads()

    def show(self, glance: Counts) -> None:
        """Write a line if it is time for one, and one for each part that changed."""
        for part in (each for each in PARTS if self._changed(each, glance.troubles)):
            self.say(f"{glance.seconds:>5.0f} s  {part}: {glance.troubles.get(part, 'all is well again')}")
        self._troubles = glance.troubles
        if glance.seconds >= self._next_s:
            self._next_s = next_line_s(glance.seconds)
            self.say(flow(glance))

    def close(self) -> None:
        """Do nothing: every line is out."""

    def _changed(self, part: str, troubles: Mapping[str, str]) -> bool:
        return (part in troubles) is not (part in self._troubles)


class Screen:
    """A table on a terminal that shows what flows, in place; what is said stands above it."""

    def __init__(self, console: Console) -> None:
        self._console = console
        self._live: Live | None = None
        self._recent: deque[Counts] = deque()

    def say(self, line: str) -> None:
        """Print a line above the table."""
        try:
            self._console.print(line, soft_wrap=True)
        except OSError:
            nobody_reads()

    def show(self, glance: Counts) -> None:
        """Draw the table anew."""
        self._recent.append(glance)
        while glance.seconds - self._recent[0].seconds > RATE_OVER_S:
            self._recent.popleft()
        try:
            if self._live is None:
                self._live = Live(console=self._console, auto_refresh=False)
                self._live.start()
            self._draw(running=True)
        except OSError:
            nobody_reads()

    def close(self) -> None:
        """Leave the table as it stands."""
        if self._live is None:
            return
        try:
            self._draw(running=False)
            self._live.stop()
        except OSError:
            nobody_reads()
        self._live = None

    def _draw(self, *, running: bool) -> None:
        if self._live is not None:
            drawn = table(self._recent[0], self._recent[-1], running=running)
            self._live.update(drawn, refresh=True)


def next_line_s(seconds: float) -> float:
    """Return when the line after this one is due."""
    return next((at for at in OFTEN_S if at > seconds), (seconds // 60 + 1) * 60)


def flow(glance: Counts) -> str:
    """Return what flows as a line."""
    counts = "  ".join(f"{name} {_count(glance, name):,}" for name in IN_A_LINE)
    return f"{glance.seconds:>5.0f} s  {counts}  lag {glance.lag:,}"


def table(before: Counts, now: Counts, *, running: bool = True) -> Group:
    """Return what flows as a table, with rates since an earlier look."""
    both = Table.grid(padding=(0, 6))
    both.add_row(_flows(before, now), _parts(now))
    reasons = [Text(f"{reason} {count:,}") for reason, count in sorted(now.rejected.items())]
    elapsed = timedelta(seconds=round(now.seconds))
    state = f"running {elapsed}   Ctrl+C ends it" if running else f"ended after {elapsed}"
    shown: list[RenderableType] = [Text(f"\n{state}\n"), both]
    if reasons:
        shown += [Text("\nrejected for", style="dim"), Columns(reasons, equal=True, padding=(0, 2))]
    return Group(*shown)


def _flows(before: Counts, now: Counts) -> Table:
    flows = Table(box=None, padding=(0, 2, 0, 0), header_style="dim")
    flows.add_column("messages")
    flows.add_column("total", justify="right", min_width=9)
    flows.add_column("per second", justify="right")
    elapsed_s = now.seconds - before.seconds
    for name in FLOWS:
        rate = (_count(now, name) - _count(before, name)) / elapsed_s if elapsed_s else 0.0
        flows.add_row(name, f"{_count(now, name):,}", f"{rate:.1f}")
    return flows


def _parts(now: Counts) -> Table:
    parts = Table(box=None, padding=(0, 2, 0, 0), header_style="dim")
    parts.add_column("part")
    parts.add_column("state", no_wrap=True, overflow="ellipsis", max_width=24)
    parts.add_column("lag", justify="right")
    lags = {"worker": now.lag_records, "ingest": now.lag_jobs}
    for part in PARTS:
        trouble = now.troubles.get(part)
        well = "up" if part in SERVERS else "ready"
        lag = f"{lags[part]:,}" if part in lags else ""
        parts.add_row(part, Text(trouble or well, style="red" if trouble else "green"), lag)
    return parts


def _count(glance: Counts, name: str) -> int:
    value = getattr(glance, name)
    return int(value if isinstance(value, int) else sum(value.values()))


def nobody_reads() -> None:
    """End the run in good order, as a closed terminal does: a pipe's reader is gone, or the terminal."""
    with open(os.devnull, "w") as nowhere:  # noqa: PTH123 - a name, no path of ours
        os.dup2(nowhere.fileno(), sys.stdout.fileno())
    signal.raise_signal(signal.SIGHUP)
