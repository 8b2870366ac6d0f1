"""Runs jobs alone that may have ended the process that held them: only the guilty one uses up its tries."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager


class Caution:
    """Shared by the workers of a process, which die together: while there is need, one of them holds one job.

    Else the one that kills them would be among many, again and again, and nobody would know which it is.
    """

    def __init__(self) -> None:
        self._left = 0
        self._alone = asyncio.Lock()

    def beware(self, jobs: int) -> None:
        """Expect so many jobs at the front, of which one may have ended its worker."""
        self._left += jobs

    @asynccontextmanager
    async def alone(self) -> AsyncIterator[None]:
        """Do something that no other worker of the process does meanwhile."""
        async with self._alone:
            yield

    @asynccontextmanager
    async def turn(self) -> AsyncIterator[bool]:
        """Go through a turn; yields whether it must take one job alone."""
        if not self._left:
            yield False
            return
        async with self._alone:
            yield self._left > 0

    def passed(self, jobs: int) -> None:
        """Take in that a careful turn took so many jobs; where none was left, the danger is over."""
        self._left = max(0, self._left - jobs) if jobs else 0
