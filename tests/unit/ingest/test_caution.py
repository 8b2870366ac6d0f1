"""Who works alone, and that all work side by side again once no suspect is left."""

import asyncio

from streams.ingest.caution import Caution

WORKERS, SUSPECTS, JOBS = 5, 4, 400


class Queue:
    """Suspects in front, each taken alone, and jobs that may be run side by side."""

    def __init__(self) -> None:
        self.caution = Caution()
        self._suspects, self._jobs = SUSPECTS, JOBS
        self.at_work = 0
        self.most_at_work = 0
        self.done_by = [0] * WORKERS

    async def turn(self, worker: int) -> None:
        async with self.caution.turn() as alone:
            suspect = self._suspects > 0
            self.caution.took(suspect=suspect, alone=alone)
            if suspect and not alone:
                return  # it is put back
            self._suspects -= suspect
            self._jobs -= 1
            self.at_work += 1
            self.most_at_work = max(self.most_at_work, self.at_work)
            self.done_by[worker] += 1
            for _ in range(3 + worker):
                await asyncio.sleep(0)
                assert not suspect or self.at_work == 1, "a suspect is run alone"
            self.at_work -= 1

    async def work(self, worker: int) -> None:
        while self._jobs > 0:
            await self.turn(worker)


async def test_while_suspects_come_one_works_at_a_time_and_then_all_of_them() -> None:
    queue = Queue()
    await asyncio.wait_for(asyncio.gather(*map(queue.work, range(WORKERS))), 20)
    assert queue.most_at_work == WORKERS
    assert min(queue.done_by) > JOBS / WORKERS / 4, queue.done_by


async def test_a_suspect_waits_until_the_others_hold_nothing() -> None:
    caution, released = Caution(), asyncio.Event()

    async def ordinary() -> None:
        async with caution.turn() as alone:
            assert not alone
            await released.wait()

    async def careful() -> bool:
        async with caution.turn() as alone:
            return alone

    others = [asyncio.create_task(ordinary()) for _ in range(2)]
    await asyncio.sleep(0)
    caution.took(suspect=True, alone=False)
    waits = asyncio.create_task(careful())
    for _ in range(10):  # what does not wait for the others would be done by now
        await asyncio.sleep(0)
    assert not waits.done()
    caution.took(suspect=False, alone=False)  # of one that was under way, and knows nothing of the suspect
    assert caution.is_needed
    released.set()
    await asyncio.gather(*others)
    assert await waits
