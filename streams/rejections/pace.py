"""Keeps long work to a small share of the event loop's time, so that what comes in does not wait for it."""

import asyncio
import time
from collections.abc import Awaitable, Callable
from types import TracebackType

SHARE = 0.1
SLICE_S = 0.01
"""Others wait so long at most, and for one step that takes longer."""


class Pace:
    """Is entered for each step that holds the event loop, and rested with between them.

    Args:
        share: of the time.
        monotonic: a clock in seconds.
        sleep: waits.
    """

    def __init__(
        self,
        share: float = SHARE,
        *,
        monotonic: Callable[[], float] = time.perf_counter,
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
    ) -> None:
        self._rest_share = 1 / share - 1
        self._monotonic = monotonic
        self._sleep = sleep
        self._began = self._spent_s = 0.0

    def __enter__(self) -> None:
        self._began = self._monotonic()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._spent_s += self._monotonic() - self._began

    async def rest(self) -> None:
        """Let others go on, once a slice is used up."""
        if self._spent_s >= SLICE_S:
            spent_s, self._spent_s = self._spent_s, 0.0
            await self._sleep(spent_s * self._rest_share)
