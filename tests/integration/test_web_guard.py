"""The guard before the web pages, over real sockets, with limits that a test can wait for."""

import asyncio
import logging
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager

import pytest
from aiohttp import ClientSession, web

from streams.web.guard import Guard
from streams.web.ingest_pages import serving
from tests.parts.eventually import eventually
from tests.parts.ports import free_port
from tests.parts.visitors import HEAD, WHOLE, visitors

HOST = "127.0.0.1"
LONG_S = 600.0
LONG_BYTES = 50_000_000

Serve = Callable[[Guard], AbstractAsyncContextManager[int]]


class Pages:
    """A page that answers, one that waits until it may, and one that is long."""

    def __init__(self) -> None:
        self.may_answer = asyncio.Event()
        self.asked = 0

    def application(self) -> web.Application:
        application = web.Application()
        application.router.add_get("/health/live", self._live)
        application.router.add_get("/slow", self._slow)
        application.router.add_get("/long", self._long)
        return application

    async def _live(self, _request: web.Request) -> web.Response:
        return web.json_response({"live": True})

    async def _slow(self, _request: web.Request) -> web.Response:
        self.asked += 1
        await self.may_answer.wait()
        return web.json_response({"slow": True})

    async def _long(self, _request: web.Request) -> web.Response:
        return web.Response(body=bytes(LONG_BYTES))


@pytest.fixture
def pages() -> Pages:
    return Pages()


@pytest.fixture
def serve(pages: Pages) -> Serve:
    @asynccontextmanager
    async def serve(guard: Guard) -> AsyncIterator[int]:
        port = free_port()
        async with serving(pages.application(), HOST, port, guard):
            yield port

    return serve


async def is_live(port: int) -> bool:
    async with ClientSession() as client, client.get(f"http://{HOST}:{port}/health/live") as answer:
        return answer.status == 200


@pytest.mark.parametrize(
    ("first", "every_s"),
    [
        (HEAD, None),
        (b"", None),
        (b"G", 0.05),
        (HEAD + b"X: ", 0.05),
        (WHOLE + HEAD, None),
        (WHOLE.replace(b"\r\n\r\n", b"\r\nContent-Length: 99999\r\n\r\n"), 0.05),
        (WHOLE.replace(b"GET", b"POST").replace(b"\r\n\r\n", b"\r\nContent-Length: 99\r\n\r\n"), 0.05),
        (WHOLE.replace(b"\r\n\r\n", b"\r\nTransfer-Encoding: chunked\r\n\r\n1\r\n"), 0.05),
    ],
    ids=["head", "nothing", "verb", "header", "second", "body", "refused body", "chunks"],
)
async def test_a_request_that_is_not_whole_in_time_is_cut_off(
    serve: Serve, first: bytes, every_s: float | None
) -> None:
    async with (
        serve(Guard(request_limit_s=0.3, idle_limit_s=0.6)) as port,
        visitors(port, 20, first, every_s=every_s) as slow,
    ):
        await eventually(lambda: slow.closed == 20)
        assert await is_live(port)


async def test_who_asks_nothing_more_is_cut_off_later(serve: Serve) -> None:
    async with (
        serve(Guard(request_limit_s=LONG_S, idle_limit_s=0.3)) as port,
        visitors(port, 20, WHOLE) as idle,
    ):
        await eventually(lambda: idle.closed == 20)
    assert idle.answers == 20


async def test_who_asks_in_time_may_go_on_asking(serve: Serve) -> None:
    async with serve(Guard(request_limit_s=LONG_S, idle_limit_s=LONG_S)) as port:
        reader, writer = await asyncio.open_connection(HOST, port)
        for _ in range(3):
            writer.write(WHOLE)
            assert b"200 OK" in await reader.readuntil(b"}")
        writer.close()


async def test_a_page_may_take_longer_than_a_request(serve: Serve, pages: Pages) -> None:
    guard = Guard(request_limit_s=0.1, idle_limit_s=0.1)
    async with serve(guard) as port, visitors(port, 1, WHOLE.replace(b"health/live", b"slow")) as asking:
        await eventually(lambda: pages.asked)
        async with visitors(port, 1, HEAD) as later:
            await eventually(lambda: later.closed)  # the limit has passed
        pages.may_answer.set()
        await eventually(lambda: asking.answers)


async def test_who_does_not_take_the_answer_is_cut_off(serve: Serve) -> None:
    async with serve(Guard(request_limit_s=LONG_S, idle_limit_s=0.3)) as port:
        reader, writer = await asyncio.open_connection(HOST, port, limit=1)  # reads what it is asked for
        writer.write(WHOLE.replace(b"health/live", b"long"))
        assert await reader.readexactly(1) == b"H"
        async with visitors(port, 1, WHOLE) as later:
            await eventually(lambda: later.closed)  # the limit has passed
        with pytest.raises((ConnectionError, asyncio.IncompleteReadError)):
            await reader.readexactly(LONG_BYTES)
        writer.transport.abort()


async def test_of_too_many_the_oldest_that_waits_is_closed(
    serve: Serve, pages: Pages, caplog: pytest.LogCaptureFixture
) -> None:
    guard = Guard(request_limit_s=LONG_S, idle_limit_s=LONG_S, most=3)
    async with serve(guard) as port, visitors(port, 1, WHOLE.replace(b"health/live", b"slow")) as asking:
        await eventually(lambda: pages.asked)
        async with visitors(port, 2, HEAD) as half_open:
            with caplog.at_level(logging.WARNING, "streams.web.guard"):
                assert await is_live(port)
                await eventually(lambda: half_open.closed == 1)
                assert await is_live(port)
            assert (half_open.closed, asking.closed) == (1, 0)
            assert caplog.text.count("3 connections, the most") == 1
            pages.may_answer.set()
            await eventually(lambda: asking.answers)


async def test_where_all_are_being_answered_the_oldest_gives_way(serve: Serve, pages: Pages) -> None:
    guard = Guard(most=2)
    async with serve(guard) as port, visitors(port, 2, WHOLE.replace(b"health/live", b"slow")) as asking:
        await eventually(lambda: pages.asked == 2)
        assert await is_live(port)
        await eventually(lambda: asking.closed == 1)
