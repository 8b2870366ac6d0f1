r"""Watches what is really pushed into Redis: every job and every move of a fence, as they happen.

Reads ``MONITOR``, which shows the commands within a script one by one. A push is a run of ``RPUSH`` that a
move of the fence ends; Laravel's protocol moves jobs about with the same command, but with no fence behind.
"""

import asyncio
import contextlib
import re
from collections import defaultdict
from dataclasses import dataclass, field
from typing import NamedTuple

from tests.faults.pace import pass_time

_PUSH = re.compile(rb'\+[\d.]+ \[\d+ lua\] "RPUSH" "[^"]*queues:[^":]+" "\{\\"uuid\\":\\"([0-9a-f-]{36})')
_WAKE = re.compile(rb'\+[\d.]+ \[\d+ lua\] "RPUSH" "[^"]*:notify"')
_FENCE = re.compile(rb'\+[\d.]+ \[\d+ lua\] "HSET" "[^"]*:fence" "(\d+)" "(\d+):(\d+):(\d+)"')
_ANY = re.compile(rb"\+[\d.]+ \[")
_RETRY_S = 0.02


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


@dataclass
class Tap:
    """What has been pushed so far.

    Attributes:
        pushes: all of them, in order.
        fences: at each time that Redis was set back, the fences with which it came back, by partition.
    """

    pushes: list[Push] = field(default_factory=list)
    fences: list[dict[int, tuple[int, int]]] = field(default_factory=list)
    _pending: list[str] = field(default_factory=list)

    def read(self, line: bytes) -> None:
        """Take in one line of MONITOR's output."""
        if (push := _PUSH.match(line)) is not None:
            self._pending.append(push[1].decode())
        elif (fence := _FENCE.match(line)) is not None:
            at = Coordinate(int(fence[1]), int(fence[2]), int(fence[3]))
            self.pushes += [Push(uuid, at, len(self.fences)) for uuid in self._pending]
            self._pending.clear()
        elif _WAKE.match(line) is None and _ANY.match(line) is not None:
            self._pending.clear()

    def set_back(self, fences: dict[int, tuple[int, int]]) -> None:
        """Note that Redis came back with older data: fences as (epoch, raw offset), by partition."""
        self._pending.clear()
        self.fences.append(fences)


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
    lives: dict[str, list[int]] = defaultdict(lambda: [0] * (len(tap.fences) + 1))
    at: dict[str, Coordinate] = {}
    for push in tap.pushes:
        lives[push.uuid][push.life] += 1
        at[push.uuid] = push.at
    doubled = due_again = again = 0
    for uuid, counts in lives.items():
        known = lost = False
        for life, count in enumerate(counts):
            doubled += count - (0 if known else 1) if count else 0
            again += bool(count and lost)
            known, lost = known or count > 0, lost and not count
            if life < len(tap.fences) and known and _is_forgotten(at[uuid], tap.fences[life]):
                known, lost = False, True
                due_again += 1
    return Pushes(len(lives), doubled, due_again, again)


def _is_forgotten(at: Coordinate, fences: dict[int, tuple[int, int]]) -> bool:
    return (at.epoch, at.raw_offset) > fences.get(at.partition, (-1, -1))


async def watch(tap: Tap, port: int, attached: asyncio.Event) -> None:
    """Read MONITOR for as long as the storm lasts; `attached` is set while nothing can pass unseen."""
    while True:
        with contextlib.suppress(OSError, asyncio.IncompleteReadError):
            await _monitor(tap, port, attached)
        attached.clear()
        await pass_time(_RETRY_S)


async def _monitor(tap: Tap, port: int, attached: asyncio.Event) -> None:
    reader, writer = await asyncio.open_connection("127.0.0.1", port, limit=64 * 1024 * 1024)
    try:
        writer.write(b"MONITOR\r\n")
        while line := await reader.readline():
            if line == b"+OK\r\n":
                attached.set()
            else:
                tap.read(line)
    finally:
        writer.close()
