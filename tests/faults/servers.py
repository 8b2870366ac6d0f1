"""What happens to the servers."""

import asyncio
import shutil
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import redis.asyncio as redis_client

from tests.faults.pace import pass_time
from tests.faults.plan import Fault
from tests.faults.processes import somebody
from tests.faults.scene import Happen, Scene
from tests.faults.stack import FENCE
from tests.faults.tap import COMES_BACK
from tests.parts.process import Part

LINKS_OF = {"redis": ("worker-redis", "ingest-redis")}
SNAPSHOT = "snapshot.rdb"
UNTIL_NOTICED_S = 8.0
HEARD_WITHIN_S = 5.0
"""After which the tap is taken to have lost Redis again."""
"""By then a killed worker's partitions are on their way to another."""


@asynccontextmanager
async def down(scene: Scene, name: str, *, crash: bool) -> AsyncIterator[Part]:
    """Take a server away; nobody may reach a Redis that came back before the tap watches it."""
    links = [scene.stack.links[link] for link in LINKS_OF.get(name, ())]
    async with scene.locks[name]:
        server = scene.stack.servers[name]
        for link in links:
            link.cut()
        await asyncio.to_thread(server.kill if crash else server.stop)
        try:
            yield server
        finally:
            await asyncio.to_thread(server.start)
            if name == "redis":
                await tap_redis(scene)
            for link in links:
                link.heal()


async def tap_redis(scene: Scene) -> None:
    """Wait until nothing that Redis does can pass unseen."""
    # The tap notices a lost connection within an instant, and a new server answers only after its start.
    await pass_time(0.1)
    await scene.stack.tap_attached.wait()


async def restart(scene: Scene, fault: Fault) -> None:
    """Stop and start."""
    async with down(scene, fault.target, crash=False):
        pass


async def crash(scene: Scene, fault: Fault) -> None:
    """Kill and start."""
    async with down(scene, fault.target, crash=True):
        pass


async def outage(scene: Scene, fault: Fault) -> None:
    """Take one server, or several, away for some time."""
    await asyncio.gather(*(_one_outage(scene, name, fault.seconds) for name in fault.target.split("+")))


async def _one_outage(scene: Scene, name: str, seconds: float) -> None:
    now = asyncio.get_running_loop().time
    # Mosquitto forgets on a crash what it has not saved: the one thing that is not promised.
    async with down(scene, name, crash=name != "mosquitto" and len(scene.outages) % 2 == 1):
        began = now()
        await pass_time(seconds)
        scene.outages.append((name, began, now()))


async def rebalance_without(scene: Scene, fault: Fault) -> None:
    """Let partitions move while a server is away that tells their positions, or their tenants."""
    async with down(scene, fault.target, crash=False):
        await pass_time(1)
        async with somebody(scene.stack.workers) as slot:
            await asyncio.to_thread(slot.kill)
        await pass_time(fault.seconds + UNTIL_NOTICED_S)


async def set_redis_back(scene: Scene, fault: Fault) -> None:
    """Let Redis come back with what it held some time ago."""
    async with scene.locks["redis"]:
        server = scene.stack.redis
        async with redis_client.from_url(server.url) as client:
            await client.save()
        snapshot = Path(shutil.copy(server.directory / "dump.rdb", server.directory / SNAPSHOT))
    await pass_time(fault.seconds)
    async with down(scene, "redis", crash=True) as server_now:  # it may have failed over meanwhile
        shutil.rmtree(server_now.directory / "appendonlydir")
        # An append-only file may begin with a snapshot; alone, and under this name, it is taken over.
        shutil.copy(snapshot, server_now.directory / "appendonly.aof")
        await asyncio.to_thread(server_now.start)
        await tap_redis(scene)
        found = await note_set_back(scene)
        scene.say(f"Redis is set back to {found}")


async def note_set_back(scene: Scene) -> dict[int, tuple[int, int]]:
    """Let the tap know with which fences Redis came back.

    Returns:
        The fences, as (epoch, raw offset), by partition.
    """
    tap = scene.stack.tap
    life = len(tap.fences) + 1
    async with redis_client.from_url(scene.stack.redis.url) as client:
        both = client.pipeline(transaction=True)
        _, found = await both.echo(f"{COMES_BACK} {life}").hgetall(FENCE).execute()
    until = asyncio.get_running_loop().time() + HEARD_WITHIN_S
    while tap.life < life and asyncio.get_running_loop().time() < until:
        await pass_time(0.01)
    # Beside each fence stand its proof and its locator, and beside them all their owner.
    parts = {int(field): fence.split(b":") for field, fence in found.items() if field.isdigit()}
    came_back_with = {partition: (int(part[0]), int(part[1])) for partition, part in parts.items()}
    tap.set_back(came_back_with)
    return came_back_with


SERVERS: dict[str, Happen] = {
    "restart": restart,
    "crash": crash,
    "outage": outage,
    "rebalance-without": rebalance_without,
    "redis-set-back": set_redis_back,
}
