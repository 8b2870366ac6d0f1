"""What the table ``seen`` holds, in memory: the decisions of each partition and the index over their ids.

Pure: fed by recovery and by refine, asked by dedupe. A decision is kept in full only while its chunk may have
to be emitted again: it is its partition's last, or was made together with that one. Of older ones the
fingerprints remain, for as long as the window lasts. Of several decisions about one id the latest counts.
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from itertools import islice

from streams.models import Origin
from streams.wire.decision import Decision
from tables.decisions import Decisions, Remembered
from tables.fingerprints import Fingerprints


@dataclass(slots=True)
class PartitionState:
    """The decisions of one partition, and where each id was accepted last."""

    decisions: Decisions = field(default_factory=Decisions)
    index: Fingerprints = field(default_factory=Fingerprints)
    unsure_below: int = 0
    """Highest offset removed: an earlier decision may have its ids too, and the index does not know."""
    last_offset: int | None = None
    last: Decision | None = None
    unsettled: dict[int, Decision] = field(default_factory=dict)
    """The decisions whose chunks may not have been emitted, by offset; the last one is among them."""
    settled_below: int | None = None
    """The offset below which all that was decided has been emitted; None if there is no last decision.

    Each decision says how many before it were not, and it only ever grows: what one worker has emitted stays
    so, even where another one, which does not know of it, decides on the same chunks together.
    """
    first_epoch: int = 0
    """The least that a new epoch may be, whatever a clock says: more than one that has ended."""

    @property
    def ids(self) -> int:
        """How many ids its decisions accepted."""
        return self.decisions.ids

    def add(self, offset: int, decision: Decision) -> None:
        """Take in a decision; one that is already held is replaced."""
        self._forget_ids(offset)
        # An id that is unknown may be one that a decision between here and there has. To enter it would let
        # this older content count, and a correction be dropped. Left unknown it lets a duplicate pass.
        sure = offset >= self.unsure_below or not self.decisions.any_between(offset, self.unsure_below)
        places = self.index.add(decision.fingerprints, offset, enter_unknown=sure)
        self.decisions.put(offset, decision.decided_at, places)
        if self.last_offset is None or offset >= self.last_offset:
            self.last_offset, self.last = offset, decision
        self._keep_unsettled(offset, decision)

    def remove(self, offset: int) -> None:
        """Forget a decision and the ids that it was the last to accept.

        Those ids are unknown then, even where an earlier decision had accepted them too: what it accepted is
        no longer what the database holds.
        """
        self._forget_ids(offset)
        self.unsettled.pop(offset, None)
        if offset == self.last_offset:
            self.last_offset = self.last = self.settled_below = None
            self.unsettled.clear()

    def seen(self, id_: bytes, horizon: float) -> bytes | None:
        """Return the content with which an id was accepted last, unless that was before `horizon`."""
        return self.known([id_], horizon).get(id_)

    def known(self, ids: Iterable[bytes], horizon: float) -> dict[bytes, bytes]:
        """Return the content with which each of those ids was accepted last that were since `horizon`.

        For a chunk this is about twice as fast as `seen` for each id.
        """
        decided_at = self.decisions.decided_at
        return {
            id_: content for id_, content, offset in self.index.find(ids) if decided_at(offset) >= horizon
        }

    def older(self) -> Iterator[Remembered]:
        """Yield the decisions that may be evicted, which unsettled ones never are, the oldest first."""
        end = self.settled_below
        return (decision for decision in self.decisions if end is None or decision.offset < end)

    def offsets(self) -> Iterator[int]:
        """Yield the offset of every decision held."""
        return (decision.offset for decision in self.decisions)

    def offsets_from(self, start: int) -> list[int]:
        """Return the offsets of the decisions about `start` and all behind it, the last one first.

        In this order they are dropped: were the last one left alone, refine would decide on what lies before
        it in its epoch.
        """
        return [offset for offset in reversed(list(self.offsets())) if offset >= start]

    def _forget_ids(self, offset: int) -> None:
        places = self.decisions.pop(offset)
        if places is not None:
            self.index.remove(places, offset)
            if places:
                self.unsure_below = max(self.unsure_below, offset)

    def _keep_unsettled(self, offset: int, decision: Decision) -> None:
        start = self.settled_below = max(offset - decision.unsettled, self.settled_below or 0)
        if start == offset == self.last_offset:
            self.unsettled = {offset: decision}
            return
        kept = self.unsettled | {offset: decision}
        self.unsettled = {held: other for held, other in kept.items() if held >= start}


class SeenState:
    """All partitions of a worker."""

    def __init__(self, *, window_s: float, max_ids: int) -> None:
        self.window_s = window_s
        self.max_ids = max_ids
        self._partitions: dict[int, PartitionState] = {}

    @property
    def ids(self) -> int:
        """How many ids are remembered."""
        return sum(state.ids for state in self._partitions.values())

    def partition(self, partition: int) -> PartitionState:
        """Return the state of one partition."""
        state = self._partitions.get(partition)
        if state is None:
            state = self._partitions[partition] = PartitionState()
        return state

    def forget(self, partition: int) -> None:
        """Drop a partition that is another worker's now."""
        self._partitions.pop(partition, None)

    def begin_anew(self, partition: int) -> None:
        """Drop a partition's decisions, because they are about a log that is gone: its epoch ends."""
        last = self.partition(partition).last
        floor = self.partition(partition).first_epoch if last is None else last.epoch + 1
        self._partitions[partition] = PartitionState(first_epoch=floor)

    def keep_only(self, partitions: Iterable[int]) -> set[int]:
        """Forget every other partition; return those forgotten."""
        gone = self._partitions.keys() - set(partitions)
        for partition in gone:
            self.forget(partition)
        return gone

    def add(self, origin: Origin, decision: Decision) -> None:
        """Take in a decision."""
        self.partition(origin.partition).add(origin.offset, decision)

    def remove(self, origin: Origin) -> None:
        """Forget a decision."""
        self.partition(origin.partition).remove(origin.offset)

    def evictable(self, partition: int, now: float, limit: int) -> list[Origin]:
        """Return what is to be forgotten: at most `limit` decisions, the oldest first.

        Of `partition` what fell out of the window or holds no ids, and while there are too many ids, the
        oldest decision of any partition.
        """
        horizon = now - self.window_s
        expired = [
            Origin(partition, decision.offset)
            for decision in islice(self.partition(partition).older(), limit)
            if decision.decided_at < horizon or not decision.ids
        ]
        return expired or self._surplus(limit)

    def _surplus(self, limit: int) -> list[Origin]:
        if self.ids <= self.max_ids:
            return []
        heads = [
            (oldest.decided_at, Origin(number, oldest.offset))
            for number, state in self._partitions.items()
            if (oldest := next(state.older(), None)) is not None
        ]
        return [origin for _, origin in sorted(heads)[:limit]]
