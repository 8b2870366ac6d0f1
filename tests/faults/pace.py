"""The storm's clock: the one place of the harness where time is let pass for its own sake."""

import asyncio


async def pass_time(seconds: float) -> None:
    """Let time pass; a storm is a schedule, and between its faults there is nothing else to wait for."""
    await asyncio.sleep(seconds)
