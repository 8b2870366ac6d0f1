import asyncio

import pytest

from streams.errors import ForeignJob
from streams.ingest.worker_pool import WorkerPool


class FakeHand:
    """A worker that runs until it is told to stop, or ends at once, with or without an error."""

    def __init__(self, *, ends: bool = False, error: Exception | None = None) -> None:
        self._ends = ends
        self._error = error
        self._stopping = asyncio.Event()
        self.ended_in_order = False

    async def run(self) -> None:
        if self._error is not None:
            raise self._error
        if not self._ends:
            await self._stopping.wait()
        self.ended_in_order = True

    def stop(self) -> None:
        self._stopping.set()


async def test_it_ends_when_each_of_its_workers_has_ended() -> None:
    lasting = FakeHand()
    pool = WorkerPool([FakeHand(ends=True), lasting])
    running = asyncio.create_task(pool.run())
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    assert not running.done()
    pool.stop()
    await asyncio.wait_for(running, 30)
    assert lasting.ended_in_order


async def test_what_ends_one_ends_all_in_good_order_and_is_raised() -> None:
    others = [FakeHand(), FakeHand()]
    with pytest.raises(ForeignJob):
        await asyncio.wait_for(WorkerPool([others[0], FakeHand(error=ForeignJob("x")), others[1]]).run(), 30)
    assert all(other.ended_in_order for other in others)


async def test_a_crew_that_is_cancelled_lets_its_workers_end_in_good_order() -> None:
    hand = FakeHand()
    running = asyncio.create_task(WorkerPool([hand]).run())
    await asyncio.sleep(0)
    running.cancel()
    with pytest.raises(asyncio.CancelledError):
        await running
    assert hand.ended_in_order
