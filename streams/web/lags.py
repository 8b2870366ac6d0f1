"""How far each partition's effects are behind its log: in records, and by the age of the oldest one.

Between the consumer's cursors and the pages.
"""

import asyncio
import time
from collections.abc import Mapping
from contextlib import suppress
from typing import NamedTuple

from faust.types import TP

from streams.errors import Outage
from streams.faust_app import StreamsApp
from streams.kafka.log_reader import LogReader

READ_LIMIT_S = 2.0
"""For all records that must be read to know their age; no page waits longer."""
MS_PER_S = 1_000


class Lag(NamedTuple):
    """How far a partition's effects are behind its log."""

    position: int | None
    """The offset that comes next; None while it is not known."""
    records: int
    oldest_at: float | None = None
    """Unix time in seconds at which the record at `position` was written; None if it was not fetched yet."""


def lags(app: StreamsApp) -> dict[TP, Lag]:
    """Return the lag of every partition that this worker's agents read."""
    found = {}
    cursors = app.deliverer().cursors if app.has_consumer else {}
    for tp, cursor in cursors.items():
        position = cursor.expected if cursor.next_fetch is not None else None
        found[tp] = Lag(position, cursor.lag(app.watch.end(tp)), cursor.oldest_at)
    return found


async def lag_seconds(
    found: Mapping[TP, Lag], reader: LogReader, now: float | None = None
) -> dict[TP, float]:
    """Return the age in seconds of the oldest record of each partition that was not handled; 0 if none is.

    What the consumer has fetched tells its age; only where it has not come so far, the log is asked. A
    partition whose position is not known is left out, and so is one whose record cannot be read in time.

    Args:
        found: the lag of each partition.
        reader: of the logs.
        now: Unix time in seconds.
    """
    now = time.time() if now is None else now
    ages: dict[TP, float] = {}
    unread: dict[TP, int] = {}
    for tp, lag in found.items():
        if lag.position is None:
            continue
        if lag.oldest_at is not None:
            ages[tp] = max(0.0, now - lag.oldest_at)
        elif lag.records:
            unread[tp] = lag.position
        else:
            ages[tp] = 0.0
    if unread:
        with suppress(Outage, TimeoutError):  # the rest is not known
            await asyncio.wait_for(_read(unread, reader, now, ages), READ_LIMIT_S)
    return ages


async def _read(unread: Mapping[TP, int], reader: LogReader, now: float, ages: dict[TP, float]) -> None:
    for tp, position in unread.items():
        for record in await reader.read(tp, position):
            ages[tp] = max(0.0, now - record.timestamp_ms / MS_PER_S)
