"""Runs a job alone that may have ended a process before: only the guilty one uses up its tries."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager


class Caution:
    """Shared by the workers of a process, which die together: while suspects come, one works at a time.

    Redis hands out a suspect alone. Were another job held beside it, nobody would know which of them it was.

    Attributes:
        is_needed: whether the next turn is a careful one.
        alone: held over what no other worker of the process is to do meanwhile.
    """

    def __init__(self) -> None:
        self.is_needed = False
        self.alone = asyncio.Lock()
        self._ordinary_turns = 0
        self._no_ordinary_turn = asyncio.Event()
        self._no_ordinary_turn.set()

    @asynccontextmanager
    async def turn(self) -> AsyncIterator[bool]:
        """Go through a turn; yields whether no other worker of the process holds a job."""
        if self.is_needed:
            async with self.alone:
                # Another may have found meanwhile that no suspect is left. Only who has the lock can.
                if self.is_needed:
                    await self._no_ordinary_turn.wait()
                    yield True
                    return
        self._ordinary_turns += 1
        self._no_ordinary_turn.clear()
        try:
            yield False
        finally:
            self._ordinary_turns -= 1
            if not self._ordinary_turns:
                self._no_ordinary_turn.set()

    def took(self, *, suspect: bool, alone: bool) -> None:
        """Take in what came of a reservation: only who is alone knows that no suspect is left."""
        self.is_needed = suspect or (self.is_needed and not alone)
