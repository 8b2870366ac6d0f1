"""The loop that all agents on Kafka share: in order, retried on an outage, acknowledged after the effects.

Between Faust's streams and the agents' own work. Faust's acknowledgements serve its shutdown alone; what
counts is the `Cursor`, which moves on only when all effects of a record are durable.
"""

import asyncio
import logging
from collections.abc import Awaitable, Callable, Sequence
from typing import NamedTuple, Protocol, cast

from faust.streams import Stream
from faust.types import TP, ChannelT, EventT, StreamT

from streams.backoff import delays
from streams.bugs import foreseen
from streams.counters import Note, Statistics
from streams.errors import Bug, MetricStreamsError, NewerFormat, Outage, PositionMoved, StartupRefused
from streams.kafka.positions import BUG, UNFINISHED_MOST, Admission, Anchor, Cursor
from streams.wire.headers import OVER_QUOTA, check_format

log = logging.getLogger(__name__)

RETRY_FIRST_S, RETRY_LAST_S = 0.05, 5.0
REWIND_PAUSE_S = 2.0
ENOUGH_BYTES = 64 * 1024
"""Records are taken together until they have so many bytes: larger ones gain nothing by it."""
UNREAD_SHARE = 16
"""A record whose messages are beyond a quota, so that nobody looks at them, counts for so much less."""


class Record(NamedTuple):
    """One record of a topic, as it came."""

    partition: int
    offset: int
    value: bytes
    headers: dict[str, bytes]
    timestamp_ms: int = 0
    """Unix time in milliseconds at which it was produced: the same for whoever reads it."""


class Deliverer(Protocol):
    """The consumer, as the loop needs it."""

    flow_active: bool

    @property
    def is_stopping(self) -> bool:
        """Whether the worker ends: what is not finished stays for the next one."""
        ...

    def cursor(self, tp: TP) -> Cursor:
        """Return the cursor of a partition."""
        ...

    def finished(self, tp: TP, offset: int) -> None:
        """Note that all effects of a record are durable."""
        ...

    async def rewind(self, tp: TP, offset: int) -> None:
        """Deliver again from an offset."""
        ...

    async def reposition(self, tp: TP) -> None:
        """Deliver behind the last durable effect."""
        ...

    async def confirms(self, tp: TP) -> bool:
        """Tell whether the log still has the record that was finished last.

        Raises:
            Outage: if Kafka does not answer.
        """
        ...

    def refuse(self, why: MetricStreamsError) -> None:
        """End the worker: it must not go on."""
        ...


Work = Callable[[Sequence[Record]], Awaitable[None]]
"""Takes successive records of one partition, in order; when it returns, all their effects are durable."""


async def process_in_order(
    stream: StreamT[bytes],
    consumer: Callable[[], Deliverer],
    work: Work,
    statistics: Statistics,
    *,
    at_most: int = UNFINISHED_MOST,
) -> None:
    """Take the records of an isolated partition through `work`, in order, until the stream ends.

    Args:
        stream: of one partition.
        consumer: returns the consumer.
        work: takes those records that are there, but no more than `at_most` at a time.
        statistics: told of outages.
        at_most: records.
    """
    rewinds = _Rewinds()
    faust_stream = cast("Stream[bytes]", stream)
    # `noack()`, since Faust acknowledges a record on which its agent fails or is cancelled (its streams.py).
    async for event in faust_stream.noack().events():
        events = _with_those_behind(event, faust_stream, at_most)
        tp = TP(event.message.topic, event.message.partition)
        deliverer = consumer()
        cursor = deliverer.cursor(tp)
        taken, missing = ([], False) if deliverer.is_stopping else _in_order(events, cursor)
        if taken:
            await _take(taken, deliverer, tp, work, statistics)
        if missing:
            await rewinds.ask(deliverer, tp, cursor)
        # In any case: Faust's rebalances and its stop wait, without a bound, for what was not acknowledged.
        # What is committed, and where the partition goes on, comes from the cursor.
        for each in events:
            each.ack()


def _with_those_behind(event: EventT[bytes], stream: "Stream[bytes]", at_most: int) -> list[EventT[bytes]]:
    """Take along what waits behind an event: small chunks cost less together than each on its own.

    They come from the queue as Faust's own iterator takes them, which has just made sure, for the event in
    front, that the worker still has the partition.
    """
    queue = cast("ChannelT[bytes]", stream.channel).queue
    # Bounded in bytes as well: a batch is retried as a whole, and others wait while it is worked on.
    events, size_bytes = [event], _weight_bytes(event)
    while queue.qsize() and len(events) < at_most and size_bytes < ENOUGH_BYTES:
        events.append(queue.get_nowait())
        size_bytes += _weight_bytes(events[-1])
    return events


def _weight_bytes(event: EventT[bytes]) -> int:
    """Return how much work a record is likely to be, as the bytes of one whose messages are looked at."""
    size_bytes = len(event.message.value or b"")
    return size_bytes // UNREAD_SHARE if OVER_QUOTA in dict(event.message.headers or ()) else size_bytes


def _in_order(events: Sequence[EventT[bytes]], cursor: Cursor) -> tuple[list[Record], bool]:
    """Return the records that are next, and whether one behind them shows that others are missing."""
    taken: list[Record] = []
    for event in events:
        admission = cursor.offered(event.message.offset, ahead=len(taken))
        if admission is Admission.TAKE:
            taken.append(_record(event))
        elif admission is Admission.REWIND:
            return taken, True
    return taken, False


async def _take(
    records: Sequence[Record], deliverer: Deliverer, tp: TP, work: Work, statistics: Statistics
) -> None:
    cursor = deliverer.cursor(tp)
    cursor.busy, waiting = True, _Waiting(statistics, tp)
    try:
        finished = await _persist(records, deliverer, tp, work, waiting)
    except PositionMoved as displaced:
        cursor.busy = False
        log.warning("%s[%d] at offset %d: %s", *tp, records[0].offset, displaced)
        # With `busy` off: a doubt that the audit raised meanwhile waits for that before it asks for the
        # position.
        await deliverer.reposition(tp)
        return
    finally:
        cursor.busy = False
        waiting.over()
    if finished:
        last = records[-1]
        anchor = Anchor.of(last.offset, last.value, last.headers)
        cursor.passed(anchor, (record.headers for record in records))
        for record in records:
            deliverer.finished(tp, record.offset)


async def _persist(
    records: Sequence[Record], deliverer: Deliverer, tp: TP, work: Work, waiting: "_Waiting"
) -> bool:
    """Try until the work is done; give up only when the partition is being taken away or the worker ends."""
    cursor = deliverer.cursor(tp)
    while True:
        try:
            with foreseen(Outage, PositionMoved, NewerFormat, StartupRefused):
                await _check(records, deliverer, tp)
                await work(records)
        except Outage as error:
            cursor.note_outage(error.part)
            wait_s = waiting.note(error)
        except (NewerFormat, StartupRefused) as refusal:
            deliverer.refuse(refusal)
            return False
        except Bug as bug:
            # The one place for a bug that is no single message's: neither skipping the chunk nor restarting
            # the agent would be right, so it is tried again, loudly, readiness fails, and in the end the
            # watchdog restarts the worker: what went wrong may be in its memory.
            cursor.held_up_by = BUG
            waiting.count_bug()
            log.error("a bug holds up %s[%d] at offset %d", *tp, records[0].offset, exc_info=bug.cause)
            wait_s = waiting.note(Outage("agents", f"a partition is held up by {BUG}"))
        else:
            return True
        await asyncio.sleep(wait_s)
        # Faust waits without a bound for the agents when it rebalances or stops: an outage must not hold that
        # up. The record comes again, here or at another worker.
        if deliverer.is_stopping or not deliverer.flow_active:
            return False


async def _check(records: Sequence[Record], deliverer: Deliverer, tp: TP) -> None:
    """Return if the records follow what was finished last, and this version can read them.

    Raises:
        NewerFormat: it cannot.
        PositionMoved: they stand in another log, which was set back or made anew and has grown past the
            position.
        Outage: Kafka does not say now.
    """
    for record in records:
        try:
            check_format(record.headers)
        except NewerFormat as newer:
            # Here the place is known, which whoever reads the log needs in order to find the version that
            # wrote it.
            raise newer.at(f"the record at {tp.topic}[{tp.partition}] offset {record.offset}") from newer
    if not deliverer.cursor(tp).follows(
        record.headers for record in records
    ) and not await deliverer.confirms(tp):
        raise PositionMoved("the log no longer holds what was read before this record")


def _record(event: EventT[bytes]) -> Record:
    message = event.message
    headers, timestamp_ms = dict(message.headers or ()), round((message.timestamp or 0) * 1_000)
    return Record(message.partition, message.offset, message.value or b"", headers, timestamp_ms)


class _Rewinds:
    """Asks for a rewind once, not for each of the records that are already on their way."""

    def __init__(self) -> None:
        self._asked: tuple[int | None, float] = (None, 0.0)

    async def ask(self, deliverer: Deliverer, tp: TP, cursor: Cursor) -> None:
        now = asyncio.get_running_loop().time()
        offset, at = self._asked
        # Every record behind a hole asks for it, and a second rewind would throw away what the first one
        # brings.
        if cursor.expected is not None and (offset != cursor.expected or now - at > REWIND_PAUSE_S):
            self._asked = (cursor.expected, now)
            await deliverer.rewind(tp, cursor.expected)


class _Waiting:
    """Notes for which part a partition waits, and that it waits no more; the log is written from that."""

    def __init__(self, statistics: Statistics, tp: TP) -> None:
        self._statistics = statistics
        self._name = f"{tp.topic}[{tp.partition}]"
        self._part: str | None = None
        self._delays = delays(RETRY_FIRST_S, RETRY_LAST_S)

    def count_bug(self) -> None:
        """Count a failed try that no outage explains."""
        self._statistics.notes[Note.BUGS] += 1

    def note(self, outage: Outage) -> float:
        """Record a failed try; return the seconds to wait before the next."""
        # One part may come back while another goes: each is told of by its own name.
        if self._part != outage.part:
            self.over()
        self._part = outage.part
        self._statistics.down(outage.part, self._name, outage.detail, (self._name,))
        return next(self._delays)

    def over(self) -> None:
        """Record that the work went through, or is given up."""
        if self._part is not None:
            self._statistics.leave(self._part, self._name)
            self._part = None
