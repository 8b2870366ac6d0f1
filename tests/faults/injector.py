"""Carries out a plan: lets each fault happen, one after the other in each lane."""

import asyncio
from collections import Counter, deque
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager

from streams.tasks import ended_well
from tests.faults.cluster import CLUSTER
from tests.faults.disks import DISKS
from tests.faults.failovers import FAILOVERS
from tests.faults.histories import HISTORIES
from tests.faults.intruders import INTRUDERS
from tests.faults.links import LINKS
from tests.faults.pace import pass_time
from tests.faults.plan import ALONE, Fault, Step
from tests.faults.processes import PROCESSES
from tests.faults.scene import Happen, Scene
from tests.faults.servers import SERVERS

FAULTS: dict[str, Happen] = PROCESSES | LINKS | SERVERS | HISTORIES | INTRUDERS | DISKS | CLUSTER | FAILOVERS


class Gate:
    """Lets faults happen side by side, but some alone."""

    def __init__(self) -> None:
        self._inside = 0
        self._is_closed = False
        self._changed = asyncio.Condition()

    @asynccontextmanager
    async def shared(self) -> AsyncIterator[None]:
        """Pass beside others."""
        async with self._changed:
            await self._changed.wait_for(lambda: not self._is_closed)
            self._inside += 1
        try:
            yield
        finally:
            async with self._changed:
                self._inside -= 1
                self._changed.notify_all()

    @asynccontextmanager
    async def alone(self) -> AsyncIterator[None]:
        """Pass when all others are through, and keep them out."""
        async with self._changed:
            await self._changed.wait_for(lambda: not self._is_closed)
            self._is_closed = True
            await self._changed.wait_for(lambda: not self._inside)
        try:
            yield
        finally:
            async with self._changed:
                self._is_closed = False
                self._changed.notify_all()


class Injector:
    """Lets the faults of a plan happen.

    Attributes:
        done: how often each kind of fault has happened.
        under_way: what is happening now.
        on_over: called at the end of each fault, with its kind.
    """

    def __init__(self, scene: Scene) -> None:
        self.done: Counter[str] = Counter()
        self.under_way: list[Fault] = []
        self.on_over: Callable[[str], None] = lambda _: None
        self._scene = scene
        self._gate = Gate()

    async def run(self, lane: Sequence[Step]) -> None:
        """Let the faults of one lane happen; one that cannot happen now is tried again behind the others."""
        steps = deque(lane)
        while steps:
            step = steps.popleft()
            await pass_time(step.calm_s)
            alone = step.fault.kind in ALONE
            async with self._gate.alone() if alone else self._gate.shared():
                if not await self._happen(step.fault):
                    steps.append(step)

    async def _happen(self, fault: Fault) -> bool:
        """Return whether the fault has happened."""
        if self._scene.is_away(fault.target):
            return False
        self._scene.say(f"▼ {fault}")
        self.under_way.append(fault)
        try:
            happened = await FAULTS[fault.kind](self._scene, fault)
        finally:
            self.under_way.remove(fault)
        if happened is False:
            self._scene.say(f"△ {fault}: later")
            return False
        self.done[fault.kind] += 1
        self.on_over(fault.kind)
        self._scene.say(f"▲ {fault}")
        return True


async def end(task: "asyncio.Task[None]") -> None:
    """Cancel a task and wait for it; what it failed with before is raised."""
    await ended_well(task)
