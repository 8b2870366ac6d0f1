"""Readiness: asks every part that the worker needs, and the watchdog whether positions and commits move.

Between the web pages and the parts. Liveness is that the process answers at all.
"""

import time
from typing import Any, cast

from faust.tables.manager import TableManager

from streams.counters import Note
from streams.faust_app import StreamsApp
from streams.version import product_version
from streams.web.lags import lags
from streams.web.shared import PartHealth, ask_all, parts_shown


async def readiness(app: StreamsApp) -> dict[str, PartHealth]:
    """Return how each part fares."""
    parts = await ask_all(app.probes)
    parts["consumer"] = _consumer(app)
    parts["positions"] = _positions(app)
    unbalanced = app.statistics.book.unbalanced()
    parts["book"] = PartHealth(not unbalanced, "; ".join(unbalanced))
    stalled = app.watchdog.stalled()
    parts["progress"] = PartHealth(not stalled, "; ".join(stalled))
    return parts


def _consumer(app: StreamsApp) -> PartHealth:
    if not cast("TableManager", app.tables).recovery.completed.is_set():
        return PartHealth(up=False, detail="the table is being recovered")
    if app.rebalancing:
        return PartHealth(up=False, detail="the group is rebalancing")
    held = [f"{tp.topic}[{tp.partition}]" for tp, lag in lags(app).items() if lag.position is None]
    return PartHealth(not held, f"position unknown: {', '.join(sorted(held))}" if held else "")


def _positions(app: StreamsApp) -> PartHealth:
    """Tell whether messages are surely handed on: nothing was removed unread, and everything is held."""
    problems = []
    if cut := app.statistics.notes[Note.RECORDS_CUT]:
        problems.append(
            f"{cut} records were removed from Kafka before they were read, see the log; a restart ends this"
        )
    if unheld := app.audit.unheld():
        problems.append("nobody holds " + ", ".join(f"{tp.topic}[{tp.partition}]" for tp in unheld))
    return PartHealth(not problems, "; ".join(problems))


def statistics_page(app: StreamsApp) -> dict[str, Any]:
    """Return what ``/`` shows."""
    statistics = app.statistics
    by_topic: dict[str, dict[str, int]] = {}
    for tp, lag in lags(app).items():
        by_topic.setdefault(tp.topic, {})[str(tp.partition)] = lag.records
    return {
        "version": product_version(),
        "app": app.conf.id,
        "uptime_s": round(time.time() - statistics.started_at, 1),
        "carries_mqtt": app.carries_mqtt,
        "messages": dict(statistics.messages),
        "rejected": dict(statistics.rejected),
        "notes": dict(statistics.notes),
        "lag_records": {topic: dict(sorted(lag.items())) for topic, lag in sorted(by_topic.items())},
        "lag_records_total": {topic: sum(lag.values()) for topic, lag in sorted(by_topic.items())},
        "positions": _positions_shown(app),
        "book": statistics.book.shown(),
        "parts": parts_shown(statistics),
    }


def _positions_shown(app: StreamsApp) -> dict[str, dict[str, int | None]]:
    """Return by topic and partition the offset that comes next; null while it is not known."""
    shown: dict[str, dict[str, int | None]] = {}
    for tp, lag in sorted(lags(app).items()):
        shown.setdefault(tp.topic, {})[str(tp.partition)] = lag.position
    return shown
