"""What a fault is done to, and with: the stack, its devices, and what is noted meanwhile."""

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field
from typing import Protocol

from tests.faults.direct import Direct
from tests.faults.fleet import Device
from tests.faults.plan import Fault
from tests.faults.stack import Hears, Stack


class Settled(Protocol):
    """Knows whether all that was sent has arrived."""

    direct: Direct

    def direct_of_a_new_tenant(self) -> Direct:
        """Return what writes the messages of a tenant that has just been added."""
        ...

    async def is_settled(self) -> bool:
        """Return whether every acknowledged message has landed or was rejected."""
        ...

    async def keep_rejections(self) -> None:
        """Remember what is on metrics.rejected, before Kafka forgets it."""
        ...


@dataclass
class Scene:
    """Where a storm takes place.

    Attributes:
        flooded: malformed messages of the floods, `SENT` or `ACKED`.
        outages: of each full outage, the server and the loop's time of begin and end.
        locks: held while a server is away on purpose.
        told: what readiness must have told within a minute, and since when by the loop's clock.
        intruders_ended: exit codes of workers that should be refused; None for one that was not.
    """

    stack: Stack
    devices: Sequence[Device]
    accounts: Settled
    say: Hears
    flooded: bytearray
    outages: list[tuple[str, float, float]] = field(default_factory=list)
    locks: dict[str, asyncio.Lock] = field(default_factory=dict)
    told: list[tuple[str, float]] = field(default_factory=list)
    intruders_ended: list[int | None] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.locks = {name: asyncio.Lock() for name in self.stack.servers}

    def is_away(self, target: str) -> bool:
        """Tell whether what a fault is about is away already."""
        return any(lock.locked() and name in target for name, lock in self.locks.items())


Happen = Callable[[Scene, Fault], Awaitable[bool | None]]
"""Lets a fault happen and mends it; False if it could not happen now."""
