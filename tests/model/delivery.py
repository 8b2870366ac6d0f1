"""Delivers a partition to an agent as `streams.kafka.consumer.OrderedConsumer` does, record by record."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from types import SimpleNamespace
from typing import Any, NamedTuple

from faust.types import TP

from streams.counters import Statistics
from streams.errors import MetricStreamsError, Outage
from streams.kafka.log_reader import LogReader, still_there
from streams.kafka.positions import Admission, Cursor, LogRange, PositionSource
from streams.kafka.record_loop import Work, process_in_order
from tests.parts.faust_stream import FakeStream


class Held(NamedTuple):
    """A record as the consumer sees it."""

    value: bytes
    headers: dict[str, bytes]
    timestamp_s: float | None = None


@dataclass
class Log:
    """A partition of a topic as Kafka shows it."""

    tp: TP
    records: Callable[[], Sequence[Held]]
    """An offset is a place among them."""
    committed: int | None = None

    @property
    def end(self) -> int:
        return len(self.records())


@dataclass
class Event:
    """A record on its way to the agent."""

    message: Any

    def ack(self) -> None:
        """Do nothing: what counts is the cursor."""


class Delivery:
    """The cursor of a partition, the source of its position, and the loop that the agents share."""

    flow_active = True
    is_stopping = False

    def __init__(self, log: Log, source: PositionSource, reader: LogReader) -> None:
        self.at = Cursor()
        self._reader = reader
        self.revoked = False
        self._log = log
        self._source = source
        self._committed = log.committed
        self._statistics = Statistics()

    @property
    def has_next(self) -> bool:
        return self.at.next_fetch is not None and self.at.next_fetch < self._log.end

    @property
    def end(self) -> int:
        return self._log.end

    @property
    def expected(self) -> int:
        assert self.at.expected is not None
        return self.at.expected

    async def place(self) -> None:
        """Ask where the effects stand, until that is known."""
        while not self.revoked:
            try:
                range_ = LogRange(0, self._log.end)
                position = await self._source.position(self._log.tp.partition, range_)
            except Outage:
                continue
            self.at.place(position)
            return

    async def holds(self) -> bool:
        """Ask whether the position's effects still say what they said."""
        return await self._source.holds(self._log.tp.partition)

    def assigned_anew(self) -> None:
        """Lose the position, as in a rebalance, and hear from Kafka what is committed."""
        self.at.hold()
        self._committed = self._log.committed

    def commit(self) -> None:
        """Commit as the consumer does."""
        offset = self.at.committable
        if offset and offset > (self._committed or 0):
            self._log.committed = self._committed = offset

    async def next(self, work: Work, at_most: int) -> None:
        """Take the records that are next through the agent."""
        start = self.at.next_fetch
        assert start is not None
        offsets = range(start, min(start + at_most, self._log.end))
        for offset in offsets:
            assert self.at.fetched(offset) is Admission.TAKE
        await self.hand(offsets, work)

    async def hand(self, offsets: Sequence[int], work: Work) -> None:
        """Hand the agent records, from a stale buffer perhaps."""
        stream: Any = FakeStream([self._event(offset) for offset in offsets])
        await process_in_order(stream, lambda: self, work, self._statistics)

    def _event(self, offset: int) -> Event:
        record = self._log.records()[offset]
        return Event(
            SimpleNamespace(
                topic=self._log.tp.topic,
                partition=self._log.tp.partition,
                offset=offset,
                value=record.value,
                headers=list(record.headers.items()),
                timestamp=record.timestamp_s,
            )
        )

    def rewound(self, offset: int) -> None:
        """Read again from an offset."""
        self.at.rewind(offset)

    # --- What the loop asks of the consumer

    def cursor(self, tp: TP) -> Cursor:
        assert tp == self._log.tp
        return self.at

    def finished(self, _tp: TP, offset: int) -> None:
        self.at.done(offset)

    async def rewind(self, _tp: TP, offset: int) -> None:
        self.rewound(offset)

    async def reposition(self, _tp: TP) -> None:
        self.at.hold()
        await self.place()

    async def confirms(self, tp: TP) -> bool:
        return await still_there(self._reader, tp, self.at.anchor)

    def refuse(self, why: MetricStreamsError) -> None:
        raise AssertionError(f"refused: {why}")
