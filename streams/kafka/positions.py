"""The position of each partition that an agent reads, by its effects: pure bookkeeping, without Kafka.

Committed offsets prove nothing, so refine resumes at the last decision in its table and handoff behind its
fence in Redis, each after it has found in the log the very record that it was about. A `Cursor` holds what
the consumer hands on next and what the agent takes next; both sides refuse anything out of order, so a hole
is never skipped. The cursor also keeps the record right before: the proof that the log is still that one.
"""

from collections import deque
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from enum import Enum, auto
from typing import NamedTuple, Protocol, Self

from streams.wire.decision import digest
from streams.wire.headers import ChainLink, read_link

UNFINISHED_MOST = 8
"""Records handed to an agent that it has not finished; its queue, Faust's, holds twice as many."""
BUG = "a bug, see the log"
"""What holds up a partition where neither waiting nor another worker would help."""
MOST_WRITERS = 256
"""Writers that a cursor remembers, those that were heard of first forgotten first."""


class LogRange(NamedTuple):
    """The offsets that a partition's log holds: from `start` up to, not including, `end`."""

    start: int
    end: int


class Anchor(NamedTuple):
    """A record that was read: as long as the log has it, it is the same log.

    The value alone does not tell it: after a log was set back, the same may be emitted again at its offset.
    No writer numbers two records alike.
    """

    offset: int
    digest: bytes
    """Of the record's value."""
    link: ChainLink | None = None
    """Its number among its writer's; None where an older version wrote it."""

    @classmethod
    def of(cls, offset: int, value: bytes, headers: Mapping[str, bytes]) -> Self:
        """Return what a record is known by."""
        return cls(offset, digest(value), read_link(headers))


class Position(NamedTuple):
    """Where to resume, and what was found there."""

    offset: int
    anchor: Anchor | None = None
    """A record before that offset, by which the log is known again; None where there was none to read."""


class PositionSource(Protocol):
    """Tells where a partition's effects say to resume."""

    async def position(self, partition: int, log: LogRange) -> Position:
        """Return where to resume, within the log.

        Raises:
            Outage: if it is not known now; the partition is held back until it is.
            StartupRefused: if it must not be read at all.
            NewerFormat: if what tells it was written by a newer version.
        """
        ...

    async def holds(self, partition: int) -> bool:
        """Tell whether the effects still say what they said when the partition was placed.

        Raises:
            Outage: if it is not known now.
        """
        ...


class Admission(Enum):
    """What to do with a record at the consumer or at the agent."""

    TAKE = auto()
    PASS_OVER = auto()
    """Behind the cursor, or the partition is held: its effects are durable already, or it will come again."""
    REWIND = auto()
    """Ahead of the cursor: something between was not delivered."""


@dataclass(slots=True)
class Cursor:
    """One partition that an agent reads: what is fetched, handed on, and taken by the agent next."""

    next_fetch: int | None = None
    """None while the partition is held back, its position unknown."""
    next_handed: int | None = None
    expected: int | None = None
    busy: bool = False
    """Whether the agent is at work on `expected`."""
    anchor: Anchor | None = None
    """The record that was finished last, or else that by which the position was proved."""
    writers: dict[bytes, int] = field(default_factory=dict)
    """How far each writer had come with the records that were finished."""
    times: deque[tuple[int, float]] = field(default_factory=deque)
    """Of each record that was fetched and not finished, the offset and the Unix time of its writing."""
    held_up_by: str = ""
    """What the last try at `expected`, or at telling the position, has met."""
    outages: int = 0
    """How often that was a part that is away: what no restart would mend."""

    def lag(self, end: int | None) -> int:
        """Return how many records the effects are behind a log that ends at `end`."""
        return 0 if end is None or self.expected is None else max(0, end - self.expected)

    def note_outage(self, part: str) -> None:
        """Note that work, or telling the position, waits for a part."""
        self.held_up_by = part
        self.outages += 1

    def place(self, position: Position) -> None:
        """Start anew, on all sides."""
        self.anchor = position.anchor
        self.writers.clear()
        self.rewind(position.offset)

    def rewind(self, offset: int) -> None:
        """Go on at `offset` of the same log, on all sides."""
        self.next_fetch = self.next_handed = self.expected = offset
        # These records are fetched again, and noted again.
        self.times.clear()
        self.held_up_by = ""

    def hold(self) -> None:
        """Hand nothing on until the cursor is placed."""
        self.next_fetch = None

    def fetched(self, offset: int, written_at: float | None = None) -> Admission:
        """Judge a record that the consumer has fetched; TAKE moves on behind it.

        Args:
            offset: of the record.
            written_at: Unix time in seconds at which Kafka got it.
        """
        admission = _judge(offset, self.next_fetch)
        if admission is Admission.TAKE:
            self.next_fetch = offset + 1
            if written_at is not None:
                self.times.append((offset, written_at))
        return admission

    @property
    def oldest_at(self) -> float | None:
        """Return when the record at `expected` was written, Unix time; None if it was not fetched."""
        return self.times[0][1] if self.times and self.times[0][0] == self.expected else None

    @property
    def has_room(self) -> bool:
        """Whether the agent may be handed another record."""
        return (
            self.next_handed is None
            or self.expected is None
            or self.next_handed - self.expected < UNFINISHED_MOST
        )

    def handed_on(self, offset: int) -> None:
        """Note that a record is on its way to the agent."""
        self.next_handed = offset + 1

    def offered(self, offset: int, ahead: int = 0) -> Admission:
        """Judge a record that reached the agent, behind so many that are still to be worked on."""
        if self.next_fetch is None or self.expected is None:
            return Admission.PASS_OVER
        # Those ahead are taken but not finished, so `expected` does not count them yet.
        return _judge(offset, self.expected + ahead)

    def done(self, offset: int) -> None:
        """Note that all effects of a record are durable."""
        if self.expected == offset:
            self.expected = offset + 1
            self.held_up_by = ""
            while self.times and self.times[0][0] <= offset:
                self.times.popleft()

    def follows(self, headers: Iterable[Mapping[str, bytes]]) -> bool:
        """Tell whether records surely follow those that were finished, in the log that those stood in.

        A log that was set back, or made anew, and has grown past the position by now, shows by the numbers
        that writers give their records. A record that has none, of an older version, is believed.
        """
        seen = dict(self.writers)
        for found in headers:
            link = read_link(found)
            if link is None:
                continue
            # A new writer begins with 0 in whatever log, so that proves nothing but at the very beginning of
            # one.
            if seen.get(link.writer, -1) != link.seq - 1 or (link.seq == 0 and self.expected):
                return False
            seen[link.writer] = link.seq
        return True

    def passed(self, anchor: Anchor, headers: Iterable[Mapping[str, bytes]]) -> None:
        """Note what was finished last, so that what follows it is known."""
        self.anchor = anchor
        for found in headers:
            if (link := read_link(found)) is not None:
                self.writers[link.writer] = link.seq
        while len(self.writers) > MOST_WRITERS:
            del self.writers[next(iter(self.writers))]

    @property
    def committable(self) -> int | None:
        """Return the offset up to which the effects are durable, as far as that is known.

        Not while the partition is held: the log may be another one than that in which `expected` counts.
        """
        return self.expected if self.next_fetch is not None else None

    @property
    def starved(self) -> bool:
        """Whether records were handed on that neither reached the agent nor are at work."""
        return (
            not self.busy
            and self.next_fetch is not None
            and self.expected is not None
            and self.next_fetch > self.expected
        )


def _judge(offset: int, wanted: int | None) -> Admission:
    if wanted is None or offset < wanted:
        return Admission.PASS_OVER
    return Admission.TAKE if offset == wanted else Admission.REWIND
