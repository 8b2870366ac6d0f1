"""Servers of this test's own, of each make and age that can be had here."""

import contextlib
from collections.abc import AsyncIterator, Callable
from typing import Any

import pytest
from redis.asyncio import Redis

from streams.demo.child import PartFailed
from streams.demo.programs import FoundProgram, redis_server
from streams.laravel.redis_client import connect
from tests.parts.redis import Redis as RedisServer
from tests.parts.redis import redis_6, valkey

MAKES = {"installed": redis_server, "redis 6.2": redis_6, "valkey": valkey}

Serve = Callable[..., RedisServer]


@pytest.fixture(params=list(MAKES))
def program(request: pytest.FixtureRequest) -> Callable[[], FoundProgram]:
    """Where a server comes from: the machine's own, and others out of wheels."""
    find: Callable[[], FoundProgram] = MAKES[request.param]
    with contextlib.suppress(PartFailed):
        find()
        return find
    if request.param == "installed":
        return find  # whose absence is a missing part, as anywhere
    pytest.skip(f"no wheel of {request.param} for this Python")


@pytest.fixture
def serve(own: Callable[[Callable[[], Any]], RedisServer], program: Callable[[], FoundProgram]) -> Serve:
    """Start a server with options, as in ``serve(maxmemory="10mb")``."""

    def start(**options: str) -> RedisServer:
        named = {name.replace("_", "-"): value for name, value in options.items()}
        return own(lambda: RedisServer(options=named, program=program))

    return start


@pytest.fixture
async def clients() -> AsyncIterator[Callable[[str], Redis]]:
    """Connect as the programs do, until the test is over."""
    async with contextlib.AsyncExitStack() as stack:

        def open_one(url: str) -> Redis:
            client = connect(url)
            stack.push_async_callback(client.aclose)
            return client

        yield open_one
