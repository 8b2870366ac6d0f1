"""The dashboard: its files, its login, and its event stream, as an application that a server mounts.

Every path in the page is relative, so that it works behind a reverse proxy under any path.
"""

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from contextlib import AbstractContextManager
from http import HTTPStatus
from mimetypes import guess_type
from pathlib import Path
from typing import Protocol

import msgspec
from aiohttp import web

from streams.dashboard.board import TooManyWatch
from streams.web.login import Login
from streams.web.shared import refused

FILES = Path(__file__).parent / "dashboard"
POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; connect-src 'self'; "
    "form-action 'self'; base-uri 'none'; frame-ancestors 'none'"
)
HEADERS = {
    "Content-Security-Policy": POLICY,
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Cache-Control": "no-cache",
}
STREAM_HEADERS = {
    "Content-Type": "text/event-stream",
    "Cache-Control": "no-store",
    "X-Accel-Buffering": "no",  # nginx would else keep the events back
}
RETRY_MS = 1_000
WRITE_LIMIT_S = 10.0
"""A page that takes nothing for so long is closed; it connects again."""

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]


class WatchedBoard(Protocol):
    """The board, as the pages need it."""

    def watching(self) -> AbstractContextManager[None]:
        """Count a page while it is open; raise TooManyWatch if there are too many."""
        ...

    def history(self) -> bytes:
        """Return the last fifteen minutes, as JSON."""
        ...

    async def next(self) -> bytes | None:
        """Return the next second, as JSON; None once the worker ends."""
        ...


class Pages(Protocol):
    """Further pages of the application."""

    def add_to(self, router: web.UrlDispatcher) -> None:
        """Add them."""
        ...


class Token(msgspec.Struct):
    """What the login form sends."""

    token: str


class DashboardPages:
    """Answers for the dashboard.

    Args:
        board: has what is shown.
        login: says who may see it.
        more: pages that it needs beside those.
    """

    def __init__(self, board: WatchedBoard, login: Login, more: Sequence[Pages] = ()) -> None:
        self._board = board
        self._login = login
        self._more = more

    def application(self) -> web.Application:
        """Return the application, to be mounted at ``/dashboard``."""
        application = web.Application()
        router = application.router
        for path in sorted(FILES.rglob("*")):
            if path.is_file():
                router.add_get(f"/{path.relative_to(FILES).as_posix()}", _file(path))
        router.add_get("/", _file(FILES / "index.html"))
        router.add_get("/events", self.events)
        router.add_get("/session", self._session)
        router.add_post("/login", self._log_in)
        router.add_post("/logout", self._log_out)
        for pages in self._more:
            pages.add_to(router)
        return application

    async def events(self, request: web.Request) -> web.StreamResponse:
        """Send the last fifteen minutes, and then each second as it comes."""
        if refusal := self._login.refusal(request):
            return refused(*refusal)
        try:
            with self._board.watching():
                return await self._stream(request)
        except TooManyWatch:
            return refused(HTTPStatus.SERVICE_UNAVAILABLE, "too many dashboards are open: close one")

    async def _stream(self, request: web.Request) -> web.StreamResponse:
        response = web.StreamResponse(headers=STREAM_HEADERS)
        await response.prepare(request)
        try:
            await _write(response, b"retry: %d\n\n" % RETRY_MS)
            await _write(response, _event("history", self._board.history()))
            while (second := await self._board.next()) is not None:
                await _write(response, _event("second", second))
        except (ConnectionError, TimeoutError):  # the page is closed, or takes nothing any more
            pass
        return response

    async def _session(self, request: web.Request) -> web.Response:
        """Say whether the page may go on: an event stream does not tell why it was refused."""
        refusal = self._login.refusal(request)
        return refused(*refusal) if refusal else web.json_response({"logged_in": self._login.is_asked_for})

    async def _log_in(self, request: web.Request) -> web.Response:
        try:
            given = msgspec.json.decode(await request.read(), type=Token).token
        except (msgspec.MsgspecError, UnicodeDecodeError):
            return refused(HTTPStatus.BAD_REQUEST, 'send {"token": "…"}')
        if not self._login.is_token(given):
            return refused(HTTPStatus.UNAUTHORIZED, "this is not the worker's WEB_TOKEN")
        response = web.Response(status=HTTPStatus.NO_CONTENT)
        self._login.admit(request, response)
        return response

    async def _log_out(self, request: web.Request) -> web.Response:
        if refusal := self._login.refusal_to_change(request):
            return refused(*refusal)
        response = web.Response(status=HTTPStatus.NO_CONTENT)
        self._login.dismiss(response)
        return response


def _file(path: Path) -> Handler:
    kind = guess_type(path.name)[0] or "text/plain"

    async def send(_request: web.Request) -> web.StreamResponse:
        return web.FileResponse(path, headers=HEADERS | {"Content-Type": f"{kind}; charset=utf-8"})

    return send


async def _write(response: web.StreamResponse, event: bytes) -> None:
    await asyncio.wait_for(response.write(event), WRITE_LIMIT_S)


def _event(name: str, data: bytes) -> bytes:
    return b"event: %s\ndata: %s\n\n" % (name.encode(), data)


async def redirect(_request: web.Request) -> web.Response:
    """Lead from ``/dashboard`` to ``/dashboard/``, by a path that holds behind a proxy as well."""
    return web.Response(status=HTTPStatus.PERMANENT_REDIRECT, headers={"Location": "dashboard/"})
