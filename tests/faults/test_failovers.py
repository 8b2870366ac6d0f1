"""A standby that takes over has all that was acknowledged; whoever is connected stays with the old server."""

import asyncio
import itertools
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from types import SimpleNamespace
from typing import Any, cast

import asyncpg
import pytest
from redis.asyncio import Redis as Client
from redis.exceptions import ReadOnlyError

from tests.faults.failovers import TAKE_OVER
from tests.faults.injector import end
from tests.faults.proxy import Link
from tests.faults.scene import Scene
from tests.faults.tap import Tap, watch
from tests.parts.eventually import eventually
from tests.parts.postgres import Postgres
from tests.parts.process import Part
from tests.parts.redis import Redis

PUSH = """
redis.call('RPUSH', 'queues:default', '{"uuid":"' .. ARGV[1] .. '"}')
redis.call('HSET', 'app:fence', '0', '1:' .. ARGV[2] .. ':' .. ARGV[2])
"""
OF_EACH_SIDE = 50


class Stack(SimpleNamespace):
    """What of the stack a failover touches."""

    servers: dict[str, Part]
    standbys: dict[str, Part]
    tap: Tap
    tap_attached: asyncio.Event

    @property
    def redis(self) -> Part:
        return self.servers["redis"]

    @property
    def postgres(self) -> Part:
        return self.servers["postgres"]


@pytest.fixture
async def stack() -> AsyncIterator[Stack]:
    async with AsyncExitStack() as exits:
        tap, attached = Tap(), asyncio.Event()
        servers: dict[str, Part] = {"redis": Redis(append_only=True), "postgres": Postgres()}
        standbys: dict[str, Part] = {"redis": Redis(append_only=True), "postgres": Postgres()}
        for part in (*servers.values(), *standbys.values()):
            exits.callback(part.remove)
        yield Stack(servers=servers, standbys=standbys, tap=tap, tap_attached=attached)


async def take_over(stack: Stack, name: str) -> None:
    await TAKE_OVER[name](cast("Scene", SimpleNamespace(stack=stack)))


async def push(client: Client, number: int) -> None:
    await cast("Any", client.eval(PUSH, 0, f"{number:08}-0000-4000-8000-000000000000", number))


async def push_until_refused(client: Client, numbers: "itertools.count[int]") -> int:
    """Push one after the other; return the number that was refused."""
    for number in numbers:
        try:
            await push(client, number)
        except ReadOnlyError:
            return number
    raise AssertionError


async def test_a_redis_that_takes_over_has_every_push_and_the_tap_has_seen_each_once(stack: Stack) -> None:
    stack.redis.start()
    watching = asyncio.create_task(watch(stack.tap, lambda: stack.redis.port, stack.tap_attached))
    await stack.tap_attached.wait()
    numbers = itertools.count()
    async with Link("worker-redis", stack.redis.port) as link:
        for _ in ("there", "and back"):
            before = len(stack.tap.pushes)
            async with Client(port=link.port, single_connection_client=True) as client:
                pushing = asyncio.create_task(push_until_refused(client, numbers))
                await eventually(lambda n=before: len(stack.tap.pushes) >= n + OF_EACH_SIDE)
                await take_over(stack, "redis")
                refused = await asyncio.wait_for(pushing, 10)
                with pytest.raises(ReadOnlyError):
                    await push(client, refused)
            link.target_port = stack.redis.port
            async with Client(port=link.port) as client:
                await push(client, refused)
                count = await cast("Any", client.llen("queues:default"))
            assert count == refused + 1
            await eventually(lambda expected=count: len(stack.tap.pushes) >= expected)
            assert len({one.uuid for one in stack.tap.pushes}) == len(stack.tap.pushes) == count
    await end(watching)


async def insert_until_refused(connection: asyncpg.Connection, numbers: "itertools.count[int]") -> int:
    """Insert one after the other; return the number that was refused."""
    for number in numbers:
        try:
            await connection.execute("insert into numbers values ($1)", number)
        except asyncpg.ReadOnlySQLTransactionError:
            return number
    raise AssertionError


async def test_a_postgres_that_takes_over_has_every_row_and_the_old_one_stays_as_it_was(stack: Stack) -> None:
    await asyncio.to_thread(stack.postgres.start)
    cast("Postgres", stack.postgres).execute("create table numbers (number int primary key)")
    numbers = itertools.count()
    for _ in ("there", "and back"):
        old = cast("Postgres", stack.postgres)
        connection = await asyncpg.connect(old.url)
        inserting = asyncio.create_task(insert_until_refused(connection, numbers))
        await take_over(stack, "postgres")
        refused = await asyncio.wait_for(inserting, 10)
        new = cast("Postgres", stack.postgres)
        assert new is not old
        new.execute(f"insert into numbers select {refused}")
        assert new.execute("select count(*) from numbers") == str(refused + 1)
        assert await connection.fetchval("select count(*) from numbers") == refused
        await connection.close()
