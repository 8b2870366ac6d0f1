"""Stops a worker at a chosen call: before it took effect, or after it did and before the answer."""

import asyncio
from collections.abc import Callable

Failure = Callable[[], Exception]


class Gate:
    """Every call of a worker to the outside passes here twice, before its effect and after it.

    A call that is stopped waits. What becomes of it is the test's to say: it goes on, it fails as in an
    outage, or the worker dies there (its task is cancelled, and nothing in an agent may act on that).
    """

    def __init__(self) -> None:
        self._passes_left: int | None = None
        self._stopped: asyncio.Future[bool] | None = None

    def arm(self, passes: int | None) -> None:
        """Let so many calls pass and stop the next; None lets all pass."""
        self._passes_left = passes

    @property
    def has_stopped(self) -> bool:
        """Whether a call waits."""
        return self._stopped is not None

    def open(self, *, failing: bool = False) -> None:
        """Let the call that waits go on, or fail."""
        assert self._stopped is not None
        self._stopped.set_result(failing)
        self._stopped = None

    async def passing(self, failure: Failure) -> None:
        """Pass, or wait to be let through."""
        if self._passes_left is None:
            return
        if self._passes_left > 0:
            self._passes_left -= 1
            return
        self._passes_left = None
        stopped = self._stopped = asyncio.get_running_loop().create_future()
        if await stopped:
            raise failure()
