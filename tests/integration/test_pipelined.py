"""Calls of a script that go to Redis together are each answered as if they had gone alone."""

import asyncio
from collections.abc import AsyncIterator, Awaitable
from typing import Any
from unittest.mock import patch

import pytest
from redis.asyncio import Redis
from redis.exceptions import ConnectionError as RedisConnectionError
from redis.exceptions import ResponseError

from streams.laravel.pipelined_script import PipelinedScript
from streams.laravel.redis_client import connect
from tests.parts.redis import Redis as RedisServer

COUNT = """
if ARGV[1] == 'refuse' then return redis.error_reply('refused') end
return redis.call('INCRBY', KEYS[1], ARGV[1])
"""


@pytest.fixture
async def redis(redis_url: str) -> AsyncIterator[Redis]:
    client = connect(redis_url)
    yield client
    await client.aclose()


def call(script: PipelinedScript, argument: object, key: str = "count") -> Awaitable[Any]:
    return asyncio.ensure_future(script(keys=[key], args=[argument]))


async def test_calls_of_one_moment_go_in_one_pipeline_and_in_their_order(redis: Redis) -> None:
    script = PipelinedScript(redis, COUNT)
    with patch.object(redis, "pipeline", wraps=redis.pipeline) as pipelines:
        await redis.script_load(COUNT)
        assert await asyncio.gather(*(call(script, number) for number in range(1, 6))) == [1, 3, 6, 10, 15]
        assert pipelines.call_count == 1
        assert await call(script, 1) == 16
        assert pipelines.call_count == 2


async def test_a_script_that_redis_has_forgotten_runs_once_for_each_call(redis: Redis) -> None:
    script = PipelinedScript(redis, COUNT)
    for expected in ([1, 2], [3, 4]):
        await redis.script_flush()
        assert await asyncio.gather(call(script, 1), call(script, 1)) == expected


async def test_the_error_of_one_call_is_not_that_of_the_others(redis: Redis) -> None:
    script = PipelinedScript(redis, COUNT)
    found = await asyncio.gather(*(call(script, each) for each in (1, "refuse", 1)), return_exceptions=True)
    assert (found[0], found[2]) == (1, 2)
    assert isinstance(found[1], ResponseError)
    assert "refused" in str(found[1])


async def test_a_caller_that_gives_up_takes_nothing_from_the_others(redis: Redis) -> None:
    script = PipelinedScript(redis, COUNT)
    given_up, other = asyncio.ensure_future(call(script, 1)), call(script, 1)
    await asyncio.sleep(0)
    given_up.cancel()
    assert await other == 2
    assert given_up.cancelled()


async def test_an_outage_is_told_to_each_caller_and_over_with_the_next_call(
    redis_server: RedisServer,
) -> None:
    async with connect(redis_server.new_database_url()) as client:
        script = PipelinedScript(client, COUNT)
        await call(script, 1)
        redis_server.kill()
        found = await asyncio.gather(call(script, 1), call(script, 1), return_exceptions=True)
        assert [isinstance(each, RedisConnectionError) for each in found] == [True, True]
        redis_server.restart()
        assert await call(script, 1, "another") == 1
