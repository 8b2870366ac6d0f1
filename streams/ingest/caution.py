"""Runs a job alone that may have ended a process before: only the guilty one uses up its tries."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager


class Caution:
    """Shared by the workers of a process, which die together: while suspects come, one works at a time.

    Redis hands out a suspect alone. Were another job held beside it, nobody would know which of them it was.
    """

    def __init__(self) -> None:
        self.is_needed = False
        self.alone = asyncio.Lock()
        """Of what no other worker of the process is to do meanwhile."""

    @asynccontextmanager
    async def turn(self) -> AsyncIterator[bool]:
        """Go through a turn; yields whether no other worker of the process is in a careful one."""
        if not self.is_needed:
            yield False
            return
        async with self.alone:
            yield True
