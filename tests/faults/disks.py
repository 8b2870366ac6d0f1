"""What happens to the servers' disks: the power fails, or there is no room."""

import asyncio
import contextlib
import os
import signal
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from streams.tasks import ended_well
from tests.faults.pace import pass_time
from tests.faults.plan import Fault
from tests.faults.quiet import quiet
from tests.faults.scene import Happen, Scene
from tests.faults.servers import LINKS_OF, tap_redis
from tests.parts.process import PartFailedError

TRY_AGAIN_S, SAVES_WITHIN_S, TAPPED_WITHIN_S = 1.0, 2.0, 10.0


async def power_loss(scene: Scene, fault: Fault) -> bool | None:
    """Let a server lose what it had not synced.

    Mosquitto acknowledges before it saves (docs/guarantees.md), so its power fails when nothing waits in it
    and that has been saved: what it must not forget is our session.
    """
    if fault.target != "mosquitto":
        await _cut_power(scene, fault.target)
        return None
    async with quiet(scene) as is_quiet:
        if not is_quiet:
            return False
        os.kill(scene.stack.servers["mosquitto"].pid, signal.SIGUSR1)  # mosquitto(8): save now
        await pass_time(SAVES_WITHIN_S)
        await _cut_power(scene, fault.target)
    return None


async def _cut_power(scene: Scene, name: str) -> None:
    server, disk = scene.stack.servers[name], scene.stack.disks[name]
    async with scene.locks[name], _nobody_there(scene, name):
        await asyncio.to_thread(disk.cut_power)
        await asyncio.to_thread(server.start)
        if name == "redis":
            await tap_redis(scene)


async def disk_full(scene: Scene, fault: Fault) -> bool | None:
    """Let a server have no room for some time; one that ends of it is started again and again.

    Kafka may empty a log then whose index it takes for damaged: so its disk is filled when all that it holds
    has been taken further.
    """
    disk = scene.stack.disks[fault.target]
    if fault.target != "kafka":
        await asyncio.to_thread(disk.fill)
        await _until_there_is_room(scene, fault)
        return None
    async with quiet(scene) as is_quiet:
        if not is_quiet:
            return False
        await scene.accounts.keep_rejections()
        scene.stack.tap.begin_era()
        await asyncio.to_thread(disk.fill)
    await _until_there_is_room(scene, fault)
    return None


async def _until_there_is_room(scene: Scene, fault: Fault) -> None:
    server, disk = scene.stack.servers[fault.target], scene.stack.disks[fault.target]
    async with scene.locks[fault.target]:
        supervisor = asyncio.create_task(_keep_up(scene, fault.target))
        await pass_time(fault.seconds)
        await asyncio.to_thread(disk.free)
        await ended_well(supervisor)
        while not server.is_running or not await asyncio.to_thread(server.is_ready):
            await _revive(scene, fault.target)
            await pass_time(TRY_AGAIN_S)


async def _keep_up(scene: Scene, name: str) -> None:
    while True:
        await pass_time(TRY_AGAIN_S)
        if not scene.stack.servers[name].is_running:
            await _revive(scene, name)


async def _revive(scene: Scene, name: str) -> None:
    """Start a server that has ended; nothing may be pushed into Redis before the tap sees it."""
    async with _nobody_there(scene, name):
        with contextlib.suppress(PartFailedError, OSError):
            await asyncio.to_thread(scene.stack.servers[name].start)
            if name == "redis":
                async with asyncio.timeout(TAPPED_WITHIN_S):  # it may have ended again
                    await tap_redis(scene)


@asynccontextmanager
async def _nobody_there(scene: Scene, name: str) -> AsyncIterator[None]:
    links = [scene.stack.links[link] for link in LINKS_OF.get(name, ())]
    for link in links:
        link.cut()
    try:
        yield
    finally:
        for link in links:
            link.heal()


DISKS: dict[str, Happen] = {"power-loss": power_loss, "disk-full": disk_full}
