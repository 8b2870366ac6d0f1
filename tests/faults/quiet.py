"""Faults that destroy what was acknowledged happen when all of it has landed: so nothing may be missing."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from tests.faults.pace import pass_time
from tests.faults.scene import Scene
from tests.faults.stack import GROUP, TOPICS
from tests.parts.topics import group_lag

QUIET_TIMEOUT_S = 300.0


@asynccontextmanager
async def quiet(scene: Scene) -> AsyncIterator[bool]:
    """Let devices pause until everything has landed; yield False if it never does: the ledger will tell."""
    for device in scene.devices:
        device.is_paused = True
    try:
        yield await _all_landed(scene)
    finally:
        for device in scene.devices:
            device.is_paused = False


async def _all_landed(scene: Scene) -> bool:
    try:
        async with asyncio.timeout(QUIET_TIMEOUT_S):
            while not (await scene.accounts.is_settled() and not await _lag(scene)):
                await pass_time(0.5)
    except TimeoutError:
        scene.say("something is missing, or late: the fault is left out")
        return False
    return True


async def _lag(scene: Scene) -> int:
    return await group_lag(scene.stack.bootstrap, GROUP, [f"{TOPICS}.raw", f"{TOPICS}.unique"])
