"""Tells once a minute what flowed through a worker, and once in a while that nothing does.

Between the `Statistics` and the log. Pure but for the log: it is told the time.
"""

import logging
from collections import Counter
from collections.abc import Callable, Mapping, Sequence

from streams.counters import Count, Statistics

log = logging.getLogger(__name__)

EVERY_S = 60.0
IDLE_EVERY_S = 1800.0
SHOWN_REASONS = 5
STAGES = {
    Count.RECEIVED: "messages received",
    Count.REFINED: "refined",
    Count.PUSHED: "handed off",
    Count.JOBS: "jobs pushed",
}


class FlowLog:
    """Counts from line to line.

    Args:
        statistics: what everyone counts in.
        lag: tells, by topic, how many records are behind; None while that is not known.
        now: seconds that never go back.
    """

    def __init__(
        self, statistics: Statistics, lag: Callable[[], Mapping[str, int] | None], now: float
    ) -> None:
        self._statistics = statistics
        self._lag = lag
        self._since = now
        self._idle_since: float | None = None
        self._said_idle: float | None = None
        self._messages, self._rejected = self._counts()

    def look(self, now: float, away: Sequence[str] = ()) -> None:
        """Say what flowed, if the minute is over; `away` names the parts that are waited for."""
        if now - self._since >= EVERY_S:
            self.tell(now, away)

    def tell(self, now: float, away: Sequence[str] = ()) -> None:
        """Say what flowed since the last line, if anything did or waits to."""
        before, self._since = self._since, now
        messages, rejected = self._counts()
        new, why = messages - self._messages, rejected - self._rejected
        self._messages, self._rejected = messages, rejected
        lag = self._lag()
        behind = _behind(lag)
        if new or behind:
            self._idle_since = self._said_idle = None
            fields = {
                "seconds": now - before,
                "messages": dict(new),
                "rejected": dict(why),
                "lag_records": lag,
                "waiting_for": list(away),
            }
            log.info("%s", _line(now - before, new, why, behind, away), extra=fields)
        else:
            self._tell_idle(before, now, away)

    def _tell_idle(self, before: float, now: float, away: Sequence[str]) -> None:
        if self._idle_since is None:
            self._idle_since = before
        if self._said_idle is None or now - self._said_idle >= IDLE_EVERY_S:
            self._said_idle = now
            told = f"; waiting for {', '.join(away)}" if away else ""
            log.info("nothing flowed in the last %.0f s, and nothing waits%s", now - self._idle_since, told)

    def _counts(self) -> tuple[Counter[str], Counter[str]]:
        return Counter(self._statistics.messages), Counter(self._statistics.rejected)


def _behind(lag: Mapping[str, int] | None) -> str:
    """Return how far the worker is behind; empty if it is not."""
    if lag is None:
        return "how far behind is not known"
    told = ", ".join(f"{records} records of {topic}" for topic, records in sorted(lag.items()) if records)
    return told and f"behind by {told}"


def _line(
    seconds: float,
    new: Counter[str],
    why: Counter[str],
    behind: str,
    away: Sequence[str],
) -> str:
    per_s = max(seconds, 1.0)
    told = [
        f"{new[stage]} {called} ({new[stage] / per_s:.0f}/s)"
        for stage, called in STAGES.items()
        if new[stage]
    ]
    if new[Count.DUPLICATE]:
        told.append(f"{new[Count.DUPLICATE]} duplicates")
    if why:
        told.append(f"{why.total()} rejected ({_reasons(why)})")
    told.append(behind or "nothing behind")
    if away:
        told.append(f"waiting for {', '.join(away)}")
    return f"in {seconds:.0f} s: {'; '.join(told)}"


def _reasons(why: Counter[str]) -> str:
    shown = [f"{reason} {count}" for reason, count in why.most_common(SHOWN_REASONS)]
    others = why.total() - sum(count for _, count in why.most_common(SHOWN_REASONS))
    return ", ".join([*shown, f"others {others}"] if others else shown)
