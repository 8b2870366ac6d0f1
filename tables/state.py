"""What the table ``seen`` holds, in memory: the decisions of each partition and the index over their ids.

Pure: fed by recovery and by refine, asked by dedupe. A decision is kept in full only while its chunk may have
to be emitted again: it is its partition's last, or was made together with that one. Of older ones the
fingerprints remain, for as long as the window lasts. Of several decisions about one id the latest counts.

A partition that was added later also has the decisions of those in which its tenants were before. They only
tell what was accepted: no position rests on them, and they are older than all of its own (`tables.lineage`).
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from itertools import islice

from streams.models import Origin
from streams.wire.decision import NONE_EMITTED, Decision, First, Inherited, Place
from tables.decisions import Decisions, Remembered
from tables.fingerprints import Fingerprints
from tables.lineage import OWN, Lineage, is_own, offset_of, rank_of

LAST_INDEX = 2**31


def firsts_of(decision: Decision) -> dict[bytes, First]:
    """Return where the messages of a replay's ids stood first."""
    return {id_: first for (id_, _), first in zip(decision.pairs(), decision.firsts, strict=False)}


@dataclass(slots=True)
class PartitionState:
    """The decisions of one partition, and where each id was accepted last."""

    decisions: Decisions = field(default_factory=Decisions)
    """By rank, as the index."""
    index: Fingerprints = field(default_factory=Fingerprints)
    lineage: Lineage = field(default_factory=Lineage)
    """The partitions from which it has inherited."""
    unsure_below: int = 0
    """Highest rank removed: an earlier decision may have its ids too, and the index does not know."""
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
    """Of decisions about replays, by rank: where the message of each id stood first."""

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
        self._remember(OWN + offset, decision, shift_s)
        if self.last_offset is None or offset >= self.last_offset:
            self.last_offset, self.last = offset, decision
            self.epoch, self.term = decision.epoch, decision.term
            self.last_emitted = decision.last_emitted
        self._keep_unsettled(offset, decision)

    def inherit(self, origin: Origin, decision: Decision, shift_s: float) -> None:
        """Take in a decision of the partition in which tenants were before, as `add` does.

        Raises:
            MalformedRecord: if that is no partition from which this one can have any.
        """
        rank = self.lineage.enter(origin, decision.epoch)
        # A copy that was cut off is made again, word for word. Were the row forgotten for that, its ids would
        # be among those of which it is not known whether a later decision had them.
        if not self.decisions.holds(rank):
            self._remember(rank, decision, shift_s)

    def disinherit(self, origin: Origin) -> None:
        """Forget what was inherited."""
        self._forget_ids(rank_of(origin))

    def _remember(self, rank: int, decision: Decision, shift_s: float) -> None:
        self._forget_ids(rank)
        # Also of what was inherited: so the first epoch is above that of the former partition, and what stood
        # there first comes before all that stands here (`FirstPlace.order`).
        self.decided_in = max(self.decided_in, decision.epoch)
        # An id that is unknown may be one that a decision between here and there has. To enter it would let
        # this older content count, and a correction be dropped. Left unknown it lets a duplicate pass.
        sure = rank >= self.unsure_below or not self.decisions.any_between(rank, self.unsure_below)
        places = self.index.add(decision.fingerprints, rank, enter_unknown=sure)
        self.decisions.put(rank, decision.decided_at + shift_s, places)
        if decision.firsts:
            self.firsts[rank] = firsts_of(decision)

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
        self._forget_ids(OWN + offset)
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
        return {id_: content for id_, content, rank in self.index.find(ids) if decided_at(rank) >= horizon}

    def accepted_at(self, ids: Iterable[bytes]) -> dict[bytes, First]:
        """Return, of those ids that are remembered, where the message stood first that was accepted last.

        A message that is no replay counts as the last of its chunk, and as of the present epoch: its
        partition's, which of what was inherited is the last one that it had there.
        """
        return {
            id_: self.firsts.get(rank, {}).get(id_, (self._epoch_at(rank), offset_of(rank), LAST_INDEX))
            for id_, _, rank in self.index.find(ids)
        }

    def _epoch_at(self, rank: int) -> int:
        return self.epoch if is_own(rank) else self.lineage.epoch_at(rank)

    def older(self) -> Iterator[Remembered]:
        """Yield the decisions that may be evicted by rank, which unsettled ones never are, the oldest first.

        What was inherited stays until the partition has a decision of its own, which tells the epoch.
        """
        if self.last is None and self.lineage:
            return iter(())
        end = None if self.settled_below is None else OWN + self.settled_below
        return (decision for decision in self.decisions if end is None or decision.offset < end)

    def place(self, partition: int, rank: int) -> Place:
        """Return where the row of a decision belongs."""
        if is_own(rank):
            return Origin(partition, offset_of(rank))
        return Inherited(partition, self.lineage.origin_at(rank))

    def offsets(self) -> Iterator[int]:
        """Yield the offset of every decision of its own that is held."""
        return (offset_of(decision.offset) for decision in self.decisions if is_own(decision.offset))

    def inherited(self) -> list[Origin]:
        """Return where every decision was made that it has inherited and not forgotten."""
        ranks = (decision.offset for decision in self.decisions)
        return [self.lineage.origin_at(rank) for rank in ranks if not is_own(rank)]

    def offsets_from(self, start: int) -> list[int]:
        """Return the offsets of the decisions about `start` and all behind it, the last one first.

        In this order they are dropped: were the last one left alone, refine would decide on what lies before
        it in its epoch.
        """
        return [offset for offset in reversed(list(self.offsets())) if offset >= start]

    def _forget_ids(self, rank: int) -> None:
        places = self.decisions.pop(rank)
        self.firsts.pop(rank, None)
        if places is not None:
            self.index.remove(places, rank)
            if places:
                self.unsure_below = max(self.unsure_below, rank)

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
        # Only backwards: a clock that jumps ahead cannot be told from time that has passed.
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

    def add(self, place: Place, decision: Decision) -> None:
        """Take in a decision.

        Raises:
            MalformedRecord: if a partition cannot have inherited it; nothing has changed then.
        """
        state, shift_s = self.partition(place.partition), self.timeline.shift_s
        if isinstance(place, Inherited):
            state.inherit(place.origin, decision, shift_s)
        else:
            state.add(place.offset, decision, shift_s)

    def admit(self, place: Place, decision: Decision, now: float, limit: int) -> list[Place]:
        """Take in a new decision, and return what is to be forgotten now (`evictable`)."""
        self.add(place, decision)
        return self.evictable(place.partition, now, limit)

    def remove(self, place: Place) -> None:
        """Forget a decision."""
        state = self.partition(place.partition)
        if isinstance(place, Inherited):
            state.disinherit(place.origin)
        else:
            state.remove(place.offset)

    def evictable(self, partition: int, now: float, limit: int) -> list[Place]:
        """Return what is to be forgotten: at most `limit` decisions, the oldest first.

        `now` is the machine's clock. Of `partition` what fell out of the window or holds no ids, and while
        there are too many ids, the oldest decision of any partition.
        """
        horizon = self.timeline.at(now) - self.window_s
        state = self.partition(partition)
        expired = [
            state.place(partition, decision.offset)
            for decision in islice(state.older(), limit)
            if decision.decided_at < horizon or not decision.ids
        ]
        # What the window lets go makes room already; the bound is asked only where it does not.
        return expired or self._surplus(limit)

    def _surplus(self, limit: int) -> list[Place]:
        if self.ids <= self.max_ids:
            return []
        heads = [
            (oldest.decided_at, number, state.place(number, oldest.offset))
            for number, state in self._partitions.items()
            if (oldest := next(state.older(), None)) is not None
        ]
        return [place for *_, place in sorted(heads, key=lambda head: head[:2])[:limit]]
