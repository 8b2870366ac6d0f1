"""Many connections to a web server that send no whole request, or too slowly."""

import asyncio
import contextlib
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from streams.tasks import ended

HEAD = b"GET /health/live HTTP/1.1\r\nHost: here\r\n"
WHOLE = HEAD + b"\r\n"

Connection = tuple[asyncio.StreamReader, asyncio.StreamWriter]


class Visitors:
    """Connections of one kind.

    Attributes:
        closed: how many of them the server has closed.
        answers: how many pages came.
    """

    def __init__(self) -> None:
        self.closed = 0
        self.answers = 0
        self._tasks: list[asyncio.Task[None]] = []
        self._writers: list[asyncio.StreamWriter] = []

    async def come(self, port: int, count: int, first: bytes, every_s: float | None) -> None:
        """Connect so many times; send the first bytes, and then one byte now and then."""
        for _ in range(count):
            connection = await asyncio.open_connection("127.0.0.1", port)
            self._writers.append(connection[1])
            self._tasks.append(asyncio.create_task(self._stay(connection, first, every_s)))

    async def go(self) -> None:
        """Close all that is still open."""
        await ended(*self._tasks)
        for writer in self._writers:
            writer.transport.abort()
        for writer in self._writers:
            with contextlib.suppress(OSError):
                await writer.wait_closed()

    async def _stay(self, connection: Connection, first: bytes, every_s: float | None) -> None:
        reader, writer = connection
        dribble = asyncio.create_task(_dribble(writer, first, every_s))
        try:
            with contextlib.suppress(ConnectionError):
                while answer := await reader.read(65_536):
                    self.answers += answer.count(b" 200 OK")
            self.closed += 1
        finally:
            dribble.cancel()


async def _dribble(writer: asyncio.StreamWriter, first: bytes, every_s: float | None) -> None:
    writer.write(first)
    while every_s is not None:
        await asyncio.sleep(every_s)
        writer.write(b"x")


@asynccontextmanager
async def visitors(
    port: int, count: int, first: bytes, *, every_s: float | None = None
) -> AsyncIterator[Visitors]:
    """Keep connections to a port of this machine for the block."""
    group = Visitors()
    try:
        await group.come(port, count, first, every_s)
        yield group
    finally:
        await group.go()
