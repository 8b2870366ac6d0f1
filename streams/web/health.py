"""Readiness: asks every part that the worker needs, and looks whether commits move.

Between the web pages and the parts. Liveness is that the process answers at all.
"""

import asyncio
import time
from collections.abc import Mapping
from typing import Any, NamedTuple, cast

from faust.tables.manager import TableManager
from faust.types import TP

from streams.errors import Outage
from streams.kafka.app import Probe, StreamsApp

PROBE_TIMEOUT_S = 2.0
STALLED_AFTER_S = 30.0


class PartHealth(NamedTuple):
    """How one part fares, as the page shows it."""

    up: bool
    detail: str


class Progress:
    """Notices a partition that has lag while its position does not move."""

    def __init__(self) -> None:
        self._seen: dict[TP, tuple[int | None, float]] = {}

    def stalled(self, lags: Mapping[TP, "Lag"], now: float) -> list[str]:
        """Return the partitions that have not moved for `STALLED_AFTER_S`; call it every few seconds.

        Args:
            lags: of every partition that this worker holds.
            now: seconds on a monotonic clock.
        """
        seen: dict[TP, tuple[int | None, float]] = {}
        for tp, lag in lags.items():
            position, since = self._seen.get(tp, (None, now))
            moved = lag.records == 0 or position != lag.position
            seen[tp] = (lag.position, now if moved else since)
        self._seen = seen
        return sorted(
            f"{tp.topic}[{tp.partition}]" for tp, (_, since) in seen.items() if now - since > STALLED_AFTER_S
        )


class Lag(NamedTuple):
    """How far a partition's effects are behind its log."""

    position: int | None
    """The offset that comes next; None while it is not known."""
    records: int


def lags(app: StreamsApp) -> dict[TP, Lag]:
    """Return the lag of every governed partition that this worker holds."""
    found = {}
    for tp, cursor in app.deliverer().cursors.items():
        position = cursor.expected if cursor.next_fetch is not None else None
        found[tp] = Lag(position, cursor.lag(app.watch.end(tp)))
    return found


async def readiness(app: StreamsApp, progress: Progress) -> dict[str, PartHealth]:
    """Return how each part fares."""
    names = list(app.probes)
    answers = await asyncio.gather(*(_ask(app.probes[name]) for name in names))
    parts = dict(zip(names, answers, strict=True))
    parts["consumer"] = _consumer(app)
    stalled = progress.stalled(lags(app), time.monotonic())
    parts["progress"] = PartHealth(not stalled, f"no progress on {', '.join(stalled)}" if stalled else "")
    return parts


async def _ask(probe: Probe) -> PartHealth:
    try:
        await asyncio.wait_for(probe(), PROBE_TIMEOUT_S)
    except TimeoutError:
        return PartHealth(up=False, detail=f"no answer within {PROBE_TIMEOUT_S:g} s")
    except Outage as outage:
        return PartHealth(up=False, detail=str(outage))
    return PartHealth(up=True, detail="")


def _consumer(app: StreamsApp) -> PartHealth:
    if not cast("TableManager", app.tables).recovery.completed.is_set():
        return PartHealth(up=False, detail="the table is being recovered")
    if app.rebalancing:
        return PartHealth(up=False, detail="the group is rebalancing")
    held = [f"{tp.topic}[{tp.partition}]" for tp, lag in lags(app).items() if lag.position is None]
    return PartHealth(not held, f"position unknown: {', '.join(sorted(held))}" if held else "")


def statistics_page(app: StreamsApp) -> dict[str, Any]:
    """Return what ``/`` shows."""
    statistics = app.statistics
    by_topic: dict[str, dict[str, int]] = {}
    for tp, lag in lags(app).items():
        by_topic.setdefault(tp.topic, {})[str(tp.partition)] = lag.records
    return {
        "app": app.conf.id,
        "uptime_s": round(time.time() - statistics.started_at, 1),
        "carries_mqtt": app.leadership.leads,
        "messages": dict(statistics.messages),
        "rejected": dict(statistics.rejected),
        "notes": dict(statistics.notes),
        "lag_records": {topic: dict(sorted(lag.items())) for topic, lag in sorted(by_topic.items())},
        "lag_records_total": {topic: sum(lag.values()) for topic, lag in sorted(by_topic.items())},
        "parts": {
            name: {"up": part.up, "detail": part.detail, "since": part.since}
            for name, part in sorted(statistics.parts.items())
        },
    }
