r"""Watches what is really pushed into Redis: every job and every move of a fence, as they happen.

Reads ``MONITOR``, which shows the commands within a script one by one. A push is a run of ``RPUSH`` that a
move of the fence ends; Laravel's protocol moves jobs about with the same command, but with no fence behind.
"""

import asyncio
import contextlib
import re
from collections import Counter, defaultdict
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

from tests.faults.messages import Known, correction_of
from tests.faults.pace import pass_time

_PUSH = re.compile(rb'\+[\d.]+ \[\d+ lua\] "RPUSH" "[^"]*queues:[^":]+" "\{\\"uuid\\":\\"([0-9a-f-]{36})')
_WAKE = re.compile(rb'\+[\d.]+ \[\d+ lua\] "RPUSH" "[^"]*:notify"')
_FENCE = re.compile(rb'\+[\d.]+ \[\d+ lua\] "HSET" "[^"]*:fence" "(\d+)" "(\d+):(\d+):(\d+)"')
_METRIC = re.compile(
    rb'value\\\\+";[di]:([-0-9.E+]+);s:9:\\\\+"timestamp\\\\+";s:\d+:\\\\+"[^"\\\\]*\\\\+";'
    rb's:9:\\\\+"dedupe_id\\\\+";s:\d+:\\\\+"(\d+)-(\d+)\\\\'
)
"""A metric of a job as PHP serializes it, in JSON, in MONITOR's quotes."""
_ANY = re.compile(rb"\+[\d.]+ \[")
_RETRY_S = 0.02
MOVES_ON = "the tap moves on"
"""Echoed by a server that is left: what it did before has been read, and the next one is looked up."""
COMES_BACK = "the tap begins life"
"""Echoed, with a number, in the transaction that reads the fences with which Redis came back."""
_COMES_BACK = re.compile(rb'.*"ECHO" "%s (\d+)"' % COMES_BACK.encode())


class Coordinate(NamedTuple):
    """Where a job's chunk stands."""

    partition: int
    epoch: int
    raw_offset: int


class Push(NamedTuple):
    """One push of a job."""

    uuid: str
    at: Coordinate
    life: int
    """How often Redis had been set back by then."""
    era: int = 0
    """How often another part had been, which lets its coordinates come again."""


@dataclass
class Tap:
    """What has been pushed so far.

    Attributes:
        pushes: all of them, in order.
        fences: at each time that Redis was set back, the fences with which it came back, by partition.
        last: of each message that may be corrected, the value that was pushed last.
        before: of each of them, all that was its last value when an era ended.
        era: how often the history of Kafka or of a topic was changed.
        life: how often Redis had been set back by the last line that was read.
        gaps: how often Redis went away while it was watched: what it did last it may not have told.
    """

    pushes: list[Push] = field(default_factory=list)
    fences: list[dict[int, tuple[int, int]]] = field(default_factory=list)
    last: dict[Known, float] = field(default_factory=dict)
    before: dict[Known, set[float]] = field(default_factory=dict)
    era: int = 0
    life: int = 0
    gaps: int = 0
    _eras_set_back: list[int] = field(default_factory=list)
    _pending: list[str] = field(default_factory=list)
    _values: dict[Known, float] = field(default_factory=dict)

    def read(self, line: bytes) -> None:
        """Take in one line of MONITOR's output."""
        if (push := _PUSH.match(line)) is not None:
            self._pending.append(push[1].decode())
            self._note_values(line)
        elif (fence := _FENCE.match(line)) is not None:
            at = Coordinate(int(fence[1]), int(fence[2]), int(fence[3]))
            self.pushes += [Push(uuid, at, self.life, self.era) for uuid in self._pending]
            self.last |= self._values
            self._forget_pending()
        elif (life := _COMES_BACK.match(line)) is not None:
            self.life = max(self.life, int(life[1]))
            self._forget_pending()
        elif _WAKE.match(line) is None and _ANY.match(line) is not None:
            self._forget_pending()

    def set_back(self, fences: dict[int, tuple[int, int]]) -> None:
        """Note that Redis came back with older data: fences as (epoch, raw offset), by partition.

        What is pushed again may come as soon as they are read. So the life begins with the line of that
        (`COMES_BACK`), where it was heard.
        """
        self._forget_pending()
        self.fences.append(fences)
        self.life = max(self.life, len(self.fences))
        self._eras_set_back.append(self.era)

    def is_owed_again(self, era: int, at: Coordinate, life: int) -> bool:
        """Tell whether Redis forgot a job when a life of it ended, and whether the log still has it."""
        return era == self._eras_set_back[life] and _is_forgotten(at, self.fences[life])

    def begin_era(self) -> None:
        """Note that Kafka or a topic has another history now: what was pushed may come once more."""
        self.era += 1
        for known, value in self.last.items():
            self.before.setdefault(known, set()).add(value)

    def _note_values(self, line: bytes) -> None:
        for metric in _METRIC.finditer(line):
            known = Known(int(metric[2]), int(metric[3]))
            if correction_of(known.number) is not None:
                self._values[known] = float(metric[1])

    def _forget_pending(self) -> None:
        self._pending.clear()
        self._values.clear()


class Pushes(NamedTuple):
    """What the pushes of a storm come to."""

    jobs: int
    doubled: int
    """Pushes of a job that Redis still knew of."""
    due_again: int
    """Jobs that Redis forgot when it was set back."""
    again: int
    """Of those, pushed once more."""


def judge(tap: Tap) -> Pushes:
    """Tell which pushes should not have been, and which were owed."""
    lives: dict[tuple[int, str], list[int]] = defaultdict(lambda: [0] * (len(tap.fences) + 1))
    at: dict[tuple[int, str], Coordinate] = {}
    for push in tap.pushes:
        lives[push.era, push.uuid][push.life] += 1
        at[push.era, push.uuid] = push.at
    doubled = due_again = again = 0
    redone = _redone(tap.pushes)
    for uuid, counts in lives.items():
        known = lost = False
        for life, count in enumerate(counts):
            doubled += count - redone[*uuid, life] - (0 if known else 1) if count else 0
            again += bool(count and lost)
            known, lost = known or count > 0, lost and not count
            if life < len(tap.fences) and known and tap.is_owed_again(uuid[0], at[uuid], life):
                known, lost = False, True
                due_again += 1
    return Pushes(len(lives), doubled, due_again, again)


def _redone(pushes: Sequence[Push]) -> Counter[tuple[int, str, int]]:
    """Count, by era, job and life, what was pushed once more because refine had gone back to before it.

    It has gone back where a job comes that is new and lies before others.
    """
    redone: Counter[tuple[int, str, int]] = Counter()
    newest: dict[tuple[int, int, int], tuple[int, int]] = {}
    times_gone_back: Counter[tuple[int, int, int]] = Counter()
    seen: dict[tuple[int, str, int], int] = {}
    for push in pushes:
        where, which = (push.era, push.at.partition, push.life), (push.era, push.uuid, push.life)
        place = push.at.epoch, push.at.raw_offset
        before, is_behind = seen.get(which), place < newest.get(where, (-1, -1))
        if is_behind and before != times_gone_back[where]:
            times_gone_back[where] += 1
            newest[where] = place
        newest[where] = max(place, newest.get(where, place))
        redone[which] += before is not None and before < times_gone_back[where]
        seen[which] = times_gone_back[where]
    return redone


def _is_forgotten(at: Coordinate, fences: dict[int, tuple[int, int]]) -> bool:
    return (at.epoch, at.raw_offset) > fences.get(at.partition, (-1, -1))


async def watch(tap: Tap, port: Callable[[], int], attached: asyncio.Event) -> None:
    """Read MONITOR for as long as the storm lasts; `attached` is set while nothing can pass unseen.

    Args:
        tap: takes in what is read.
        port: looks up the server's port, before each connection.
        attached: set and cleared here.
    """
    while True:
        has_moved_on = False
        with contextlib.suppress(OSError, asyncio.IncompleteReadError):
            has_moved_on = await _monitor(tap, port(), attached)
        tap.gaps += attached.is_set() and not has_moved_on
        attached.clear()
        await pass_time(_RETRY_S)


async def _monitor(tap: Tap, port: int, attached: asyncio.Event) -> bool:
    """Read until the server goes away, or is left; tell whether it is left, so that nothing passed unseen."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port, limit=64 * 1024 * 1024)
    try:
        writer.write(b"MONITOR\r\n")
        while line := await reader.readline():
            if line == b"+OK\r\n":
                attached.set()
            elif MOVES_ON.encode() in line:
                return True
            else:
                tap.read(line)
        return False
    finally:
        writer.close()
