"""A task that talks to Redis ends when it is cancelled, wherever that finds it."""

import asyncio
import random
from collections.abc import Callable

from redis.asyncio import Redis

from tests.parts.redis import Redis as RedisServer

TRIALS, MOST_TURNS = 2_000, 12

Clients = Callable[[str], Redis]


async def test_a_cancellation_is_never_lost_in_the_client(
    redis_server: RedisServer, clients: Clients
) -> None:
    redis = clients(redis_server.new_database_url())
    await redis.ping()
    dice = random.Random(1)  # noqa: S311 - repeatable is what it must be
    caught = lost = 0
    for _ in range(TRIALS):
        task = asyncio.create_task(redis.zrange("a key", 0, -1))
        for _ in range(dice.randrange(MOST_TURNS)):
            await asyncio.sleep(0)
        if not task.cancel():
            continue  # it was over already
        await asyncio.wait({task})
        caught, lost = caught + task.cancelled(), lost + (not task.cancelled())
    assert lost == 0
    assert caught > TRIALS / 10
    assert await redis.ping()  # and the client is as good as before


async def test_what_is_asked_after_a_cancellation_gets_its_own_answer(
    redis_server: RedisServer, clients: Clients
) -> None:
    redis = clients(redis_server.new_database_url())
    dice = random.Random(2)  # noqa: S311 - repeatable is what it must be
    for number in range(300):
        task = asyncio.create_task(redis.echo(f"given up {number}"))
        for _ in range(dice.randrange(MOST_TURNS)):
            await asyncio.sleep(0)
        task.cancel()
        await asyncio.wait({task})
        assert await redis.echo(f"asked {number}") == f"asked {number}".encode()
