"""Workers that are not as the others are: of another group, with another clock, of another build."""

import asyncio

from tests.faults.pace import pass_time
from tests.faults.plan import Fault
from tests.faults.processes import somebody
from tests.faults.quiet import quiet
from tests.faults.scene import Happen, Scene
from tests.faults.stack import GROUP, Mortal

HOURS = (1, 6, -6, 2, -1)
HOUR_S = 3_600.0
SETTLED_AFTER_S = 20.0
"""After so long each partition has had messages that came since the fault before."""


async def second_group(scene: Scene, fault: Fault) -> None:
    """Let a worker of another consumer group work on the same topics and Redis for some seconds."""
    intruder = Mortal("intruder", ["worker", "-l", "info"], scene.stack.environment)
    intruder.change_settings({"CONSUMER_GROUP": f"{GROUP}-other"})
    try:
        await asyncio.to_thread(intruder.start)
        await pass_time(fault.seconds)
        scene.intruders_ended.append(intruder.exit_code)
        scene.say(f"the worker of another group: exit code {intruder.exit_code}")
        if intruder.exit_code is None:
            await asyncio.to_thread(intruder.stop)
    finally:
        intruder.remove()


async def set_clock(scene: Scene, fault: Fault) -> None:
    """Let a worker's clock jump ahead and back in steps of hours, and be right in the end."""
    async with somebody(scene.stack.workers) as slot:
        for hours in (*HOURS, 0):
            slot.clock.set(hours * HOUR_S)
            await pass_time(fault.seconds / (len(HOURS) + 1))


async def old_build(scene: Scene, fault: Fault) -> bool | None:
    """Replace the workers one by one by those of the build before, and after a while by today's again.

    Not before today's have settled what a fault has left: the build before would pass over what came since
    Kafka was set back (docs/upgrading.md).
    """
    await pass_time(SETTLED_AFTER_S)
    async with quiet(scene) as is_quiet:
        if not is_quiet:
            return False
    for build in (scene.stack.build_before, None):
        for slot in list(scene.stack.workers.alive):
            async with scene.stack.workers.take(slot):
                await asyncio.to_thread(slot.stop)
                slot.build = build
            await pass_time(fault.seconds / 4)
        for slot in scene.stack.workers.slots:
            slot.build = build
    return None


INTRUDERS: dict[str, Happen] = {
    "second-group": second_group,
    "clock": set_clock,
    "old-build": old_build,
}
