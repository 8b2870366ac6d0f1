"""A process that repeats one attack of `benchmarks.attack_kinds`, as fast as it can; for `attacks`.

On several connections at a time, each with an account of its own: a second one with the same would end the
first. It goes on until its standard input ends, and says what it did and what it was answered.
"""

import asyncio
import json
import sys
import time
from collections import Counter
from collections.abc import Callable, Coroutine, Iterator, Sequence
from contextlib import contextmanager
from itertools import cycle
from typing import Any, NamedTuple

import uvloop

from benchmarks.attack_kinds import HELD, SILENT, VISITS, Cast, Visit
from benchmarks.told import going
from tests.parts.accounts import Account, Entrance, many_files
from tests.parts.raw_mqtt import ACCEPTED, CLOSED, RawDevice, raw_device

UNREACHED = "not reached"
"""Told in place of an answer where there is no connection, or no TLS on it."""
AT_A_TIME = 100
"""Connections that are opened together: as many as Mosquitto lets wait to be accepted."""
UNDER_WAY = "attacking"


class Assault(NamedTuple):
    """What is to be done."""

    kind: str
    entrance: Entrance
    honest: Account
    hostile: Sequence[Account]
    """One for each connection."""
    bridge_client_id: str

    @classmethod
    def read(cls, text: str) -> "Assault":
        """Return it from JSON."""
        kind, entrance, honest, hostile, client_id = json.loads(text).values()
        accounts = [Account(*each) for each in hostile]
        return cls(kind, Entrance(*entrance), Account(*honest), accounts, client_id)


class Attacked(NamedTuple):
    """What came of it."""

    attempts: int
    """Packets that were sent; connections, where only those are tried."""
    seconds: float
    connections: int
    answers: dict[str, int]
    """How often each came. Each attempt has one, but for those behind what ended the connection."""


class Attacker:
    """Does it, in this process."""

    def __init__(self, assault: Assault) -> None:
        self._assault = assault
        self._attempts = self._connections = 0
        self._answers: Counter[str] = Counter()

    async def run(self) -> Attacked:
        """Attack until standard input ends."""
        over = asyncio.Event()
        asyncio.get_running_loop().add_reader(sys.stdin, over.set)
        began = time.monotonic()
        async with asyncio.TaskGroup() as lanes:
            work = [lanes.create_task(each) for each in self._lanes()]
            await over.wait()
            seconds = round(time.monotonic() - began, 3)
            for each in work:
                each.cancel()
        return Attacked(self._attempts, seconds, self._connections, dict(self._answers.most_common()))

    def _lanes(self) -> list[Coroutine[Any, Any, None]]:
        if self._assault.kind == SILENT:
            return [self._hold()]
        _, _, honest, hostile, bridge = self._assault
        visits = VISITS[self._assault.kind]
        return [self._lane(visits(Cast(honest, account, bridge))) for account in hostile]

    async def _lane(self, visits: Sequence[Visit]) -> None:
        for visit in cycle(visits):
            try:
                async with raw_device(self._assault.entrance, encrypted=visit.encrypted) as device:
                    self._connections += 1
                    await self._pay(visit, device)
            except OSError:
                self._count(1, [UNREACHED])

    async def _pay(self, visit: Visit, device: RawDevice) -> None:
        device.send(visit.connect)
        answers = await device.answers(1)
        if not visit.packets or ACCEPTED not in answers:
            self._count(1, answers)
            return
        together = b"".join(visit.packets)
        for _ in range(visit.turns):
            device.send(together)
            answers = await device.answers(len(visit.packets))
            self._count(len(visit.packets), answers)
            if CLOSED in answers:
                return

    async def _hold(self) -> None:
        """Open connections, say nothing, and open another one for each that the broker closes."""
        async with asyncio.TaskGroup() as held:
            for first in range(0, HELD, AT_A_TIME):
                accepted = [asyncio.Event() for _ in range(first, min(first + AT_A_TIME, HELD))]
                for event in accepted:
                    held.create_task(self._be_silent(event))
                for event in accepted:
                    await event.wait()
            self._under_way()

    async def _be_silent(self, accepted: asyncio.Event) -> None:
        while True:
            try:
                async with raw_device(self._assault.entrance, encrypted=False) as device:
                    self._attempts, self._connections = self._attempts + 1, self._connections + 1
                    accepted.set()
                    self._answers.update(await device.answers(1))
            except OSError:
                self._answers.update([UNREACHED])

    def _count(self, attempts: int, answers: Sequence[str]) -> None:
        """Note attempts and their answers; the first one is told."""
        if not self._answers and answers:
            self._under_way()
        self._attempts += attempts
        self._answers.update(answers)

    def _under_way(self) -> None:
        print(UNDER_WAY, flush=True)


@contextmanager
def attacking(assault: Assault) -> Iterator[Callable[[], Attacked]]:
    """Start the process, and go on when it was answered; what is yielded ends it.

    Raises:
        ConnectionError: it was not.
    """
    with going("benchmarks.attacker", assault._asdict()) as process:
        yield lambda: Attacked(**process.end())


if __name__ == "__main__":
    with many_files(HELD), asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        print(json.dumps(runner.run(Attacker(Assault.read(sys.argv[1])).run())._asdict()))
