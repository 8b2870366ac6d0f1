"""What the table ``seen`` holds, in memory: the decisions of each partition and the index over their ids.

Pure: fed by recovery and by refine, asked by dedupe. A decision is kept in full only while its chunk may have
to be emitted again: it is its partition's last, or was made together with that one. Of older ones the
fingerprints remain, for as long as the window lasts. Of several decisions about one id the latest counts.
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from itertools import islice

from streams.models import Origin
from streams.wire.decision import NONE_EMITTED, Decision, First
from tables.decisions import Decisions, Remembered
from tables.fingerprints import Fingerprints

LAST_INDEX = 2**31


def firsts_of(decision: Decision) -> dict[bytes, First]:
    """Return where the messages of a replay's ids stood first."""
    return {id_: first for (id_, _), first in zip(decision.pairs(), decision.firsts, strict=False)}


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
    epoch: int = 0
    """In which the next decision is made: that of the last one, or the one that placing has begun."""
    decided_in: int = 0
    """The highest epoch in which anything was decided. One that was begun for nothing is begun again."""
    term: int = 0
    """The highest term of an ingress so far."""
    last_emitted: int = NONE_EMITTED
    """The last raw offset that is known to have gone to metrics.unique."""
    unique_end: int = 0
    """How long metrics.unique is at least: behind what was found there, or put there since."""
    unique_lost_from: int | None = None
    """The offset from which on metrics.unique has lost what it held, when that was noticed."""
    firsts: dict[int, dict[bytes, First]] = field(default_factory=dict)
    """Of decisions about replays: where the message of each id stood first."""

    @property
    def ids(self) -> int:
        """How many ids its decisions accepted."""
        return self.decisions.ids

    def add(self, offset: int, decision: Decision, shift_s: float = 0.0) -> None:
        """Take in a decision; one that is already held is replaced.

        Args:
            offset: of its chunk.
            decision: about it.
            shift_s: from the clock that it was made by to the timeline on which it is to age.
        """
        self._forget_ids(offset)
        self.decided_in = max(self.decided_in, decision.epoch)
        # An id that is unknown may be one that a decision between here and there has. To enter it would let
        # this older content count, and a correction be dropped. Left unknown it lets a duplicate pass.
        sure = offset >= self.unsure_below or not self.decisions.any_between(offset, self.unsure_below)
        places = self.index.add(decision.fingerprints, offset, enter_unknown=sure)
        self.decisions.put(offset, decision.decided_at + shift_s, places)
        if decision.firsts:
            self.firsts[offset] = firsts_of(decision)
        if self.last_offset is None or offset >= self.last_offset:
            self.last_offset, self.last = offset, decision
            self.epoch, self.term = decision.epoch, decision.term
            self.last_emitted = decision.last_emitted
        self._keep_unsettled(offset, decision)

    def emitted(self, raw_offset: int, unique_offset: int) -> bool:
        """Note that a chunk has gone to metrics.unique; return False if that was shorter than it had been."""
        follows = unique_offset >= self.unique_end
        if follows:
            self.last_emitted = max(self.last_emitted, raw_offset)
            self.unique_end = unique_offset + 1
        elif self.unique_lost_from is None:
            self.unique_lost_from = unique_offset
        return follows

    def remove(self, offset: int) -> None:
        """Forget a decision and the ids that it was the last to accept.

        Those ids are unknown then, even where an earlier decision had accepted them too: what it accepted is
        no longer what the database holds.
        """
        self._forget_ids(offset)
        self.unsettled.pop(offset, None)
        if offset == self.last_offset:
            # What it said of a log that may be gone must not be held against another one.
            self.last_offset = self.last = self.settled_below = None
            self.term, self.last_emitted, self.unique_end = 0, NONE_EMITTED, 0
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

    def accepted_at(self, ids: Iterable[bytes]) -> dict[bytes, First]:
        """Return, of those ids that are remembered, where the message stood first that was accepted last.

        A message that is no replay counts as the last of its chunk, and as of the present epoch.
        """
        return {
            id_: self.firsts.get(offset, {}).get(id_, (self.epoch, offset, LAST_INDEX))
            for id_, _, offset in self.index.find(ids)
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
        self.firsts.pop(offset, None)
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


class Timeline:
    """A clock that never goes back: when the machine's does, time goes on from where it was.

    Decisions age on it. Were a clock believed that was set back by six hours, none would leave for six hours.
    """

    def __init__(self) -> None:
        self.shift_s = 0.0
        """From the machine's clock to this one."""
        self._latest = 0.0

    def at(self, now: float) -> float:
        """Return the time on this clock when the machine's, Unix time in seconds, says `now`."""
        if now + self.shift_s < self._latest:
            self.shift_s = self._latest - now
        self._latest = now + self.shift_s
        return self._latest


class SeenState:
    """All partitions of a worker."""

    def __init__(self, *, window_s: float, max_ids: int) -> None:
        self.window_s = window_s
        self.max_ids = max_ids
        self.timeline = Timeline()
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

    def keep_only(self, partitions: Iterable[int]) -> set[int]:
        """Forget every other partition; return those forgotten."""
        gone = self._partitions.keys() - set(partitions)
        for partition in gone:
            self.forget(partition)
        return gone

    def add(self, origin: Origin, decision: Decision) -> None:
        """Take in a decision."""
        self.partition(origin.partition).add(origin.offset, decision, self.timeline.shift_s)

    def remove(self, origin: Origin) -> None:
        """Forget a decision."""
        self.partition(origin.partition).remove(origin.offset)

    def evictable(self, partition: int, now: float, limit: int) -> list[Origin]:
        """Return what is to be forgotten: at most `limit` decisions, the oldest first.

        `now` is the machine's clock. Of `partition` what fell out of the window or holds no ids, and while
        there are too many ids, the oldest decision of any partition.
        """
        horizon = self.timeline.at(now) - self.window_s
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
