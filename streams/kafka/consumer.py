"""A Faust consumer that delivers governed partitions in unbroken order, from where their effects stand.

Between Kafka and the agents. What it mends in Faust 0.15.3 (``transport/consumer.py``): the drain loop may
deliver from a stale buffer after a rebalance, takes the hole that this leaves for a compacted gap, and
commits past it. So here a partition's position comes from a `PositionSource`, a record is handed on only if
it is the next one, and what is committed is what the agents finished, for others to see the lag by.
"""

import asyncio
import logging
from collections.abc import AsyncIterator, Collection, Iterable, Mapping
from typing import Any, cast

from aiokafka import AIOKafkaConsumer
from aiokafka.errors import IllegalStateError, KafkaError
from faust.transport.drivers import aiokafka as driver
from faust.types import TP
from mode import Service

from streams.backoff import delays
from streams.errors import Outage
from streams.kafka.positions import Admission, Cursor, LogRange, PositionSource

log = logging.getLogger(__name__)

PLACING_GRACE_S = 1.0
STARVED_CHECK_S = 5.0
FETCH_MAX_WAIT_MS = 100


class ConsumerThread(driver.AIOKafkaConsumerThread):
    """The thread with the aiokafka consumer; a commit that fails is tried again, not a reason to end."""

    def _create_worker_consumer(self, transport: driver.Transport) -> AIOKafkaConsumer:
        consumer = super()._create_worker_consumer(transport)
        # Faust asks for 1.5 s. A broker answers a connection's requests in turn, so whatever else is asked of
        # it, offsets first of all, waits for a fetch that has nothing to return.
        consumer._fetch_max_wait_ms = FETCH_MAX_WAIT_MS
        return consumer

    async def _commit(self, offsets: Mapping[TP, int]) -> bool:
        consumer = self._ensure_consumer()
        assigned = self.assignment()
        try:
            await consumer.commit(
                {driver.ensure_aiokafka_TP(tp): offset for tp, offset in offsets.items() if tp in assigned}
            )
        except KafkaError as error:
            # Commits only show the lag: the positions that count live with their effects.
            log.warning("offsets were not committed, the next commit carries them: %r", error)
            return False
        cast("GovernedConsumer", self.consumer).committed.update(offsets)
        return True


class GovernedConsumer(driver.Consumer):
    """Delivers governed partitions strictly in order."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.cursors: dict[TP, Cursor] = {}
        self.committed: dict[TP, int] = {}
        """What Kafka holds as committed; Faust's own `_committed_offset` also takes what failed."""
        self._sources: dict[str, PositionSource] = cast("Any", self.app).position_sources
        self._ranges: dict[TP, LogRange] = {}
        """Asked for all partitions at once when they are assigned; each is good for one placing."""
        self._placing: dict[TP, asyncio.Task[None]] = {}
        self._sought: set[TP] = set()
        self._starved_before: dict[TP, int] = {}

    def _new_consumer_thread(self) -> ConsumerThread:
        return ConsumerThread(self, loop=self.loop, beacon=self.beacon)

    def governs(self, tp: TP) -> bool:
        """Tell whether a partition's position lives with its effects."""
        return tp.topic in self._sources

    def cursor(self, tp: TP) -> Cursor:
        """Return the cursor that the consumer and the agent of a partition share."""
        return self.cursors.setdefault(tp, Cursor())

    async def perform_seek(self) -> None:
        """Send every partition to its position; one that cannot be told yet is held back alone."""
        await super().perform_seek()
        self._stop_placing()
        self.committed = {tp: offset for tp, offset in self._committed_offset.items() if offset is not None}
        governed = {tp for tp in self.assignment() if self.governs(tp)}
        for gone in self.cursors.keys() - governed:
            del self.cursors[gone]
        self._ranges = await self._log_ranges(governed)
        for tp in governed:
            self.cursor(tp).hold()
            self._placing[tp] = asyncio.create_task(self._place(tp), name=f"place {tp.topic}[{tp.partition}]")
        if self._placing:
            await asyncio.wait(self._placing.values(), timeout=PLACING_GRACE_S)

    async def on_partitions_revoked(self, revoked: set[TP]) -> None:
        """Stop placing what may soon be another worker's."""
        self._stop_placing()
        await super().on_partitions_revoked(revoked)

    async def on_stop(self) -> None:
        """End the background work, then as any consumer."""
        self._stop_placing()
        await super().on_stop()

    def _stop_placing(self) -> None:
        for task in self._placing.values():
            task.cancel()
        self._placing.clear()

    async def reposition(self, tp: TP) -> None:
        """Ask anew where a partition's effects stand, and deliver from there."""
        self.cursor(tp).hold()
        await self._place(tp)

    async def _place(self, tp: TP) -> None:
        """Find a partition's position, however long that takes, and start it there."""
        said = False
        for delay_s in delays():
            try:
                at = await self._position(tp)
                break
            except (Outage, KafkaError) as error:
                if isinstance(error, Outage):
                    self.cursor(tp).note_outage(error.part)
                if not said:
                    log.warning("%s[%d] is held back, its position is unknown: %s", *tp, error)
                    said = True
                await asyncio.sleep(delay_s)
        await self._start_at(tp, at)
        log.info("%s[%d] starts at offset %d", *tp, at)

    async def _position(self, tp: TP) -> int:
        known = self._ranges.pop(tp, None)
        range_ = known if known is not None else await self.log_range(tp)
        return await self._sources[tp.topic].position(tp.partition, range_, self.committed.get(tp))

    async def _start_at(self, tp: TP, offset: int) -> None:
        self.cursor(tp).place(offset)
        await self._send_to(tp, offset)

    async def _send_to(self, tp: TP, offset: int) -> None:
        try:
            # In the thread that owns the aiokafka consumer: its futures must be woken on their own loop.
            await self._thread.call_thread(self._thread._ensure_consumer().seek, tp, offset)
        except IllegalStateError:
            log.info("%s[%d] is another worker's by now", *tp)

    async def rewind(self, tp: TP, offset: int) -> None:
        """Deliver a partition again from `offset`."""
        log.info("%s[%d] is read again from offset %d", *tp, offset)
        await self._start_at(tp, offset)

    async def log_range(self, tp: TP) -> LogRange:
        """Return the offsets that a partition's log holds now."""
        return (await self._log_ranges([tp]))[tp]

    async def _log_ranges(self, tps: Collection[TP]) -> dict[TP, LogRange]:
        starts, ends = await self.earliest_offsets(*tps), await self.highwaters(*tps)
        return {tp: LogRange(starts[tp], ends[tp]) for tp in tps}

    async def getmany(self, timeout: float) -> AsyncIterator[tuple[TP, Any]]:  # noqa: ASYNC109 - Faust's name
        """Yield what was fetched, but of governed partitions only the record that is next."""
        self._sought.clear()
        async for tp, message in super().getmany(timeout):
            if not self.governs(tp) or await self._admits(tp, message.offset):
                yield tp, message

    async def _admits(self, tp: TP, offset: int) -> bool:
        cursor = self.cursor(tp)
        admission = cursor.fetched(offset)
        if admission is Admission.TAKE:
            # The drain loop compares with this, and books a jump as a gap.
            self._read_offset[tp] = offset or None
            return True
        if admission is Admission.REWIND and tp not in self._sought and cursor.next_fetch is not None:
            self._sought.add(tp)
            await self._send_to(tp, cursor.next_fetch)
        return False

    def _filter_committable_offsets(self, tps: Iterable[TP]) -> dict[TP, int]:
        others = [tp for tp in tps if not self.governs(tp)]
        offsets: dict[TP, int] = super()._filter_committable_offsets(others)
        for tp, cursor in self.cursors.items():
            self._acked[tp].clear()
            self._acked_index[tp].clear()
            self._gap.pop(tp, None)
            if cursor.expected and cursor.expected > self.committed.get(tp, 0):
                offsets[tp] = cursor.expected
        return offsets

    @Service.timer(STARVED_CHECK_S)
    async def _feed_the_starved(self) -> None:
        """Read again what was handed on and never arrived, if no later record shows the hole."""
        starved = {tp: c.expected for tp, c in self.cursors.items() if c.starved and c.expected is not None}
        if self.flow_active:
            for tp, expected in starved.items():
                if self._starved_before.get(tp) == expected:
                    await self.rewind(tp, expected)
        self._starved_before = starved
