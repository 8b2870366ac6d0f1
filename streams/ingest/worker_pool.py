"""Several workers on one queue in one process: each has one batch under way at a time."""

import asyncio
from collections.abc import Sequence
from typing import Protocol


class PooledWorker(Protocol):
    """A worker, as the pool needs it."""

    async def run(self) -> None:
        """Run jobs until `stop`, or until there is no more to do."""

    def stop(self) -> None:
        """End `run` in good order."""


class WorkerPool:
    """Runs its workers side by side; what ends one of them with an error ends all, in good order.

    What one alone keeps is lost: two batches with the same dedupe id may be written in either order.
    """

    def __init__(self, hands: Sequence[PooledWorker]) -> None:
        self._hands = hands

    def stop(self) -> None:
        """Let each worker end after the reserved jobs."""
        for hand in self._hands:
            hand.stop()

    async def run(self) -> None:
        """Run until each worker has ended, and raise the first error that one ended with."""
        tasks = [asyncio.create_task(hand.run(), name="ingest worker") for hand in self._hands]
        try:
            await asyncio.wait(tasks, return_when=asyncio.FIRST_EXCEPTION)
        finally:
            self.stop()
            outcomes = await asyncio.gather(*tasks, return_exceptions=True)
        for outcome in outcomes:
            if outcome is not None:
                raise outcome
