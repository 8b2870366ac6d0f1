"""Looks, every few seconds, whether what every position rests on is still there, also where nothing flows.

Beside the consumer. A log that is set back or made anew while a worker runs, or a Redis that comes back with
older data, would show in the next record alone: and where none comes, never. So the record before each
position is read again, and each agent's effects are asked whether they still say the same. A partition that
nobody holds is noticed as well: a topic that was deleted and made again drops out of the group until somebody
looks.
"""

import logging
from collections import deque
from collections.abc import Collection
from typing import Protocol

from faust.types import TP

from streams.background import Background
from streams.counters import Statistics
from streams.errors import NewerFormat, Outage, StartupRefused
from streams.kafka.log_reader import LogReader, still_there
from streams.kafka.positions import Cursor, PositionSource

log = logging.getLogger(__name__)

EVERY_S = 2.0
PARTITIONS_A_LOOK = 4
NOT_THERE = "the record before the position is no longer in the log"
SHORTER = "the log is shorter than what was read of it"
MOVED = "its effects are not where this worker left them"


class Audited(Protocol):
    """The consumer, as the audit needs it."""

    cursors: dict[TP, Cursor]

    def doubt(self, tp: TP, why: str) -> None:
        """Ask anew for a partition's position."""
        ...


class Group(Protocol):
    """The consumer group, as Kafka describes it."""

    async def unheld(self) -> Collection[TP]:
        """Return the partitions of our topics that no member holds, or raise Outage."""
        ...

    async def close(self) -> None:
        """Disconnect."""
        ...


class Refresh(Protocol):
    """Lets the consumer learn anew which partitions there are."""

    async def __call__(self) -> None:
        """Ask Kafka."""
        ...


class Audit:
    """Looks at a few partitions at a time, for as long as the worker runs, and never raises into it.

    Args:
        sources: by topic, who tells how far its effects have come.
        reader: of the logs.
        group: of the worker.
        refresh: lets the consumer learn anew which partitions there are.
        statistics: counts bugs.
    """

    def __init__(
        self,
        sources: dict[str, PositionSource],
        reader: LogReader,
        group: Group,
        refresh: Refresh,
        statistics: Statistics,
    ) -> None:
        self._sources = sources
        self._reader = reader
        self._group = group
        self._refresh = refresh
        self._next: deque[TP] = deque()
        self._unheld: dict[TP, int] = {}
        self._looking = Background(
            "the audit of the positions",
            self._look,
            EVERY_S,
            statistics,
            meaning="Until it is mended, a log that was set back may show in its next record alone",
            first_at_once=False,
        )
        self._consumer: Audited | None = None

    def begin(self, consumer: Audited) -> None:
        """Look at a consumer's partitions from now on."""
        self._consumer = consumer
        self._looking.begin()

    async def start(self) -> None:
        """Do nothing: there is no consumer yet."""

    async def stop(self) -> None:
        """Cease to look."""
        await self._looking.end()
        await self._group.close()

    def unheld(self) -> list[TP]:
        """Return the partitions that nobody has held at two looks in a row."""
        return sorted(tp for tp, looks in self._unheld.items() if looks > 1)

    async def _look(self) -> None:
        try:
            await self.look()
        except (Outage, StartupRefused, NewerFormat) as error:
            # Whoever works on the partition meets it as well, and says so.
            log.debug("could not check the positions: %s", error)

    async def look(self) -> None:
        """Look at the next few partitions, and at the group."""
        consumer = self._consumer
        if consumer is None:
            return
        placed = {tp for tp, cursor in consumer.cursors.items() if cursor.next_fetch is not None}
        # A round is ended before the next begins, so that with many partitions each has its turn.
        self._next = deque(tp for tp in self._next if tp in placed) or deque(sorted(placed))
        for _ in range(min(PARTITIONS_A_LOOK, len(self._next))):
            tp = self._next.popleft()
            cursor = consumer.cursors.get(tp)
            if cursor is None:
                continue  # another worker has it since the look began
            if (why := await self._what_is_wrong(tp, cursor)) is not None:
                consumer.doubt(tp, why)
        await self._look_at_the_group(consumer.cursors.keys())

    async def _what_is_wrong(self, tp: TP, cursor: Cursor) -> str | None:
        # Taken before anything is awaited: the agent goes on meanwhile, and moves them.
        expected, anchor = cursor.expected, cursor.anchor
        if not await self._sources[tp.topic].holds(tp.partition):
            return MOVED
        if expected is not None and (await self._reader.range(tp, expected)).end < expected:
            return SHORTER
        return None if await still_there(self._reader, tp, anchor) else NOT_THERE

    async def _look_at_the_group(self, ours: Collection[TP]) -> None:
        unheld = await self._group.unheld()
        if not set(ours).isdisjoint(unheld):
            # The group is being balanced, or the broker does not say what its members hold (Tansu).
            unheld = []
        self._unheld = {tp: self._unheld.get(tp, 0) + 1 for tp in unheld}
        if self.unheld():
            log.warning(
                "no worker holds %s: asking Kafka again which partitions there are",
                ", ".join(f"{tp.topic}[{tp.partition}]" for tp in self.unheld()),
            )
            await self._refresh()
