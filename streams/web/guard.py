"""Closes connections of the web pages that send no whole request in time, and bounds how many there are.

aiohttp waits for ever for the end of a request's head, and an hour for the next one. Between the listening
socket and aiohttp stand protocols of ours, which see when bytes come; a middleware tells when a request has
come whole. A page that is being answered has as long as it takes.
"""

import asyncio
import logging
from collections.abc import Awaitable, Callable
from enum import Enum, auto
from typing import Any, cast

from aiohttp import web

log = logging.getLogger(__name__)

REQUEST_LIMIT_S = 10.0
"""From the first byte of a request, or from connecting, to the last of its head."""
IDLE_LIMIT_S = 75.0
"""From an answer to the first byte of the next request, and for taking the answer: longer than the interval
of most monitors."""
MOST_CONNECTIONS = 256
"""Twice what the event loop accepts in one turn: whoever sends a request at once is not pushed out before it
is read."""
SAY_EVERY_S = 60.0

CROWDED = (
    "the web pages have %d connections, the most that they keep. Each new one closes the oldest that has "
    "sent no whole request. Find out who connects to the port, and let in only monitors and people"
)


class _Phase(Enum):
    """What a connection is at."""

    REQUEST = auto()
    """A request has begun, or is awaited of a new connection."""
    ANSWER = auto()
    IDLE = auto()


class Guard:
    """The connections of one server.

    Args:
        request_limit_s: see `REQUEST_LIMIT_S`.
        idle_limit_s: see `IDLE_LIMIT_S`.
        most: see `MOST_CONNECTIONS`.
    """

    def __init__(
        self,
        *,
        request_limit_s: float = REQUEST_LIMIT_S,
        idle_limit_s: float = IDLE_LIMIT_S,
        most: int = MOST_CONNECTIONS,
    ) -> None:
        self.limits_s = {_Phase.REQUEST: request_limit_s, _Phase.IDLE: idle_limit_s}
        self._most = most
        self._open: dict[asyncio.BaseProtocol, _Connection] = {}  # by aiohttp's protocol, the oldest first
        self._said_at = float("-inf")

    def over(self, server: Callable[[], asyncio.Protocol]) -> Callable[[], asyncio.Protocol]:
        """Return a factory of protocols that stand before those of a server."""
        return lambda: _Connection(self, server())

    @web.middleware
    async def middleware(
        self, request: web.Request, handler: Callable[[web.Request], Awaitable[web.StreamResponse]]
    ) -> web.StreamResponse:
        """Note that a request has come whole, and that its answer is there to be sent."""
        connection = self._open.get(request.protocol)
        if connection is None:  # closed meanwhile
            return await handler(request)
        connection.enter(_Phase.ANSWER)
        try:
            return await handler(request)
        finally:
            # Whatever the handler has raised: aiohttp still sends an answer.
            connection.enter(_Phase.IDLE)

    def came(self, connection: "_Connection") -> None:
        """Keep a new connection; close the oldest one if there are too many."""
        # The oldest one that sends nothing goes, and not the new one: else whoever came first could keep all
        # others out.
        if len(self._open) >= self._most:
            self._say()
            self._oldest().close()
        self._open[connection.inner] = connection

    def went(self, connection: "_Connection") -> None:
        """Forget a connection."""
        self._open.pop(connection.inner, None)

    def _oldest(self) -> "_Connection":
        """Return the oldest connection that no page is being made for, or the oldest of all."""
        waiting = (one for one in self._open.values() if one.phase is not _Phase.ANSWER)
        return next(waiting, None) or next(iter(self._open.values()))

    def _say(self) -> None:
        now = asyncio.get_running_loop().time()
        if now - self._said_at >= SAY_EVERY_S:
            self._said_at = now
            log.warning(CROWDED, self._most)


class _Connection(asyncio.Protocol):
    """Hands everything on to aiohttp's protocol, and closes the connection when its time is over."""

    def __init__(self, guard: Guard, inner: asyncio.Protocol) -> None:
        self.inner = inner
        self.phase = _Phase.REQUEST
        self._guard = guard
        self._transport: asyncio.Transport | None = None
        self._timer: asyncio.TimerHandle | None = None

    def enter(self, phase: _Phase) -> None:
        """Begin a phase, and its time."""
        self.phase = phase
        self._stop_timer()
        limit_s = self._guard.limits_s.get(phase)
        if limit_s is not None and self._transport is not None:
            self._timer = asyncio.get_running_loop().call_later(limit_s, self.close)

    def close(self) -> None:
        """Close it at once: what would still be sent, nobody has taken."""
        self._guard.went(self)
        self._stop_timer()
        if self._transport is not None:
            # Not close(), which waits until the other side has taken what is written.
            self._transport.abort()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Begin to wait for the first request."""
        self._transport = cast("asyncio.Transport", transport)
        self._guard.came(self)
        self.enter(_Phase.REQUEST)
        self.inner.connection_made(transport)

    def data_received(self, data: bytes) -> None:
        """Begin to wait for the end of a head, unless one has begun."""
        # Only the first byte begins the time: one byte every nine seconds must not keep it from running out.
        if self.phase is _Phase.IDLE:
            self.enter(_Phase.REQUEST)
        self.inner.data_received(data)

    def eof_received(self) -> bool | None:
        """Hand it on."""
        return self.inner.eof_received()

    def pause_writing(self) -> None:
        """Hand it on."""
        self.inner.pause_writing()

    def resume_writing(self) -> None:
        """Hand it on."""
        self.inner.resume_writing()

    def connection_lost(self, exc: Exception | None) -> None:
        """Forget the connection."""
        self._guard.went(self)
        self._stop_timer()
        self._transport = None
        self.inner.connection_lost(exc)

    def _stop_timer(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None


class GuardedRunner(web.AppRunner):
    """Runs an application whose connections are guarded.

    Args:
        application: not started yet: a middleware is added to it.
        guard: of its connections.
        options: those of `aiohttp.web.AppRunner`.
    """

    __slots__ = ("_guard",)

    def __init__(self, application: web.Application, guard: Guard, **options: Any) -> None:
        # The first, so that the time of an answer holds the other middlewares as well.
        application.middlewares.insert(0, guard.middleware)
        super().__init__(application, **options)
        self._guard = guard

    @property
    def server(self) -> Any:
        """What a site takes as the factory of its protocols; None before `setup`."""
        server = super().server
        return None if server is None else self._guard.over(server)
