"""A task that is to end does end, also where a cancellation is lost on the way."""

import asyncio

import pytest

from streams.tasks import ended, ended_well


class Loser:
    """A loop that loses as many cancellations as it is told to."""

    def __init__(self, loses: int) -> None:
        self.loses = loses

    async def run(self) -> None:
        while True:
            try:
                await asyncio.Event().wait()
            except asyncio.CancelledError:
                if not self.loses:
                    raise
                self.loses -= 1


@pytest.mark.parametrize("loses", [0, 1, 3])
async def test_a_task_that_loses_cancellations_ends(loses: int) -> None:
    tasks = [asyncio.create_task(Loser(count).run()) for count in (loses, 0)]
    await asyncio.sleep(0)
    async with asyncio.timeout(10):
        await ended(*tasks, again_s=0.01)
    assert all(task.cancelled() for task in tasks)


async def test_one_that_ends_in_good_order_is_cancelled_once() -> None:
    written = []

    async def in_order() -> None:
        try:
            await asyncio.Event().wait()
        finally:
            for _ in range(3):
                await asyncio.sleep(0)  # a second cancellation would end it here
            written.append("the rest")

    task = asyncio.create_task(in_order())
    await asyncio.sleep(0)
    await ended(task, again_s=10)
    assert written == ["the rest"]


async def test_what_is_over_is_left_alone() -> None:
    async def fails() -> None:
        raise ValueError

    task = asyncio.create_task(fails())
    await asyncio.wait({task})
    await ended(task)
    await ended()
    assert isinstance(task.exception(), ValueError)


async def test_what_a_task_had_failed_with_is_raised_when_it_is_ended_well() -> None:
    async def fails() -> None:
        raise ValueError

    failed, busy = asyncio.create_task(fails()), asyncio.create_task(Loser(0).run())
    await asyncio.wait({failed})
    await asyncio.sleep(0)
    with pytest.raises(ValueError, match=r"^$"):
        await ended_well(failed)
    await ended_well(busy)
    assert busy.cancelled()
