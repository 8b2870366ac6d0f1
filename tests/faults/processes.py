"""What happens to our own processes."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from tests.faults.killable import Point
from tests.faults.pace import pass_time
from tests.faults.plan import Fault
from tests.faults.scene import Happen, Scene
from tests.faults.stack import SLOTS, Crew, Mortal

LEAST_WORKERS = 2


def _pool(scene: Scene, fault: Fault) -> Crew:
    return scene.stack.ingests if fault.target == "ingest" else scene.stack.workers


@asynccontextmanager
async def somebody(pool: Crew, *, leads: bool = False) -> AsyncIterator[Mortal]:
    """Take a process that runs; the first one, which often leads, or the one that does."""
    while not pool.running or (leads and pool.leader() is None):
        await pass_time(0.2)
    async with pool.take((pool.leader() if leads else None) or pool.running[0]) as slot:
        yield slot


async def die_at(scene: Scene, fault: Fault) -> bool:
    """Let a process die at a named point; False if none passes there in time."""
    point, deaths = Point(fault.target), scene.stack.death_row.deaths
    before = deaths().count(point)
    scene.stack.death_row.ask(point)
    loop = asyncio.get_running_loop()
    end = loop.time() + fault.seconds
    while deaths().count(point) == before and loop.time() < end:
        await pass_time(0.1)
    return deaths().count(point) > before or not scene.stack.death_row.withdraw(point)


async def kill(scene: Scene, fault: Fault) -> None:
    """SIGKILL."""
    async with somebody(_pool(scene, fault)) as slot:
        await asyncio.to_thread(slot.kill)


async def stop(scene: Scene, fault: Fault) -> None:
    """SIGTERM."""
    async with somebody(_pool(scene, fault)) as slot:
        await asyncio.to_thread(slot.stop)


async def freeze(scene: Scene, fault: Fault) -> None:
    """SIGSTOP, and SIGCONT later."""
    async with somebody(_pool(scene, fault), leads=fault.target == "leader") as slot:
        slot.pause()
        try:
            await pass_time(fault.seconds)
        finally:
            slot.resume()


async def join(scene: Scene, _fault: Fault) -> None:
    """Let one more worker join."""
    workers = scene.stack.workers
    workers.wanted = min(SLOTS, workers.wanted + 1)


async def leave(scene: Scene, _fault: Fault) -> None:
    """Let a worker leave for good."""
    workers = scene.stack.workers
    async with somebody(workers) as slot:
        workers.wanted = max(LEAST_WORKERS, workers.wanted - 1)
        await asyncio.to_thread(slot.stop)


PROCESSES: dict[str, Happen] = {
    "die-at": die_at,
    "kill": kill,
    "stop": stop,
    "freeze": freeze,
    "join": join,
    "leave": leave,
}
