"""Where refine goes on after a rebalance: at the decisions in the table, if both logs bear them out.

Between the table ``seen`` and the stream's positions. A decision is about a raw record, known by its digest,
and what was accepted of it must be on metrics.unique. Where either log says otherwise, refine goes back to
the last place that both logs have in common, and decides anew on all behind it: rows have identities, so
doing too much is safe, and doing too little is not.
"""

import logging
from collections.abc import Awaitable, Callable
from copy import copy
from typing import NamedTuple

from streams.counters import Note, Statistics
from streams.errors import Outage, StartupRefused
from streams.kafka.histories import Emitted, Histories, is_unbroken
from streams.kafka.positions import UNFINISHED_MOST, Anchor, LogRange, Position
from streams.kafka.records_cut import RecordsCut
from streams.laravel.fence import Fence
from streams.wire.decision import LARGEST_EPOCH, NONE_EMITTED
from tables.seen import SeenTable
from tables.state import PartitionState

log = logging.getLogger(__name__)

OTHER_RECORD = "another record is at offset %d than refine has decided on"
ENDED = "the log ends at offset %d, but refine has decided on offset %d"
UNIQUE_LOST = "%s[%d] no longer holds what refine has put there of raw offset %d"
UNIQUE_GAP = "%s[%d] lacks records before offset %d that refine has put there"
GOING_BACK = (
    "%s[%d]: %s. Kafka was set back, or a topic was made anew. refine goes back to offset %d, the first "
    "behind what %s still bears out, and decides again on all that follows; jobs may be pushed again"
)
WITHOUT_DECISION = "%s[%d] has no decision in the table: refine begins at offset %d%s"
CUT = (
    "%s[%d]: the records from offset %d up to %d were removed before refine had read them. They are gone. "
    "Retention (RAW_RETENTION_S) is too short for such a delay, or somebody has deleted records"
)

PUSHED_AND_GONE = "jobs were pushed of raw offset %d, and another record is there, or none"

FenceOf = Callable[[int], Awaitable[Fence | None]]
"""Returns the chunk of a partition that was pushed last, which something outside of Kafka knows, or raises
Outage."""


class OwnersSay(NamedTuple):
    """Who may use metrics.unique."""

    group: str
    adopted: Callable[[], Awaitable[bool]]
    """Tells whether an operator has handed the topics over to this group."""


class SeenPositions:
    """The position of refine: at the first decision of the partition that may not have been emitted.

    Args:
        seen: the table.
        histories: of both logs.
        statistics: told of records that were removed unread.
        raw_topic: what refine reads.
        unique_topic: where it puts what is accepted.
        fence: asked when a partition is placed, and before a new epoch begins.
        owners: who may use the topics; None to let anyone.
    """

    def __init__(
        self,
        seen: SeenTable,
        histories: Histories,
        statistics: Statistics,
        *,
        raw_topic: str,
        unique_topic: str,
        fence: FenceOf,
        owners: OwnersSay | None = None,
    ) -> None:
        self._seen = seen
        self._histories = histories
        self._statistics = statistics
        self._raw_topic = raw_topic
        self._unique_topic = unique_topic
        self._fence = fence
        self._cut = RecordsCut(log, CUT, raw_topic, statistics)
        self._unheard: set[int] = set()
        """Partitions that were placed while the fence could not be read."""
        self._owners = owners

    async def holds(self, partition: int) -> bool:
        """Tell whether metrics.unique is still as long as what this worker has put there.

        And whether the fence is about this log, where that could not be told when the partition was placed.

        Raises:
            Outage: if Kafka does not answer, or Redis, where it still has to tell.
        """
        if partition in self._unheard:
            range_ = await self._histories.raw_range(partition)
            if await self._gone(partition, range_, await self._fence(partition)) is not None:
                return False
            self._unheard.discard(partition)
        # Before the log is measured: a chunk may land meanwhile.
        known_end = self._seen.memory.partition(partition).unique_end
        return (await self._histories.unique_range(partition, known_end)).end >= known_end

    async def position(self, partition: int, log_range: LogRange) -> Position:
        """Return where refine resumes.

        Raises:
            Outage: if Kafka, or Redis where a new epoch begins, does not answer.
            StartupRefused: if another consumer group writes metrics.unique.
        """
        # As it is before the logs are measured: a chunk that was on its way may land meanwhile.
        state = copy(self._seen.memory.partition(partition))
        if state.last_offset is not None and state.last_offset >= log_range.end:
            # It may have grown since.
            log_range = await self._histories.raw_range(partition, state.last_offset + 1)
        unique = await self._histories.unique_range(partition, state.unique_end)
        tail = await self._histories.emitted(partition, unique.end)
        # Before anything is changed: another group must not drop decisions, nor begin an epoch.
        await self._check_owner(partition, tail)
        if state.last is None or state.last_offset is None or state.settled_below is None:
            return await self._without_decision(partition, log_range, unique, tail)
        raw = await self._histories.raw_anchors(partition, state.settled_below, state.last_offset + 1)
        if (why := _against_raw(state, raw, log_range)) is not None:
            # A copy is seldom of one moment: raw may be older than the changelog, and both than the fence.
            forget = await self._gone(partition, log_range, await self._fence(partition)) is not None
            return await self._go_back(
                partition, log_range, why, tail, below=None, new_epoch=True, forget=forget
            )
        if (gone := await self._pushed_and_gone(partition, log_range)) is not None:
            # All three logs are at one, as in an older copy of Kafka's data. What was pushed of the part that
            # it lacks is in the rows all the same, so no id's content is known any more.
            why = PUSHED_AND_GONE % gone
            return await self._go_back(
                partition, log_range, why, tail, below=None, new_epoch=True, forget=True
            )
        newest = await self._newest_emitted(partition, state, log_range, tail)
        if (found := self._against_unique(partition, state, unique, tail, newest)) is not None:
            why, below = found
            return await self._go_back(partition, log_range, why, tail, below=below, new_epoch=False)
        now = self._seen.memory.partition(partition)
        now.unique_end = max(now.unique_end, unique.end)
        if state.last_offset + 1 < log_range.start:
            # Behind the last decision alone: what lies before it was decided on, and read.
            self._cut.tell(partition, state.last_offset + 1, log_range.start)
        # Not behind the last decision: chunks from `settled_below` on may not have been emitted.
        at = max(state.settled_below, log_range.start)
        return Position(at, await self._anchor_before(partition, at))

    async def _pushed_and_gone(self, partition: int, log_range: LogRange, begun: int = 0) -> int | None:
        """Return the raw offset of what was pushed last, if that record is gone; None if all is well.

        Where Redis does not answer refine goes on, and `holds` asks again.
        """
        self._unheard.discard(partition)
        try:
            fence = await self._fence(partition)
        except Outage:
            self._unheard.add(partition)
            return None
        return await self._gone(partition, log_range, fence, begun)

    async def _gone(
        self, partition: int, log_range: LogRange, fence: Fence | None, begun: int = 0
    ) -> int | None:
        # With an older epoch the fence is about a log that refine has left already.
        if fence is None or fence.epoch < max(begun, self._seen.memory.partition(partition).epoch):
            return None
        at = fence.raw_offset
        if at >= log_range.end:
            log_range = await self._histories.raw_range(partition, at + 1)  # it may have grown since
        if at < log_range.start:
            return None  # removed by retention: nothing can be told
        anchor = (await self._histories.raw_anchors(partition, at, at + 1)).get(at)
        is_there = anchor is not None and (not fence.digest or anchor.digest == fence.digest)
        return None if is_there else at

    async def _newest_emitted(
        self, partition: int, state: PartitionState, log_range: LogRange, tail: list[Emitted]
    ) -> int:
        """Return the highest raw offset of which metrics.unique has something, in this raw log.

        What was emitted in an earlier epoch may have higher ones, of a log that is gone.
        """
        for emitted in sorted(tail, key=lambda emitted: emitted.raw_offset, reverse=True):
            if emitted.raw_offset < state.last_emitted:
                break
            is_removed = emitted.raw_offset < log_range.start
            if (
                emitted.epoch >= state.epoch
                or is_removed
                or await self._histories.raw_has(partition, emitted)
            ):
                return emitted.raw_offset
        return NONE_EMITTED

    def _against_unique(
        self, partition: int, state: PartitionState, unique: LogRange, tail: list[Emitted], newest: int
    ) -> tuple[str, int] | None:
        """Say what metrics.unique lacks, and before which of its offsets nothing; None for nothing at all."""
        if state.unique_lost_from is not None:
            return UNIQUE_LOST % (self._unique_topic, partition, state.last_emitted), state.unique_lost_from
        if unique.end < state.unique_end:
            return UNIQUE_LOST % (self._unique_topic, partition, state.last_emitted), unique.end
        if (gap := is_unbroken(tail)) is not None:
            return UNIQUE_GAP % (self._unique_topic, partition, gap), gap
        was_cut = not tail and unique.start == unique.end > 0  # by retention; what is made anew begins at 0
        if newest >= state.last_emitted or was_cut:
            return None
        return UNIQUE_LOST % (self._unique_topic, partition, state.last_emitted), unique.end

    async def _go_back(
        self,
        partition: int,
        log_range: LogRange,
        why: str,
        tail: list[Emitted],
        *,
        below: int | None,
        new_epoch: bool,
        forget: bool = False,
    ) -> Position:
        state = self._seen.memory.partition(partition)
        common = await self._histories.last_common(partition, below)
        epoch = state.epoch
        if new_epoch:
            epoch = _begun_by_another(state, common, tail) or await self._next_epoch(partition, state, tail)
        at = log_range.start if common is None else max(log_range.start, common.raw_offset + 1)
        if state.settled_below is not None:
            at = max(log_range.start, min(at, state.settled_below))
        log.error(GOING_BACK, self._raw_topic, partition, why, at, self._unique_topic)
        self._statistics.notes[Note.POSITIONS_SET_BACK] += 1
        await self._begin(partition, at, epoch, common, forget=forget)
        return Position(at, await self._anchor_before(partition, at))

    async def _without_decision(
        self, partition: int, log_range: LogRange, unique: LogRange, tail: list[Emitted]
    ) -> Position:
        state = self._seen.memory.partition(partition)
        common = await self._histories.last_common(partition)
        # What was inherited may have been corrected by what was pushed since and is gone.
        begun = common.epoch if common is not None and _is_newest(common, tail) else 0
        forget = await self._pushed_and_gone(partition, log_range, begun) is not None
        if common is None:
            at, epoch, why = log_range.start, await self._next_epoch(partition, state, tail), ""
        else:
            # What was emitted together with it may not all have landed on metrics.rejected.
            at, epoch = max(log_range.start, common.raw_offset + 1 - UNFINISHED_MOST), common.epoch
            why = f"; {self._unique_topic} goes up to raw offset {common.raw_offset}"
            is_other_log = bool(tail) and not _is_newest(common, tail)
            if is_other_log or forget:
                epoch = await self._next_epoch(partition, state, tail)
        # With all of a log still there and nothing made of it yet, a table without decisions is no loss.
        is_first_start = log_range.start == 0 and not unique.end
        if log_range.end and not is_first_start:
            log.warning(WITHOUT_DECISION, self._raw_topic, partition, at, why)
        await self._begin(partition, at, epoch, common, forget=forget)
        return Position(at, await self._anchor_before(partition, at))

    async def _begin(
        self, partition: int, at: int, epoch: int, common: Emitted | None, *, forget: bool = False
    ) -> None:
        """Forget what was decided from an offset on, or all of it, for good, and go on there in an epoch."""
        if forget:
            await self._seen.drop_inherited(partition)
        await self._seen.drop_from(partition, 0 if forget else at)
        state = self._seen.memory.partition(partition)
        state.epoch = epoch
        state.last_emitted = NONE_EMITTED if common is None else min(common.raw_offset, at - 1)
        state.unique_end = (await self._histories.unique_range(partition)).end
        state.unique_lost_from = None

    async def _next_epoch(self, partition: int, state: PartitionState, tail: list[Emitted]) -> int:
        known = max(state.decided_in, _newest_epoch(tail))
        fence = await self._fence(partition)
        pushed_in = 0 if fence is None else fence.epoch
        if pushed_in > known:
            # Either metrics.unique has lost what was pushed, or another worker has begun an epoch since we
            # looked: then this log has one already, and we are to find it there.
            end = (await self._histories.unique_range(partition)).end
            if _newest_epoch(await self._histories.emitted(partition, end)) >= pushed_in:
                raise Outage("kafka", f"{self._unique_topic}[{partition}] has grown: it is looked at again")
        # Above all that any of the three knows: each may be older than the others, where one was set back.
        return min(LARGEST_EPOCH, 1 + max(known, pushed_in))

    async def _anchor_before(self, partition: int, at: int) -> Anchor | None:
        return (await self._histories.raw_anchors(partition, at - 1, at)).get(at - 1) if at else None

    async def _check_owner(self, partition: int, tail: list[Emitted]) -> None:
        writer = tail[-1].group if tail else ""
        if self._owners is None or writer in ("", self._owners.group) or await self._owners.adopted():
            return
        raise StartupRefused(
            f"{self._unique_topic}[{partition}] is written by CONSUMER_GROUP={writer}, and this worker's is "
            f"{self._owners.group}: two groups would hand off everything twice. Set CONSUMER_GROUP={writer}; "
            "or another TOPIC_PREFIX for a second pipeline; or, if that group is gone for good, hand its "
            "topics over with: setup --adopt"
        )


def _newest_epoch(tail: list[Emitted]) -> int:
    return max((emitted.epoch for emitted in tail), default=0)


def _begun_by_another(state: PartitionState, common: Emitted | None, tail: list[Emitted]) -> int | None:
    """Return the epoch that another worker has begun for this very log; None if none has."""
    is_begun = common is not None and _is_newest(common, tail) and common.epoch > state.epoch
    return common.epoch if common is not None and is_begun else None


def _is_newest(emitted: Emitted, tail: list[Emitted]) -> bool:
    return bool(tail) and emitted.offset == tail[-1].offset


def _against_raw(state: PartitionState, raw: dict[int, Anchor], log_range: LogRange) -> str | None:
    """Say what speaks against this log's being the one that was decided on; None for nothing.

    Of records that retention has removed, nothing can be told.
    """
    if state.last_offset is not None and state.last_offset >= log_range.end:
        return ENDED % (log_range.end, state.last_offset)
    for offset, decision in state.unsettled.items():
        if offset >= log_range.start and (offset not in raw or raw[offset].digest != decision.digest):
            return OTHER_RECORD % offset
    return None
