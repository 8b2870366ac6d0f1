"""Where refine stands after a rebalance: at the decisions in the table, if they are about this very log.

Between the table ``seen`` and the stream's positions. A log that was recreated begins at 0 again, and
decisions about the old one must neither move the position nor tell duplicates.
"""

import logging

from streams.kafka.positions import LogRange
from tables.seen import SeenTable

log = logging.getLogger(__name__)

RECREATED = (
    "%s[%d] was recreated: the last decision is about offset %d and the log ends at %d. "
    "Its decisions are dropped; reading begins at the start of the new log."
)
BEYOND = (
    "%s[%d] ends at %d, but a decision in the table is about offset %d. The group has committed %d, "
    "so the log is the one that was read: the decisions from there on are dropped, and made anew."
)
CUT_OFF = (
    "%s[%d]: a worker has ended while it dropped decisions, which its log tells more of. "
    "The %d that are left are dropped now."
)
CUT = "%s[%d] begins at %d but offset %d was next: retention removed what stood between."


class SeenPositions:
    """Where refine stands: at the first decision of the partition that may not have been emitted.

    Args:
        seen: the table.
        topic: what refine reads, for the log.
    """

    proven = False  # only the record's digest tells whether the decision is about this log

    def __init__(self, seen: SeenTable, topic: str) -> None:
        self._seen = seen
        self._topic = topic

    async def position(self, partition: int, log_range: LogRange, committed: int | None) -> int:
        """Return the offset at which refine resumes.

        Raises:
            Outage: if the decisions about a log that is gone could not be removed.
        """
        state = self._seen.memory.partition(partition)
        last, at = state.last_offset, state.settled_below
        resume_at = _of_this_log(committed, log_range)
        if last is None or at is None:
            await self._finish_drop(partition, resume_at)
            return _without_decision(f"{self._topic}[{partition}]", log_range, committed, resume_at)
        if last >= log_range.end:
            # A log that was recreated, whose committed offset went with it, or else a row that is not ours.
            if resume_at is None:
                log.error(RECREATED, self._topic, partition, last, log_range.end)
            else:
                log.error(BEYOND, self._topic, partition, log_range.end, last, resume_at)
            await self._drop(partition, resume_at)
            return log_range.start if resume_at is None else resume_at
        if at < log_range.start:
            log.error(CUT, self._topic, partition, log_range.start, at)
        return max(at, log_range.start)

    async def _finish_drop(self, partition: int, resume_at: int | None) -> None:
        """Drop what a drop has left that was cut off: it begins with the last decision, so now there is none.

        Decisions about a log that is gone must not tell duplicates in the new one: their offsets are higher
        than those to come, so of an id their content would count, and not a later one.
        """
        left = self._seen.memory.partition(partition).offsets_from(resume_at or 0)
        if left:
            log.error(CUT_OFF, self._topic, partition, len(left))
            await self._drop(partition, resume_at)

    async def _drop(self, partition: int, resume_at: int | None) -> None:
        """Drop the decisions from where reading goes on; all where none says so: their log is gone."""
        if resume_at is None:
            await self._seen.drop_partition(partition)
        else:
            await self._seen.drop_from(partition, resume_at)


def _of_this_log(committed: int | None, log_range: LogRange) -> int | None:
    """Return the committed offset if it can be one of this log."""
    return committed if committed is not None and log_range.start <= committed <= log_range.end else None


def _without_decision(name: str, log_range: LogRange, committed: int | None, resume_at: int | None) -> int:
    at = log_range.start if resume_at is None else resume_at
    if committed is not None:
        log.warning(
            "%s has no decision in the table (committed: %d): going on at %d",
            name,
            committed,
            at,
        )
    return at
