"""The client of the job queue's Redis: after a refusal it connects anew.

Behind a stable address (a DNS name, a virtual IP, a proxy) a failover leaves the old connections where they
were, on what is a replica by now. So whatever Redis refuses makes every connection old: each is closed and
opened again before its next use, which asks the address anew where it leads.
"""

import asyncio
from typing import Any, cast

from redis.asyncio import Redis
from redis.asyncio.connection import (
    AbstractConnection,
    Connection,
    ConnectionPool,
    SSLConnection,
    UnixDomainSocketConnection,
    parse_url,
)
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff
from redis.exceptions import ConnectionError as RedisConnectionError
from redis.exceptions import ResponseError

from streams.laravel.redis_refusals import RedisMender, sort

SOCKET_TIMEOUT_S = 5.0


class Generation:
    """Which connections of a client are still good: those made since the last refusal."""

    def __init__(self) -> None:
        self.number = 0


class _Renewing(AbstractConnection):
    """A connection that is made anew once one of its generation was refused something."""

    def __init__(self, *, generation: Generation, **options: Any) -> None:
        super().__init__(**options)
        self._generation = generation
        self._born: int | None = None
        """The generation in which it was opened; None until it is."""

    async def connect(self) -> None:
        """Open it, unless it is open and still good."""
        if self.is_connected and self._born != self._generation.number:
            # The address is asked anew: it may lead to another server by now.
            await self.disconnect(nowait=True)
        if not self.is_connected:
            # What is refused while it connects, as CLIENT SETINFO by an older Redis, is redis-py's to judge.
            self._born = None
        await super().connect()  # type: ignore[no-untyped-call]  # redis-py's own
        self._born = self._generation.number

    async def send_packed_command(self, *args: Any, **options: Any) -> None:
        """Send a command; a cancellation that arrives meanwhile ends it.

        Where the other side has reset the connection, uvloop refuses to write with a RuntimeError, which
        redis-py does not take for an error of the connection.

        redis-py sends within `asyncio.wait_for`, which on Python 3.11 loses one that arrives as it returns
        (CPython issue 86296): about every other one of those that hit a busy client.
        """
        task = asyncio.current_task()
        before = 0 if task is None else task.cancelling()
        try:
            await super().send_packed_command(*args, **options)
        except RuntimeError as error:
            raise RedisConnectionError(f"the connection is closed: {error}") from error
        if task is not None and task.cancelling() > before:
            await self.disconnect(nowait=True)  # its answer is nobody's
            raise asyncio.CancelledError

    async def read_response(self, *args: Any, **options: Any) -> Any:
        """Read an answer; a refusal ends the generation, but only before the next use: others may follow."""
        try:
            return await super().read_response(*args, **options)
        except ResponseError as error:
            if self._born == self._generation.number and sort(error).mender is not RedisMender.CALLER:
                self._generation.number += 1
            raise


class _Tcp(_Renewing, Connection):
    """By TCP."""


class _Tls(_Renewing, SSLConnection):
    """By TLS."""


class _Unix(_Renewing, UnixDomainSocketConnection):
    """By a socket in the file system."""


_RENEWING: dict[Any, Any] = {Connection: _Tcp, SSLConnection: _Tls, UnixDomainSocketConnection: _Unix}


def connect(url: str) -> Redis:
    """Return a client of the job queue's Redis; it connects on first use."""
    options = cast("dict[str, Any]", dict(parse_url(url)))
    kind = _RENEWING[options.pop("connection_class", Connection)]
    # No retries of its own: the agents' loop retries, and knows that a script may have run.
    retry = Retry(NoBackoff(), 0)
    options |= {
        "socket_timeout": SOCKET_TIMEOUT_S,
        "socket_connect_timeout": SOCKET_TIMEOUT_S,
        "retry": retry,
    }
    return Redis.from_pool(ConnectionPool(connection_class=kind, generation=Generation(), **options))
