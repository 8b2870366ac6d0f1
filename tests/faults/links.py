"""What happens to the links between the parts, and on them."""

from tests.faults.flood import flood
from tests.faults.pace import pass_time
from tests.faults.plan import Fault
from tests.faults.scene import Happen, Scene

SLOW_S, SLOW_POSTGRES_S = 0.3, 2.0
"""Added to each answer."""


async def cut(scene: Scene, fault: Fault) -> None:
    """End all connections, and let no new one through."""
    link = scene.stack.links[fault.target]
    link.cut()
    await pass_time(fault.seconds)
    link.heal()


async def stall(scene: Scene, fault: Fault) -> None:
    """Keep connections open, and carry nothing."""
    link = scene.stack.links[fault.target]
    link.stall()
    await pass_time(fault.seconds)
    link.heal()


async def slow(scene: Scene, fault: Fault) -> None:
    """Let every answer take longer."""
    link = scene.stack.links[fault.target]
    link.delay_s = SLOW_S
    await pass_time(fault.seconds)
    link.heal()


async def slow_postgres(scene: Scene, fault: Fault) -> None:
    """Let every answer of PostgreSQL take 2 s."""
    links = [scene.stack.links[name] for name in ("worker-postgres", "ingest-postgres")]
    for link in links:
        link.delay_s = SLOW_POSTGRES_S
    await pass_time(fault.seconds)
    for link in links:
        link.heal()


async def flood_broker(scene: Scene, fault: Fault) -> None:
    """Let malformed messages come beside the good ones, faster than they."""
    port, tenant = scene.stack.servers["mosquitto"].port, scene.stack.tenants[0]
    scene.flooded += await flood(port, tenant, len(scene.flooded), fault.seconds)


LINKS: dict[str, Happen] = {
    "cut": cut,
    "stall": stall,
    "slow": slow,
    "slow-postgres": slow_postgres,
    "flood": flood_broker,
}
