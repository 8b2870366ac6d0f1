"""A standby takes a server's place behind an address that stays, and the old one stays up, read-only.

Nothing closes the connections that lead to the old one: whoever holds one must leave it by itself. What the
old one has acknowledged the new one has, so nothing may be missing. The next failover goes the other way.
"""

import asyncio
import uuid
from collections.abc import Awaitable, Callable
from typing import Any

from redis.asyncio import Redis as Client

from streams.ingress.chunking import partition_of
from tests.faults.histories import TOPIC_OF
from tests.faults.pace import pass_time
from tests.faults.plan import Fault
from tests.faults.scene import Happen, Scene
from tests.faults.stack import PARTITIONS
from tests.faults.tap import MOVES_ON
from tests.parts.postgres import Postgres
from tests.parts.process import Part
from tests.parts.redis import Redis
from tests.parts.tenants import add_tenants

PAUSE_MS = 60_000
LOOK_S, WITHIN_S = 0.05, 60.0
RELOAD_WITHIN_S = 1.0
OF_A_NEW_TENANT = 50


async def fail_over(scene: Scene, fault: Fault) -> None:
    """Let the standby take over, at once; the address leads to the old server for some time more."""
    name, now = fault.target, asyncio.get_running_loop().time
    async with scene.locks[name]:
        await TAKE_OVER[name](scene)
        began = now()
        await pass_time(fault.seconds)
        for link in scene.stack.links.values():
            if link.name.endswith(f"-{name}"):
                link.target_port = scene.stack.servers[name].port
    scene.say(f"{fault}: {name} is on port {scene.stack.servers[name].port} now")
    if name == "postgres":
        await _add_a_tenant(scene)
    else:  # the worker writes to Redis alone: of a PostgreSQL that takes no rows it need not tell
        scene.outages.append((name, began, now()))


async def _redis_takes_over(scene: Scene) -> None:
    """Promote the replica while writes are held back on the old master, so that it has them all."""
    old, new = scene.stack.redis, scene.stack.standbys["redis"]
    await asyncio.to_thread(new.start)
    assert isinstance(new, Redis)
    async with Client.from_url(old.url) as before, Client.from_url(new.url) as after:
        await before.config_set("repl-diskless-sync-delay", 0)
        await _replicate(after, old)
        await _until(lambda: _follows(after))
        await before.execute_command("CLIENT", "PAUSE", PAUSE_MS, "WRITE")
        await _until(lambda: _is_in_step(before, after))
        await after.execute_command("REPLICAOF", "NO", "ONE")
        _swap(scene, "redis", new, old)
        await _move_the_tap(scene, before)
        await _replicate(before, new)
        await before.execute_command("CLIENT", "UNPAUSE")


async def _replicate(replica: Client, master: Redis) -> None:
    await replica.execute_command("REPLICAOF", master.host, master.port)


async def _follows(replica: Client) -> bool:
    return bool((await replica.info("replication"))["master_link_status"] == "up")


async def _is_in_step(master: Client, replica: Client) -> bool:
    sent: Any = (await master.info("replication"))["master_repl_offset"]
    taken: Any = (await replica.info("replication"))["slave_repl_offset"]
    return bool(taken >= sent)


async def _move_the_tap(scene: Scene, old: Client) -> None:
    """Let the tap read all that the old master did, and then what the new one does; nobody uses that yet."""
    scene.stack.tap_attached.clear()
    await old.execute_command("ECHO", MOVES_ON)
    await scene.stack.tap_attached.wait()


async def _postgres_takes_over(scene: Scene) -> None:
    """Promote the standby when the old primary has become read-only and all that it took has arrived."""
    old, new = scene.stack.postgres, scene.stack.standbys["postgres"]
    assert isinstance(new, Postgres)
    await asyncio.to_thread(new.follow, old)
    await asyncio.to_thread(old.turn_read_only)
    await pass_time(RELOAD_WITHIN_S)
    # One that began before may still write.
    begun = await asyncio.to_thread(old.execute, "select clock_timestamp()")
    await _until(lambda: asyncio.to_thread(old.has_ended_all_from_before, begun))
    end = await asyncio.to_thread(old.execute, "select pg_current_wal_lsn()")
    await _until(lambda: asyncio.to_thread(new.has_replayed, end))
    await asyncio.to_thread(new.execute, "select pg_promote()")
    _swap(scene, "postgres", new, old)


async def _add_a_tenant(scene: Scene) -> None:
    """Add a tenant that the old primary never hears of; what comes for it must land as well."""
    tenant, direct = str(uuid.uuid4()), scene.accounts.direct_of_a_new_tenant()
    await add_tenants(scene.stack.postgres.url, [tenant])
    where = (scene.stack.bootstrap, TOPIC_OF["raw"], partition_of(tenant, PARTITIONS), tenant)
    direct.owe(await direct.write(*where, OF_A_NEW_TENANT))


def _swap(scene: Scene, name: str, new: Part, old: Part) -> None:
    scene.stack.servers[name], scene.stack.standbys[name] = new, old


async def _until(condition: Callable[[], Awaitable[bool]]) -> None:
    async with asyncio.timeout(WITHIN_S):
        while not await condition():
            await pass_time(LOOK_S)


TAKE_OVER: dict[str, Callable[[Scene], Awaitable[None]]] = {
    "redis": _redis_takes_over,
    "postgres": _postgres_takes_over,
}
FAILOVERS: dict[str, Happen] = {"failover": fail_over}
