"""A Faust consumer that delivers the agents' partitions in unbroken order, behind the last effect of each.

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
from streams.bugs import foreseen
from streams.counters import Note, Statistics
from streams.errors import Bug, MetricStreamsError, NewerFormat, Outage, StartupRefused, worded
from streams.kafka.internals import client_of, consumer_of, wait_for_fetches
from streams.kafka.log_reader import still_there
from streams.kafka.partition_buffers import PartitionBuffers
from streams.kafka.positions import BUG, Admission, Cursor, LogRange, Position, PositionSource

log = logging.getLogger(__name__)

PLACING_GRACE_S = 1.0
STARVED_CHECK_S = 5.0
FETCH_MAX_WAIT_MS = 100
STALE_FETCH_S = 3.0
BUSY_POLL_S = 0.05
COMMIT_ALL_EVERY_S = 15.0
"""How often positions are committed that did not change: a Kafka that was set back tells a wrong lag else."""
CROWDED_POLL_S = 0.01
"""How long a fetch waits while there are partitions that it leaves out."""


class ConsumerThread(driver.AIOKafkaConsumerThread):
    """The thread with the aiokafka consumer; a commit that fails is tried again, not a reason to end."""

    def _create_worker_consumer(self, transport: driver.Transport) -> AIOKafkaConsumer:
        consumer = super()._create_worker_consumer(transport)
        # A broker answers a connection's requests in turn, so whatever else is asked of
        # it, offsets first of all, waits for a fetch that has nothing to return.
        wait_for_fetches(consumer, FETCH_MAX_WAIT_MS)
        return consumer

    def verify_event_path(self, now: float, tp: TP) -> None:
        """Do nothing: Faust's own check knows no outage, no quiet partition, and logs an error a second."""

    def verify_recovery_event_path(self, now: float, tp: TP) -> None:
        """Do nothing, likewise."""

    async def _commit(self, offsets: Mapping[TP, int]) -> bool:
        consumer = self._ensure_consumer()
        assigned = self.assignment()
        try:
            # aiokafka refuses the whole commit for one partition that was revoked meanwhile.
            await consumer.commit(
                {driver.ensure_aiokafka_TP(tp): offset for tp, offset in offsets.items() if tp in assigned}
            )
        except KafkaError as error:
            # Commits only show the lag: the positions that count live with their effects.
            log.info("offsets were not committed, the next commit carries them: %s", worded(error))
            return False
        cast("OrderedConsumer", self.consumer).committed.update(offsets)
        return True


class OrderedConsumer(driver.Consumer):
    """Delivers the partitions that agents read strictly in order."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.cursors: dict[TP, Cursor] = {}
        self.committed: dict[TP, int] = {}
        """What was committed last; Faust's own `_committed_offset` also takes what failed."""
        self._commit_all_at = 0.0
        self._sources: dict[str, PositionSource] = cast("Any", self.app).position_sources
        self._ranges: dict[TP, LogRange] = {}
        """Asked for all partitions at once when they are assigned; each is good for one placing."""
        self._placing: dict[TP, asyncio.Task[None]] = {}
        self._assignments = 0
        """How many there were: what was placed for an earlier one counts for nothing."""
        self._sought: set[TP] = set()
        self._starved_before: dict[TP, int] = {}
        self._sent_at: dict[TP, float] = {}
        """When each partition was sent to an offset last, by the loop's clock."""
        self._lanes = PartitionBuffers(self._hand, self.cursor)

    def _new_consumer_thread(self) -> ConsumerThread:
        return ConsumerThread(self, loop=self.loop, beacon=self.beacon)

    def feeds_agent(self, tp: TP) -> bool:
        """Tell whether an agent reads a partition, whose position then lives with its effects.

        The rest are changelogs, which Faust reads by its own rules.
        """
        return tp.topic in self._sources

    def cursor(self, tp: TP) -> Cursor:
        """Return the cursor that the consumer and the agent of a partition share."""
        return self.cursors.setdefault(tp, Cursor())

    async def perform_seek(self) -> None:
        """Send every partition to its position; one whose position is not known yet is held back alone."""
        for cursor in self.cursors.values():
            cursor.hold()  # first: what a cursor still says may be about a log that is gone, and be committed
        await super().perform_seek()
        # Before partitions are placed anew: what was begun for the last assignment would place them where
        # that one had them.
        self._let_go()
        self.committed = {tp: offset for tp, offset in self._committed_offset.items() if offset is not None}
        fed = {tp for tp in self.assignment() if self.feeds_agent(tp)}
        for gone in self.cursors.keys() - fed:
            del self.cursors[gone]
        # For all at once: two requests to a broker instead of two for each partition.
        self._ranges = await self._log_ranges(fed)
        for tp in fed:
            self.cursor(tp).hold()
            self._placing[tp] = asyncio.create_task(self._place(tp), name=f"place {tp.topic}[{tp.partition}]")
        if self._placing:
            # Most are placed within this time. One that waits for a part that is away holds up no other.
            await asyncio.wait(self._placing.values(), timeout=PLACING_GRACE_S)
        # Only here is there a consumer that has partitions to be looked at.
        cast("Any", self.app).audit.begin(self)

    async def on_partitions_revoked(self, revoked: set[TP]) -> None:
        """Stop placing, and handing on, what may soon be another worker's."""
        # Before Faust's part, after which its conductor does not know the partitions: a lane would hand on to
        # nobody.
        self._let_go()
        await super().on_partitions_revoked(revoked)

    async def on_stop(self) -> None:
        """End the background work, then as any consumer."""
        self._let_go()
        await super().on_stop()

    def _let_go(self) -> None:
        """Place nothing and hand nothing on: what is under way may be about another assignment."""
        self._lanes.close()
        self._assignments += 1
        for task in self._placing.values():
            task.cancel()
        self._placing.clear()

    async def reposition(self, tp: TP) -> None:
        """Ask anew up to where a partition's effects have come, and deliver from there."""
        self.cursor(tp).hold()
        await self._place(tp)

    def doubt(self, tp: TP, why: str) -> None:
        """Ask anew for a partition's position, once its agent has finished what it is at."""
        placing = self._placing.get(tp)
        if placing is None or placing.done():
            log.warning("%s[%d]: %s. Working out again where to read on", *tp, why)
            self._placing[tp] = asyncio.create_task(
                self._reposition_when_idle(tp), name=f"doubt {tp.topic}[{tp.partition}]"
            )

    async def _reposition_when_idle(self, tp: TP) -> None:
        cursor = self.cursor(tp)
        # Before the wait: what the agent is at may finish, but nothing that lies behind it is begun.
        cursor.hold()
        while cursor.busy:  # noqa: ASYNC110 - set for every batch, and waited for once in a blue moon
            await asyncio.sleep(BUSY_POLL_S)
        await self._place(tp)

    async def _place(self, tp: TP) -> None:
        """Find a partition's position, however long that takes, and start it there."""
        began = self._assignments
        try:
            position = await self._position_in_the_end(tp)
        except (StartupRefused, NewerFormat) as refusal:
            self.refuse(refusal)
            return
        if began != self._assignments:
            return  # a cancellation was lost on the way: the partition is placed anew, perhaps elsewhere
        await self._start_at(tp, position)
        log.info("%s[%d] starts at offset %d", *tp, position.offset)

    async def _position_in_the_end(self, tp: TP) -> Position:
        """Ask for a partition's position until it can be told; the statistics know what it waits for."""
        name, who = f"{tp.topic}[{tp.partition}]", f"the position of {tp.topic}[{tp.partition}]"
        statistics: Statistics = cast("Any", self.app).statistics
        waits_for: set[str] = set()
        try:
            for delay_s in delays():
                try:
                    with foreseen(Outage, KafkaError, StartupRefused, NewerFormat):
                        return await self._position(tp)
                except (Outage, KafkaError) as error:
                    outage = error if isinstance(error, Outage) else Outage("kafka", worded(error))
                    self.cursor(tp).note_outage(outage.part)
                    waits_for.add(outage.part)
                    statistics.down(outage.part, who, f"{name} is not read: {outage.detail}", (name,))
                except Bug as bug:
                    # Out of here it would reach Faust, which acknowledges the agent's record, or nobody at
                    # all. The partition stays held, readiness fails, and in the end the watchdog acts.
                    self.cursor(tp).held_up_by = BUG
                    if not self.is_stopping:  # then what it needs ends around it, and it is ended itself
                        statistics.notes[Note.BUGS] += 1
                        log.error(
                            "a bug: cannot work out the position of %s. It is not read until that succeeds",
                            name,
                            exc_info=bug.cause,
                        )
                await asyncio.sleep(delay_s)
            raise AssertionError("delays never end")
        finally:
            for part in waits_for:
                statistics.leave(part, who)

    async def _position(self, tp: TP) -> Position:
        known = self._ranges.pop(tp, None)
        range_ = known if known is not None else await self.log_range(tp)
        return await self._sources[tp.topic].position(tp.partition, range_)

    async def _start_at(self, tp: TP, position: Position) -> None:
        # Before the seek: what waits in the lane was fetched for the position before.
        self._lanes.clear(tp)
        self.cursor(tp).place(position)
        await self._send_to(tp, position.offset)

    async def refresh_metadata(self) -> None:
        """Learn anew which partitions there are; if others than before, the group is balanced anew."""
        consumer = consumer_of(self._thread)
        # aiokafka looks by itself every five minutes alone.
        await self._thread.call_thread(client_of(consumer).force_metadata_update)

    def refuse(self, why: MetricStreamsError) -> None:
        """End the worker: it must not go on."""
        cast("Any", self.app).refuse(why)

    async def confirms(self, tp: TP) -> bool:
        """Tell whether a partition's log still has the record that was finished last.

        Raises:
            Outage: if Kafka does not answer.
        """
        return await still_there(cast("Any", self.app).log_reader, tp, self.cursor(tp).anchor)

    async def _send_to(self, tp: TP, offset: int) -> None:
        self._sent_at[tp] = self._loop_time()
        try:
            # In the thread that owns the aiokafka consumer: its futures must be woken on their own loop.
            await self._thread.call_thread(consumer_of(self._thread).seek, tp, offset)
        except IllegalStateError:
            log.info("%s[%d] is another worker's by now", *tp)

    def _loop_time(self) -> float:
        return asyncio.get_running_loop().time()

    async def rewind(self, tp: TP, offset: int) -> None:
        """Deliver a partition again from `offset`."""
        log.info("%s[%d] is read again from offset %d", *tp, offset)
        self._lanes.clear(tp)
        self.cursor(tp).rewind(offset)
        await self._send_to(tp, offset)

    async def log_range(self, tp: TP) -> LogRange:
        """Return the offsets that a partition's log holds now."""
        return (await self._log_ranges([tp]))[tp]

    async def _log_ranges(self, tps: Collection[TP]) -> dict[TP, LogRange]:
        starts, ends = await self.earliest_offsets(*tps), await self.highwaters(*tps)
        return {tp: LogRange(starts[tp], ends[tp]) for tp in tps}

    @property
    def is_stopping(self) -> bool:
        """Whether the worker ends: agents that wait for a part give up."""
        return bool(cast("Any", self.app).should_stop)

    def finished(self, tp: TP, offset: int) -> None:
        """Note that all effects of a record are durable."""
        self.cursor(tp).done(offset)
        self._lanes.room(tp)

    def on_buffer_full(self, tp: TP) -> None:
        """Leave the agents' partitions to their lanes, which know how much an agent has not finished."""
        if not self.feeds_agent(tp):
            super().on_buffer_full(tp)

    async def getmany(self, timeout: float) -> AsyncIterator[tuple[TP, Any]]:  # noqa: ASYNC109 - Faust's name
        """Yield what was fetched; records of the agents' partitions go to their lanes, if they are next."""
        # One fetch brings many records from behind the same hole, for which one seek is enough.
        self._sought.clear()
        async for tp, message in super().getmany(timeout):
            if not self.feeds_agent(tp):
                yield tp, message
            elif await self._admits(tp, message.offset, message.timestamp):
                self._lanes.add(tp, message)

    async def _getmany(self, active_partitions: set[TP] | None, timeout: float) -> Any:  # noqa: ASYNC109 - Faust's name
        crowded = self._lanes.crowded()
        if active_partitions is None or not crowded:
            return await super()._getmany(active_partitions, timeout)
        fetched = active_partitions - crowded
        if fetched:
            return await super()._getmany(fetched, min(timeout, CROWDED_POLL_S))
        await asyncio.sleep(CROWDED_POLL_S)  # to aiokafka, no partitions means all
        return {}

    async def _hand(self, message: Any) -> None:
        await self.callback(message)

    async def _admits(self, tp: TP, offset: int, written_at: float | None) -> bool:
        cursor = self.cursor(tp)
        admission = cursor.fetched(offset, written_at)
        if admission is Admission.REWIND and tp not in self._sought and cursor.next_fetch is not None:
            self._sought.add(tp)
            if (await self.log_range(tp)).start > cursor.next_fetch:
                self.doubt(tp, f"offset {cursor.next_fetch} is next, but the log begins behind it")
            else:
                await self._send_to(tp, cursor.next_fetch)
        if admission is Admission.PASS_OVER and cursor.next_fetch is not None:
            self._look_behind(tp)
        return admission is Admission.TAKE

    def _look_behind(self, tp: TP) -> None:
        """Ask anew for the position of a partition that delivers what lies behind it.

        Right after a seek that is what was already on its way. Later it means that aiokafka met an offset out
        of range and began at the start: the topic was recreated, and its new records are not the old ones.
        """
        now = self._loop_time()
        if now - self._sent_at.get(tp, 0.0) > STALE_FETCH_S:
            self._sent_at[tp] = now
            self.doubt(tp, "the log delivers what lies behind the position")

    def _filter_committable_offsets(self, tps: Iterable[TP]) -> dict[TP, int]:
        others = [tp for tp in tps if not self.feeds_agent(tp)]
        offsets: dict[TP, int] = super()._filter_committable_offsets(others)
        all_again = self._is_time_to_commit_all()
        for tp, cursor in self.cursors.items():
            # Faust takes a jump between two offsets for a compacted gap and counts it as acked (`_add_gap`).
            # So what it has noted is thrown away, and the cursor alone says what is done.
            self._acked[tp].clear()
            self._acked_index[tp].clear()
            self._gap.pop(tp, None)
            if cursor.committable and (all_again or cursor.committable != self.committed.get(tp, 0)):
                offsets[tp] = cursor.committable
        return offsets

    def _is_time_to_commit_all(self) -> bool:
        """Tell whether it is time to commit what was committed before: Kafka may have lost it since."""
        now = self._loop_time()
        if now < self._commit_all_at:
            return False
        self._commit_all_at = now + COMMIT_ALL_EVERY_S
        return True

    @Service.timer(STARVED_CHECK_S)
    async def _feed_the_starved(self) -> None:
        """Read again what was handed on and never arrived, if no later record shows the hole."""
        starved = {tp: c.expected for tp, c in self.cursors.items() if c.starved and c.expected is not None}
        if self.flow_active:
            for tp, expected in starved.items():
                # At two checks in a row: what was handed on a moment ago may only not have arrived yet.
                if self._starved_before.get(tp) == expected:
                    await self.rewind(tp, expected)
        self._starved_before = starved
