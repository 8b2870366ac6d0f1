"""The table ``seen``: Faust carries its changelog, `SeenState` holds its content.

Between refine and the changelog topic. Rows that cannot be read, or that stand in another partition than
their own, are skipped, since a row that raised would stall Faust's recovery for good
(``tables/recovery.py`` swallows exceptions).
"""

import logging
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any, cast

import faust
import msgspec
from aiokafka.errors import KafkaError
from faust.exceptions import ProducerSendError
from faust.stores.memory import Store
from faust.types import TP, EventT

from streams.errors import MalformedRecord, NewerFormat
from streams.kafka.producer import Outgoing, deliver, send
from streams.models import Origin
from streams.wire.decision import Decision, Inherited, Place, decode, decode_key, encode, encode_key
from tables.skipped_rows import SkippedRows
from tables.state import SeenState

log = logging.getLogger(__name__)

EVICTIONS_A_DECISION = 32
TOMBSTONES_AT_ONCE = 500
CHANGELOG_SET_BACK = (
    "%s[%d] took a row at offset %d, though it had reached offset %d: Kafka was set back, or the topic was "
    "made anew. Until their window is over, some duplicates may pass; their rows are there and stay single"
)
TOMBSTONE_LOST = "a tombstone was not written, the row is evicted again after a recovery: %r"


def apply_row(memory: SeenState, partition: int, key: bytes | None, value: bytes | None) -> None:
    """Take a row of the changelog into the state.

    Raises:
        MalformedRecord: if it is none of ours; the state is as it was.
        NewerFormat: if a newer version wrote it; likewise.
    """
    place = decode_key(key or b"")
    if place.partition != partition:  # it would move the position of a partition that has its own rows
        raise MalformedRecord(f"it names partition {place.partition} as its own")
    if value is None:
        memory.remove(place)
    else:
        memory.add(place, _of_the_past(decode(value)))


class SeenStore(Store[bytes, bytes]):
    """Feeds what recovery reads into a `SeenState`, and remembers how far that is.

    With the offset remembered, a rebalance reads only what came since, not the whole changelog.
    """

    def __init__(self, *args: Any, memory: SeenState, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.memory = memory
        self.offsets: dict[TP, int] = {}
        self._passed_over = SkippedRows()

    def persisted_offset(self, tp: TP) -> int | None:
        """Return the changelog offset up to which the state is complete."""
        return self.offsets.get(tp)

    def set_persisted_offset(self, tp: TP, offset: int) -> None:
        """Note that the state holds everything up to a changelog offset."""
        self.offsets[tp] = max(offset, self.offsets.get(tp, -1))

    def landed(self, tp: TP, offset: int) -> None:
        """Note where a row of ours has landed: a changelog that was set back is shorter than it had been."""
        if offset <= self.offsets.get(tp, -1):
            log.error(CHANGELOG_SET_BACK, *tp, offset, self.offsets[tp])
        self.offsets[tp] = offset

    def apply_changelog_batch(
        self,
        batch: Iterable[EventT[bytes]],
        to_key: Callable[[Any], Any],  # noqa: ARG002 - rows are raw bytes
        to_value: Callable[[Any], Any],  # noqa: ARG002 - rows are raw bytes
    ) -> None:
        """Apply rows of the changelog."""
        for event in batch:
            message = event.message
            try:
                apply_row(self.memory, message.tp.partition, message.key, message.value)
            except MalformedRecord as error:
                self._passed_over.note(message.tp, message.offset, str(error))
            except NewerFormat as newer:
                # Without it, an older decision would count as the last one. Nothing more is taken in.
                where = f"the row at {message.tp.topic}[{message.tp.partition}] offset {message.offset}"
                cast("Any", self.app).refuse(newer.at(where))
                return
            self.set_persisted_offset(message.tp, message.offset)

    async def on_recovery_completed(self, active_tps: set[TP], standby_tps: set[TP]) -> None:
        """Forget the partitions that are another worker's now."""
        held = active_tps | standby_tps
        self.memory.keep_only(tp.partition for tp in held)
        # With the content goes its offset: if the partition comes back, its changelog is read from the
        # beginning.
        self.offsets = {tp: offset for tp, offset in self.offsets.items() if tp in held}
        self._passed_over.sum_up()


class SeenTable(faust.Table[bytes, bytes]):
    """Decisions by raw coordinate."""

    def __init__(self, app: faust.App, *, memory: SeenState, **kwargs: Any) -> None:
        self.memory = memory
        super().__init__(app, key_type=bytes, value_type=bytes, **kwargs)

    def _new_store_by_url(self, url: Any) -> SeenStore:
        return SeenStore(url, self.app, self, table_name=self.name, memory=self.memory, loop=self.loop)

    async def record(self, decisions: Sequence[tuple[Origin, Decision]]) -> None:
        """Make decisions of one partition last, in order: in the changelog first, then here.

        Raises:
            DeliveryFailed: if Kafka did not take all; nothing has changed here then.
        """
        outgoing = [self._row(origin, encode(decision)) for origin, decision in decisions]
        # Before the memory changes: what Kafka has not taken must not be remembered, since nobody else would
        # know it.
        rows = await deliver(self.app, outgoing)
        for (origin, decision), row in zip(decisions, rows, strict=True):
            # A few with each decision, more than one makes: so the table shrinks without a pause for it.
            evicted = self.memory.admit(origin, decision, time.time(), EVICTIONS_A_DECISION)
            cast("SeenStore", self.data).landed(row.topic_partition, row.offset)
            await self._evict(evicted)

    async def drop_from(self, partition: int, start: int) -> None:
        """Forget a partition's decisions about `start` and all offsets behind it for good.

        Raises:
            DeliveryFailed: if Kafka did not take it; what is left is still to be dropped.
        """
        offsets = self.memory.partition(partition).offsets_from(start)
        await self._bury([Origin(partition, offset) for offset in offsets])

    async def drop_inherited(self, partition: int) -> None:
        """Forget for good what a partition has inherited.

        Raises:
            DeliveryFailed: as `drop_from`.
        """
        origins = self.memory.partition(partition).inherited()
        await self._bury([Inherited(partition, origin) for origin in origins])

    async def _evict(self, places: Sequence[Place]) -> None:
        for place in places:
            self.memory.remove(place)
            # Not awaited: a tombstone that is lost leaves a row that is evicted again after a recovery.
            try:
                sent = await send(self.app, self._row(place, None))
            except (KafkaError, ProducerSendError) as error:
                log.info(TOMBSTONE_LOST, error)
            else:
                sent.add_done_callback(_note_failure)

    async def _bury(self, places: Sequence[Place]) -> None:
        for portion in _portions(places):
            await deliver(self.app, [self._row(place, None) for place in portion])
            for place in portion:
                self.memory.remove(place)

    def _row(self, place: Place, value: bytes | None) -> Outgoing:
        # Not by Faust's own way to the changelog, which leads through a queue and a task for each row.
        topic = self.changelog_topic.get_topic_name()
        return Outgoing(topic, value, place.partition, [], encode_key(place))


def _portions(places: Sequence[Place]) -> Iterator[Sequence[Place]]:
    """Yield the first, which is the last decision, alone: once it is gone, a drop that is cut off is known.

    Of a portion Kafka takes the beginning or all, since the producer keeps the order; so the drop may be cut
    off anywhere. One at a time, a million of them took many minutes.
    """
    if places:
        yield places[:1]
    for start in range(1, len(places), TOMBSTONES_AT_ONCE):
        yield places[start : start + TOMBSTONES_AT_ONCE]


def _of_the_past(decision: Decision) -> Decision:
    """Return a decision as decided now at the latest.

    One that a wrong clock has dated ahead still tells the position, but its ids would not leave the window,
    and it would keep those behind it from being evicted.
    """
    now = time.time()
    return decision if decision.decided_at <= now else msgspec.structs.replace(decision, decided_at=now)


def _note_failure(sent: Any) -> None:
    if not sent.cancelled() and (error := sent.exception()) is not None:
        log.info(TOMBSTONE_LOST, error)
