import asyncio
import uuid
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import AbstractAsyncContextManager, AsyncExitStack, asynccontextmanager
from pathlib import Path

import pytest
from redis.asyncio import Redis

from streams.counters import Statistics
from streams.database.session import DatabaseSession
from streams.laravel.redis_client import connect
from streams.laravel.reserve import ReservingQueue
from tests.contract.bench import RETRY_AFTER_S, Bench, Seen, channel, stored
from tests.contract.laravel import TENANT, Laravel, mariadb_connection, postgres_connection, sqlite_connection
from tests.contract.ways import REFERENCE, Way
from tests.parts.mariadb import MariaDb
from tests.parts.php import Php
from tests.parts.redis import Redis as RedisServer


@pytest.fixture
def prefix(unique: str) -> str:
    """Laravel's prefix, with which channels too are this test's own."""
    return f"{unique}_database_"


@pytest.fixture
def laravel(php: Php, redis_url: str, database_url: str, prefix: str) -> Iterator[Laravel]:
    """Laravel on PostgreSQL, its tables not yet made."""
    database = postgres_connection(database_url)
    laravel = Laravel(php, redis_url, database, prefix=prefix, retry_after_s=RETRY_AFTER_S)
    yield laravel
    laravel.close()


@pytest.fixture
async def redis(redis_url: str) -> AsyncIterator[Redis]:
    """A client of the queue's Redis."""
    client = connect(redis_url)
    yield client
    await client.aclose()


MakeQueue = Callable[..., ReservingQueue]


@pytest.fixture
def make_queue(redis: Redis, prefix: str) -> MakeQueue:
    """Make our end of the same queue, with a clock where a test wants one."""

    def make(**options: object) -> ReservingQueue:
        return ReservingQueue(redis, prefix=prefix, queue="default", retry_after_s=RETRY_AFTER_S, **options)

    return make


OpenBench = Callable[..., AbstractAsyncContextManager[Bench]]


@pytest.fixture
def open_bench(
    request: pytest.FixtureRequest, php: Php, redis_server: RedisServer, tmp_path: Path
) -> OpenBench:
    """Set up a way through the queue, with everything on it empty.

    A test may bring its own MariaDB, and options of Laravel's connection to it.
    """

    @asynccontextmanager
    async def opened(way: Way, *, mariadb: MariaDb | None = None, **options: str) -> AsyncIterator[Bench]:
        name = f"t{uuid.uuid4().hex[:12]}"
        prefix, redis_url = f"{name}_database_", redis_server.new_database_url()
        async with AsyncExitStack() as stack:
            session = None
            if way.database == "postgres":
                url = stack.enter_context(request.getfixturevalue("postgres").new_database(name))
                database = postgres_connection(url)
                if way.worker != "laravel":
                    session = await stack.enter_async_context(DatabaseSession(url, Statistics()))
            elif way.database == "mariadb":
                server = mariadb or request.getfixturevalue("mariadb")
                database = mariadb_connection(server, stack.enter_context(server.new_database(name)))
                database |= options
            else:
                database = sqlite_connection(tmp_path / f"{name}.sqlite")
            laravel = Laravel(php, redis_url, database, prefix=prefix, retry_after_s=RETRY_AFTER_S)
            stack.callback(laravel.close)
            await asyncio.to_thread(laravel.migrate, TENANT)
            redis = connect(redis_url)
            stack.push_async_callback(redis.aclose)
            pubsub = await stack.enter_async_context(redis.pubsub())
            await pubsub.subscribe(channel(prefix))
            yield Bench(way, laravel, session=session, redis=redis, pubsub=pubsub, prefix=prefix)

    return opened


Story = Callable[[Bench], Awaitable[list[Seen]]]
Tell = Callable[[Story], Awaitable[list[Seen]]]


@pytest.fixture(scope="session")
def _references() -> dict[Story, list[Seen]]:
    """What was seen of each story where Laravel did it all."""
    return {}


@pytest.fixture
def tell(way: Way, open_bench: OpenBench, _references: dict[Story, list[Seen]]) -> Tell:
    """Let a story happen on the test's way; whatever is seen of it must be what is seen without our part."""

    async def told(story: Story) -> list[Seen]:
        if story not in _references:
            async with open_bench(REFERENCE) as bench:
                _references[story] = await story(bench)
        if way == REFERENCE:
            return _references[story]
        async with open_bench(way) as bench:
            seen = await story(bench)
        for ours, reference in zip(seen, _references[story], strict=True):
            for name, expected in stored(reference, way.database)._asdict().items():
                assert (name, getattr(ours, name)) == (name, expected)
        return seen

    return told
