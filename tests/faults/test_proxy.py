"""A link can be cut, stalled and slowed, and keeps every byte in order."""

import asyncio
import contextlib
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import ClassVar

import pytest

from tests.faults.proxy import Link
from tests.parts.eventually import eventually

DELAY_S = 0.2
LAST = b"last"


class Echo(asyncio.Protocol):
    """Sends back what comes, and takes leave after the last word."""

    open: ClassVar[set[asyncio.Protocol]] = set()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self.transport = transport
        self.open.add(self)

    def data_received(self, data: bytes) -> None:
        self.transport.write(data)
        if data == LAST:
            self.transport.close()

    def connection_lost(self, _error: Exception | None) -> None:
        self.open.discard(self)


@asynccontextmanager
async def echo() -> AsyncIterator[int]:
    server = await asyncio.get_running_loop().create_server(Echo, "127.0.0.1", 0)
    async with server:
        yield server.sockets[0].getsockname()[1]
        await eventually(lambda: not Echo.open)


@asynccontextmanager
async def linked() -> AsyncIterator[tuple[Link, asyncio.StreamReader, asyncio.StreamWriter]]:
    async with echo() as port, Link("a-b", port) as link:
        reader, writer = await asyncio.open_connection("127.0.0.1", link.port)
        try:
            yield link, reader, writer
        finally:
            await closed(writer)


async def closed(writer: asyncio.StreamWriter) -> None:
    writer.close()
    with contextlib.suppress(ConnectionError):
        await writer.wait_closed()


async def test_it_carries_what_is_larger_than_any_buffer() -> None:
    async with linked() as (_, reader, writer):
        data = bytes(range(256)) * 40_000
        writer.write(data)
        assert await asyncio.wait_for(reader.readexactly(len(data)), 30) == data


async def test_it_passes_on_that_a_side_has_closed() -> None:
    async with linked() as (_, reader, writer):
        writer.write(LAST)
        assert await asyncio.wait_for(reader.read(), 30) == LAST


async def test_cut_it_ends_connections_and_takes_no_new_one_until_it_is_healed() -> None:
    async with linked() as (link, reader, _):
        link.cut()
        with pytest.raises((ConnectionError, asyncio.IncompleteReadError)):
            await asyncio.wait_for(reader.readexactly(1), 5)
        again, other = await asyncio.open_connection("127.0.0.1", link.port)
        with pytest.raises((ConnectionError, asyncio.IncompleteReadError)):
            await asyncio.wait_for(again.readexactly(1), 5)
        await closed(other)
        link.heal()
        again, other = await asyncio.open_connection("127.0.0.1", link.port)
        other.write(b"ok")
        assert await asyncio.wait_for(again.readexactly(2), 30) == b"ok"
        await closed(other)


async def test_stalled_it_holds_back_everything_and_loses_nothing() -> None:
    async with linked() as (link, reader, writer):
        link.stall()
        writer.write(b"held")
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(reader.readexactly(4), 0.3)
        link.heal()
        assert await asyncio.wait_for(reader.readexactly(4), 30) == b"held"


async def test_slowed_it_delays_answers_and_keeps_their_order_when_it_is_healed() -> None:
    now = asyncio.get_running_loop().time
    async with linked() as (link, reader, writer):
        link.delay_s = DELAY_S
        began = now()
        writer.write(b"one")
        assert await reader.readexactly(3) == b"one"
        assert now() - began >= DELAY_S
        writer.write(b"two")
        await eventually(lambda: any(end._due for end in link._ends))
        link.heal()
        writer.write(b"three")
        assert await asyncio.wait_for(reader.readexactly(8), 30) == b"twothree"
