"""What happens to the servers' disks: the power fails, or there is no room."""

import asyncio
import contextlib
import os
import signal

from tests.faults.pace import pass_time
from tests.faults.plan import Fault
from tests.faults.quiet import quiet
from tests.faults.scene import Happen, Scene
from tests.faults.servers import LINKS_OF, tap_redis
from tests.parts.process import Part, PartFailedError

TRY_AGAIN_S, SAVES_WITHIN_S = 1.0, 2.0


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
    links = [scene.stack.links[link] for link in LINKS_OF.get(name, ())]
    async with scene.locks[name]:
        for link in links:
            link.cut()
        await asyncio.to_thread(disk.cut_power)
        await asyncio.to_thread(server.start)
        if name == "redis":
            await tap_redis(scene)
        for link in links:
            link.heal()


async def disk_full(scene: Scene, fault: Fault) -> None:
    """Let a server have no room for some time; one that ends of it is started again and again."""
    server, disk = scene.stack.servers[fault.target], scene.stack.disks[fault.target]
    async with scene.locks[fault.target]:
        await asyncio.to_thread(disk.fill)
        supervisor = asyncio.create_task(_keep_up(server))
        await pass_time(fault.seconds)
        await asyncio.to_thread(disk.free)
        supervisor.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await supervisor
        while not server.is_running or not await asyncio.to_thread(server.is_ready):
            await asyncio.to_thread(_start, server)
            await pass_time(TRY_AGAIN_S)
        if fault.target == "redis":
            await tap_redis(scene)


async def _keep_up(server: Part) -> None:
    while True:
        await pass_time(TRY_AGAIN_S)
        if not server.is_running:
            await asyncio.to_thread(_start, server)


def _start(server: Part) -> None:
    with contextlib.suppress(PartFailedError, OSError):
        server.start()


DISKS: dict[str, Happen] = {"power-loss": power_loss, "disk-full": disk_full}
