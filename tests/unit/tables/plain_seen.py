"""What the table ``seen`` remembers, written as plainly as it goes: dicts, at some 220 bytes an id or more.

The oracle of test_seen_oracle.py, and what `./dev bench dedupe` measures `tables.state` against.
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from typing import NamedTuple

from streams.models import Origin
from streams.wire.decision import FINGERPRINT_BYTES, Decision, unpack


class Remembered(NamedTuple):
    """A decision that is no longer its partition's last."""

    decided_at: float
    """Unix time in seconds."""
    fingerprints: bytes


class Sighting(NamedTuple):
    """When and with which content an id was accepted last."""

    content: bytes
    offset: int


@dataclass(slots=True)
class PlainPartition:
    """The decisions of one partition, oldest first, and where each id was accepted last."""

    older: dict[int, Remembered] = field(default_factory=dict)
    last_offset: int | None = None
    last: Decision | None = None
    index: dict[bytes, Sighting] = field(default_factory=dict)
    ids: int = 0
    unsure_below: int = 0
    unsettled: dict[int, Decision] = field(default_factory=dict)
    settled_below: int | None = None
    """The offset below which all that was decided has been emitted."""
    last_at: float = 0.0
    """When the last decision was made, on the timeline."""

    def add(self, offset: int, decision: Decision, shift_s: float = 0.0) -> None:
        """Take in a decision; one that is already held is replaced."""
        decided_at = decision.decided_at + shift_s
        unsettled = self.unsettled | {offset: decision}
        settled_below = max(offset - decision.unsettled, self.settled_below or 0)
        self.remove(offset)
        # The sighting that a later removal uncovered is not in the index, and this older one must not be.
        sure = offset >= self.unsure_below or not any(
            offset < held < self.unsure_below for held in self.offsets()
        )
        if self.last_offset is None or offset > self.last_offset:
            self._retire_last()
            self.last_offset, self.last, self.last_at = offset, decision, decided_at
        else:
            self.older[offset] = Remembered(decided_at, decision.fingerprints)
        self._index(offset, decision.fingerprints, sure=sure)
        self.settled_below = settled_below
        self.unsettled = {held: other for held, other in unsettled.items() if held >= settled_below}

    def remove(self, offset: int) -> None:
        """Forget a decision and the ids that it was the last to accept."""
        if offset == self.last_offset and self.last is not None:
            fingerprints = self.last.fingerprints
            self.last_offset = self.last = self.settled_below = None
            self.unsettled = {}
        elif (remembered := self.older.pop(offset, None)) is not None:
            fingerprints = remembered.fingerprints
        else:
            return
        self.unsettled.pop(offset, None)
        self.ids -= len(fingerprints) // FINGERPRINT_BYTES
        if fingerprints:
            self.unsure_below = max(self.unsure_below, offset)
        for id_, _ in unpack(fingerprints):
            if (sighting := self.index.get(id_)) is not None and sighting.offset == offset:
                del self.index[id_]

    def seen(self, id_: bytes, horizon: float) -> bytes | None:
        """Return the content with which an id was accepted last, unless that was before `horizon`."""
        sighting = self.index.get(id_)
        if sighting is None or self._decided_at(sighting.offset) < horizon:
            return None
        return sighting.content

    def known(self, ids: Iterable[bytes], horizon: float) -> dict[bytes, bytes]:
        """Return the content with which each of those ids was accepted last that were since `horizon`."""
        return {id_: content for id_ in ids if (content := self.seen(id_, horizon)) is not None}

    def oldest(self, limit: int) -> list[tuple[int, Remembered]]:
        """Return the oldest decisions that may be evicted, which unsettled ones never are."""
        end = self.settled_below
        return sorted((at, old) for at, old in self.older.items() if end is None or at < end)[:limit]

    def offsets(self) -> Iterator[int]:
        """Yield the offset of every decision held."""
        yield from self.older
        if self.last_offset is not None:
            yield self.last_offset

    def _retire_last(self) -> None:
        if self.last_offset is not None and self.last is not None:
            self.older[self.last_offset] = Remembered(self.last_at, self.last.fingerprints)

    def _index(self, offset: int, fingerprints: bytes, *, sure: bool) -> None:
        self.ids += len(fingerprints) // FINGERPRINT_BYTES
        for id_, content in unpack(fingerprints):
            known = self.index.get(id_)
            if sure if known is None else known.offset <= offset:
                self.index[id_] = Sighting(content, offset)

    def _decided_at(self, offset: int) -> float:
        if offset == self.last_offset and self.last is not None:
            return self.last_at
        return self.older[offset].decided_at


class PlainSeen:
    """All partitions of a worker."""

    def __init__(self, *, window_s: float, max_ids: int) -> None:
        self.window_s = window_s
        self.max_ids = max_ids
        self.shift_s = 0.0
        """How far the machine's clock was set back so far, in all."""
        self._latest = 0.0
        self._partitions: dict[int, PlainPartition] = {}

    @property
    def ids(self) -> int:
        """How many ids are remembered."""
        return sum(state.ids for state in self._partitions.values())

    def partition(self, partition: int) -> PlainPartition:
        """Return the state of one partition."""
        return self._partitions.setdefault(partition, PlainPartition())

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
        self.partition(origin.partition).add(origin.offset, decision, self.shift_s)

    def remove(self, origin: Origin) -> None:
        """Forget a decision."""
        self.partition(origin.partition).remove(origin.offset)

    def evictable(self, partition: int, now: float, limit: int) -> list[Origin]:
        """Return what is to be forgotten: at most `limit` decisions, the oldest first.

        Of `partition` what fell out of the window or holds no ids, and while there are too many ids, the
        oldest decision of any partition.
        """
        state = self.partition(partition)
        self.shift_s += max(0.0, self._latest - (now + self.shift_s))
        self._latest = now + self.shift_s
        horizon = self._latest - self.window_s
        expired = [
            Origin(partition, offset)
            for offset, (decided_at, fingerprints) in state.oldest(limit)
            if decided_at < horizon or not fingerprints
        ]
        return expired or self._surplus(limit)

    def _surplus(self, limit: int) -> list[Origin]:
        if self.ids <= self.max_ids:
            return []
        heads = [
            (remembered.decided_at, Origin(number, offset))
            for number, state in self._partitions.items()
            for offset, remembered in state.oldest(1)
        ]
        return [origin for _, origin in sorted(heads)[:limit]]
