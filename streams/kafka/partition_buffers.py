"""Keeps what was fetched until its agent has room, each partition in a lane of its own.

Between the consumer's fetches and the agents. Faust's own drain loop waits for room in one agent's queue
while the records of all others wait behind it (``transport/conductor.py``), so a Redis that is away would
stop refine as well, and a PostgreSQL that is away would stop handoff.
"""

import asyncio
import logging
from collections import deque
from collections.abc import Awaitable, Callable
from typing import Any

from faust.types import TP

from streams.kafka.positions import Cursor

log = logging.getLogger(__name__)

CROWDED_RECORDS = 16
CROWDED_BYTES = 1 * 1024 * 1024
"""A lane with this much in it gets no more until it is down to less: what is fetched at once comes on top."""

Hand = Callable[[Any], Awaitable[None]]


class _Lane:
    def __init__(self) -> None:
        self.records: deque[Any] = deque()
        self.size_bytes = 0
        self.news = asyncio.Event()
        self.task: asyncio.Task[None] | None = None

    def clear(self) -> None:
        self.records.clear()
        self.size_bytes = 0


class PartitionBuffers:
    """One lane for each partition that has been fetched from.

    Args:
        hand: takes a record to its agent; may wait.
        cursor: returns a partition's cursor, which tells how much its agent has not finished.
    """

    def __init__(self, hand: Hand, cursor: Callable[[TP], Cursor]) -> None:
        self._hand = hand
        self._cursor = cursor
        self._lanes: dict[TP, _Lane] = {}

    def add(self, tp: TP, record: Any) -> None:
        """Put a record behind those of its partition."""
        lane = self._lanes.setdefault(tp, _Lane())
        lane.records.append(record)
        lane.size_bytes += len(record.value or b"")
        lane.news.set()
        # A lane ends when Faust loses its partition (see `_carry`), and the worker may get that back.
        if lane.task is None or lane.task.done():
            lane.task = asyncio.create_task(self._carry(tp, lane), name=f"lane {tp.topic}[{tp.partition}]")

    def crowded(self) -> set[TP]:
        """Return the partitions of which nothing more should be fetched now."""
        return {
            tp
            for tp, lane in self._lanes.items()
            if len(lane.records) >= CROWDED_RECORDS or lane.size_bytes >= CROWDED_BYTES
        }

    def room(self, tp: TP) -> None:
        """Note that an agent has finished something."""
        if (lane := self._lanes.get(tp)) is not None:
            lane.news.set()

    def clear(self, tp: TP) -> None:
        """Forget what waits of a partition, which is going to be read from elsewhere."""
        if (lane := self._lanes.get(tp)) is not None:
            # Also while its task waits to hand one on: that record has the old position, and the agent
            # refuses it.
            lane.clear()

    def close(self) -> None:
        """Forget everything, and end."""
        for lane in self._lanes.values():
            lane.clear()
            if lane.task is not None:
                lane.task.cancel()
        self._lanes.clear()

    async def _carry(self, tp: TP, lane: _Lane) -> None:
        try:
            while True:
                await lane.news.wait()
                lane.news.clear()
                while lane.records and self._cursor(tp).has_room:
                    record = lane.records.popleft()
                    lane.size_bytes -= len(record.value or b"")
                    # Noted before the hand-over, which may wait: the record is in no lane any more by then.
                    self._cursor(tp).handed_on(record.offset)
                    await self._hand(record)
        except KeyError:  # Faust's conductor no longer knows the partition
            log.info("%s[%d] is another worker's by now", *tp)
        finally:
            # What was not handed on is read again: the consumer notices that its agent starves.
            lane.clear()
