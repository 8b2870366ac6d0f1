from collections.abc import AsyncIterator, Callable
from pathlib import Path

import pytest
from redis.asyncio import Redis

from streams.queue.handoff import connect
from streams.queue.reserve import ReservingQueue
from tests.contract.laravel import Laravel, postgres_connection, sqlite_connection
from tests.parts.php import Php

RETRY_AFTER_S = 90


@pytest.fixture
def prefix(unique: str) -> str:
    """Laravel's prefix, with which channels too are this test's own."""
    return f"{unique}_database_"


@pytest.fixture
def laravel(php: Php, redis_url: str, database_url: str, prefix: str) -> Laravel:
    """Laravel on PostgreSQL, its tables not yet made."""
    database = postgres_connection(database_url)
    return Laravel(php, redis_url, database, prefix=prefix, retry_after_s=RETRY_AFTER_S)


@pytest.fixture
def laravel_on_sqlite(php: Php, redis_url: str, tmp_path: Path, prefix: str) -> Laravel:
    """Laravel on SQLite, on the same queue."""
    database = sqlite_connection(tmp_path / "application.sqlite")
    return Laravel(php, redis_url, database, prefix=prefix, retry_after_s=RETRY_AFTER_S)


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
