"""Where a step of an agent is made to fail: at any call to the outside, before or after its effect."""

import asyncio
from collections.abc import Awaitable, Callable
from enum import Enum, auto
from typing import NamedTuple, TypeVar

T = TypeVar("T")


class How(Enum):
    """What happens at the call."""

    CRASH = auto()
    """The process is gone."""
    OUTAGE = auto()
    """The call fails; its effect may stand all the same."""
    FREEZE = auto()
    """The process hangs, others take over, and some time later it goes on."""


class Fault(NamedTuple):
    """A failure to come."""

    call: int
    """At which call of the step, from 0."""
    after: bool
    """Whether the call has taken effect by then."""
    how: How


class CrashError(Exception):
    """Stands for the end of the process; nobody else catches it."""


class Strikes:
    """Counts the calls of a step, and strikes at the one that a fault names."""

    def __init__(self, outage: Callable[[], Exception]) -> None:
        self.froze = asyncio.Event()
        self.go_on = asyncio.Event()
        """Lets a step that hangs go on."""
        self._outage = outage
        self._fault: Fault | None = None
        self._calls = 0

    def expect(self, fault: Fault | None) -> None:
        """Begin a step."""
        self._fault, self._calls = fault, 0

    async def touch(
        self, effect: Callable[[], Awaitable[T]], outage: Callable[[], Exception] | None = None
    ) -> T:
        """Make one call to the outside."""
        number, self._calls = self._calls, self._calls + 1
        fault = self._fault if self._fault is not None and self._fault.call == number else None
        if fault is not None and not fault.after:
            await self._strike(fault, outage)
        result = await effect()
        if fault is not None and fault.after:
            await self._strike(fault, outage)
        return result

    async def _strike(self, fault: Fault, outage: Callable[[], Exception] | None) -> None:
        self._fault = None
        if fault.how is How.CRASH:
            raise CrashError
        if fault.how is How.OUTAGE:
            make = outage or self._outage
            raise make()
        self.froze.set()
        await self.go_on.wait()
