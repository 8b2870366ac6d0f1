"""Ends tasks for good.

A cancellation can be lost: by `asyncio.wait_for` of Python 3.11, when it arrives just as what that waits for
is done (CPython issue 86296): so by libraries that use it.
"""

import asyncio
from typing import Any

AGAIN_S = 5.0


async def ended(*tasks: "asyncio.Future[Any]", again_s: float = AGAIN_S) -> None:
    """Cancel tasks and return when all are over; what came of them is not looked at.

    Args:
        tasks: to be ended.
        again_s: seconds after which one that goes on is cancelled once more: longer than it may take to end
            in good order.
    """
    left = {task for task in tasks if not task.done()}
    while left:
        for task in left:
            task.cancel()
        _, left = await asyncio.wait(left, timeout=again_s)


async def ended_well(task: "asyncio.Future[Any]") -> None:
    """Cancel a task and return when it is over; raise what it had failed with before."""
    await ended(task)
    if not task.cancelled():
        task.result()
