"""What happens to one broker of three."""

import asyncio

from tests.faults.histories import TOPIC_OF
from tests.faults.pace import pass_time
from tests.faults.plan import Fault
from tests.faults.scene import Happen, Scene
from tests.parts.topics import leader_of


async def kill_broker(scene: Scene, fault: Fault) -> None:
    """Kill the broker that leads the first partition of metrics.raw; start it again after some time."""
    node = await leader_of(scene.stack.bootstrap, TOPIC_OF["raw"], 0)
    broker = scene.stack.brokers[node]
    scene.say(f"broker {node} leads and is killed")
    await asyncio.to_thread(broker.kill)
    await pass_time(fault.seconds)
    await asyncio.to_thread(broker.start)


CLUSTER: dict[str, Happen] = {"broker-killed": kill_broker}
