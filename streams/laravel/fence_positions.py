"""Where handoff goes on after a rebalance: behind the fence in Redis, if metrics.unique bears it out.

Between the fence and the stream's positions. The record at the fence is read and compared. Where another one
stands there, Kafka was set back or the topic was made anew, and handoff goes back to the last chunk that both
histories have in common. Without any fence it hands off what metrics.unique holds.
"""

import logging
from collections.abc import Callable, Sequence

from faust.types import TP

from streams.counters import Note, Statistics
from streams.kafka.histories import TAIL_RECORDS, Emitted, Histories
from streams.kafka.log_reader import LogReader
from streams.kafka.positions import LogRange, Position
from streams.kafka.records_cut import RecordsCut
from streams.laravel.fence import Fence, FenceState
from streams.laravel.push import JobQueue
from streams.laravel.replays import Replays

log = logging.getLogger(__name__)

ALREADY_THERE = "Jobs are pushed again; their rows are there already and stay single."
GOING_BACK = (
    "%s[%d] is not the log that the fence %s in Redis is about: Kafka was set back, or the topic was made "
    "anew. handoff goes back to offset %d, %s. " + ALREADY_THERE
)
NO_READABLE_FENCE = (
    "the fence of %s[%d] in Redis is gone, or is not one: somebody has written to its hash. handoff goes "
    "back to offset %d, %s. " + ALREADY_THERE
)
COMMON = "behind the last chunk that both are known to have in common"
NOTHING_COMMON = "the beginning, since they have nothing in common"
NO_FENCE = (
    "the fence of %s[%d] is gone from Redis, so nothing shows what was pushed: handoff begins at offset %d "
    "of the log from %d up to %d. " + ALREADY_THERE
)
CUT = (
    "%s[%d]: the records from offset %d up to %d were removed before they were handed off. They are gone. "
    "Retention (RAW_RETENTION_S) is too short for such a delay, or somebody has deleted records"
)


class FencePositions:
    """The position of handoff: one past the chunk that the fence names.

    Args:
        queue: holds the fences.
        histories: of the logs.
        reader: of metrics.unique.
        replays: told which chunks lie before the position.
        statistics: told of records that were removed unread.
        topic: metrics.unique, as it is called.
        rewind_s: how far to go back, in seconds, where there is no fence.
        was_committed: tells whether the group has committed anything of a partition.
    """

    def __init__(
        self,
        queue: JobQueue,
        histories: Histories,
        reader: LogReader,
        replays: Replays,
        statistics: Statistics,
        *,
        topic: str,
        rewind_s: float,
        was_committed: Callable[[int], bool] = lambda _partition: True,
    ) -> None:
        self._queue = queue
        self._histories = histories
        self._reader = reader
        self._replays = replays
        self._statistics = statistics
        self._topic = topic
        self._rewind_s = rewind_s
        self._was_committed = was_committed
        self._cut = RecordsCut(log, CUT, topic, statistics)

    async def holds(self, partition: int) -> bool:
        """Tell whether the fence is where this worker left it: Redis may have come back with older data.

        Raises:
            Outage: if Redis does not answer.
        """
        return await self._queue.is_unmoved(partition)

    async def position(self, partition: int, log_range: LogRange) -> Position:
        """Return where handoff resumes.

        Raises:
            Outage: if Redis or Kafka does not answer.
            StartupRefused: if the fence is another consumer group's.
            NewerFormat: if a newer version wrote it.
        """
        standing = await self._queue.standing(partition)
        at = await self._offset(partition, standing, log_range)
        # What lies before the position was handed off: by it a replay that comes behind is known.
        before = await self._histories.emitted(partition, at)
        await self._replays.restart(partition, before)
        anchor = before[-1].anchor if before else None
        return Position(at, anchor)

    async def _offset(self, partition: int, standing: FenceState, log_range: LogRange) -> int:
        fence = standing.fence
        if fence is None and not standing.locator:
            return await self._without_fence(partition, log_range)
        if fence is not None and fence.unique_offset >= log_range.end:
            # Another worker may have pushed since the log was measured: measure it again.
            log_range = await self._histories.unique_range(partition, fence.unique_offset + 1)
        if fence is not None and fence.unique_offset < log_range.start:
            # Nothing is left to compare with. What lay between was removed unread.
            # The record at the fence itself was handed off; only what lay behind it is lost.
            if fence.unique_offset + 1 < log_range.start:
                self._cut.tell(partition, fence.unique_offset + 1, log_range.start)
            return log_range.start
        # The newest first: the first one that the log bears out is the last place in common.
        for number, mark in enumerate(standing.marks):
            if mark.unique_offset < log_range.end and await self._is_borne_out(partition, mark):
                at = max(mark.unique_offset + 1, log_range.start)
                if mark != fence:
                    at = await self._behind_what_was_pushed(partition, at, standing.marks[:number])
                    await self._go_back(partition, fence, at, COMMON)
                return at
        await self._go_back(partition, fence, log_range.start, NOTHING_COMMON)
        return log_range.start

    async def _is_borne_out(self, partition: int, mark: Fence) -> bool:
        found = await self._histories.emitted(partition, mark.unique_offset + 1, count=1)
        return bool(found) and is_about(mark, found[0])

    async def _behind_what_was_pushed(self, partition: int, at: int, lost: Sequence[Fence]) -> int:
        """Return the offset from `at` on of the first record that may not have been pushed.

        A writer numbers its records, and never twice alike. One of a later number was pushed, so those before
        it were, too. To push them once more, without what is lost behind them, would bring back old values.

        Args:
            partition: of metrics.unique.
            at: all before it was pushed.
            lost: what was pushed and is not in the log any more.
        """
        pushed: dict[bytes, int] = {}
        for known in (fence.link for fence in lost if fence.link is not None):
            pushed[known.writer] = max(known.seq, pushed.get(known.writer, -1))
        while pushed and (found := await self._histories.emitted(partition, at + TAIL_RECORDS)):
            for emitted in found:
                link = emitted.link
                if emitted.offset != at or link is None or link.seq > pushed.get(link.writer, -1):
                    return at
                at += 1
        return at

    async def _without_fence(self, partition: int, log_range: LogRange) -> int:
        if log_range.start == log_range.end:
            return log_range.start
        tp = TP(self._topic, partition)
        newest = (await self._reader.read(tp, log_range.end - 1))[-1:]
        # Counted from the newest record, not from now: a log that was idle for long has as much that may be
        # missing.
        since_ms = newest[0].timestamp_ms - round(self._rewind_s * 1_000) if newest else 0
        found = await self._reader.offset_at(tp, since_ms) if since_ms > 0 else None
        at = log_range.start if found is None else max(found, log_range.start)
        if self._was_committed(partition):  # else this is its first start
            log.warning(NO_FENCE, self._topic, partition, at, log_range.start, log_range.end)
        return at

    async def _go_back(self, partition: int, fence: Fence | None, at: int, why: str) -> None:
        if fence is None:
            log.error(NO_READABLE_FENCE, self._topic, partition, at, why)
        else:
            # For refine, which asks whether its raw record is gone as well, and may ask later than we push.
            await self._queue.mark_lost(partition, fence)
            log.error(GOING_BACK, self._topic, partition, fence, at, why)
        self._statistics.notes[Note.POSITIONS_SET_BACK] += 1


def is_about(mark: Fence, emitted: Emitted) -> bool:
    """Tell whether a record is the one that a fence names."""
    is_same = (mark.epoch, mark.raw_offset, mark.unique_offset) == (
        emitted.epoch,
        emitted.raw_offset,
        emitted.offset,
    )
    return is_same and (not mark.digest or not emitted.digest or mark.digest == emitted.digest)
