"""Waits for parts that are away, until they answer or the worker is told to stop."""

import asyncio
import itertools
import time
from collections.abc import Awaitable, Callable, Coroutine
from contextlib import suppress
from typing import Any, TypeVar

from streams.backoff import delays
from streams.counters import Statistics
from streams.errors import Outage
from streams.ingest.wait_limit import WaitLimit
from streams.tasks import ended

GRACE_S = 3.0
"""How long what is under way in the store may go on after `stop`: SIGKILL often follows after ten seconds."""
CANCEL_S = 1.0
"""Also out of what it does on being cancelled, such as a rollback."""

T = TypeVar("T")
_numbers = itertools.count(1)


class OutageWait:
    """One worker's; it ends with `stop`.

    Args:
        statistics: told which parts are away.
        limit: of the run.
    """

    def __init__(self, statistics: Statistics, limit: WaitLimit) -> None:
        self._statistics = statistics
        self._limit = limit
        self._stopping = asyncio.Event()
        self._cut_at_s = 0.0
        self._is_sure = False
        self._who = f"ingest {next(_numbers)}"
        statistics.expect("redis")

    @property
    def is_over(self) -> bool:
        """Whether the worker was told to stop."""
        return self._stopping.is_set()

    def stop(self) -> None:
        """End every wait, and let no other begin."""
        if not self.is_over:
            # From the first `stop` alone: a second signal must not make the grace longer.
            self._cut_at_s = time.monotonic() + GRACE_S
        self._stopping.set()

    async def cut_short(self, action: Coroutine[Any, Any, T]) -> T:
        """Do something in the store; once told to stop, wait for it no longer than the grace.

        Raises:
            Outage: it was given up. What it has begun is undone by PostgreSQL.
        """
        task = asyncio.create_task(action)
        stopping = asyncio.create_task(self._stopping.wait())
        try:
            await asyncio.wait({task, stopping}, return_when=asyncio.FIRST_COMPLETED)
            if not task.done():
                await asyncio.wait({task}, timeout=max(0.0, self._cut_at_s - time.monotonic()))
            if not task.done():
                raise Outage("postgres", f"was not done {GRACE_S:g} s after this worker was told to stop")
            return task.result()
        finally:
            stopping.cancel()
            # Awaited, so that nothing goes on in the store when the jobs are put back.
            await ended(task, again_s=CANCEL_S)

    async def be_sure(self, check: Callable[[], Awaitable[None]]) -> None:
        """Check a part before work begins: the first time, and after an outage of whichever part.

        Raises:
            Outage: the part is away.
        """
        if not self._is_sure:
            await check()
            self._is_sure = True

    async def wait_out(self, action: Callable[[], Awaitable[T]]) -> T:
        """Do what must still be done in Redis, waiting out its outage; give in only when told to stop.

        Raises:
            Outage: told to stop. What is still reserved comes back to the queue by its retry after.
            NotFinished: the limit of the run is reached; likewise.
        """
        for delay_s in delays():
            try:
                answer = await action()
            except Outage as outage:
                self.is_away(outage)
                if self.is_over:
                    raise
                await self.pause(delay_s)
            else:
                self.redis_answers()
                return answer
        raise AssertionError("delays never end")

    async def pause(self, delay_s: float) -> None:
        """Wait so long, or until `stop`, or until the limit of the run is reached."""
        await self.rest(self._limit.within(delay_s))

    async def rest(self, delay_s: float) -> None:
        """Wait so long, or until `stop`, whatever the limit of the run."""
        with suppress(TimeoutError):
            await asyncio.wait_for(self._stopping.wait(), delay_s)

    def doubt(self) -> None:
        """Check again before the next turn: Redis may be another, or have forgotten something."""
        self._is_sure = False

    def is_away(self, outage: Outage) -> None:
        """Take in that a part gave no answer.

        Raises:
            NotFinished: that has been so for longer than the run may wait.
        """
        # What comes back may be another server, with other tables.
        self._is_sure = False
        self._statistics.down(outage.part, self._who, outage.detail)
        if not self.is_over:
            self._limit.check(outage)

    def progressed(self) -> None:
        """Take in that a turn came to its end: what was away is not any more."""
        self._limit.progressed()
        for part in list(self._statistics.parts):
            self._statistics.leave(part, self._who)

    def redis_answers(self) -> None:
        """Take in that Redis answered."""
        self._statistics.up("redis", self._who)
