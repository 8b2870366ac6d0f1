"""What is away stops what needs it, and nothing else."""

import asyncio
import uuid

import pytest
import redis.asyncio as redis_client

from streams.mqtt.address import Address
from streams.mqtt.publisher import MqttPublisher
from tests.acceptance.conftest import Pipeline
from tests.parts.eventually import eventually
from tests.parts.postgres import Postgres
from tests.parts.redis import Redis
from tests.parts.topics import read_topic

MANY = 300
"""With a chunk for each, far more than an agent's queue and its lane hold."""
IN_TIME_S = 60.0


@pytest.fixture
def own_redis(pipeline: Pipeline) -> Redis:
    """A Redis of the test's own, which survives a stop."""
    server: Redis = pipeline.own(lambda: Redis(append_only=True))
    pipeline.environment |= {"REDIS_URL": server.url, "CHUNK_LINGER_MS": "0", "CHUNK_MAX_MESSAGES": "1"}
    return server


async def _publish(pipeline: Pipeline, tenant: str, mark: str) -> None:
    async with MqttPublisher(Address.parse(pipeline.mosquitto.url)) as publisher:
        topic = f"metrics/{tenant}/edge-1/load"
        payloads = (b'{"value":1,"dedupe_id":"%s-%d"}' % (mark.encode(), n) for n in range(MANY))
        assert all(await asyncio.gather(*(publisher.publish(topic, payload, 1) for payload in payloads)))


async def _unique(pipeline: Pipeline) -> int:
    records = await read_topic(pipeline.kafka.bootstrap, f"{pipeline.topics}.unique")
    return sum(int(dict(record.headers)["messages"]) for record in records)


async def _jobs(pipeline: Pipeline, server: Redis) -> int:
    async with redis_client.from_url(server.url) as client:
        return int(await client.llen(f"{pipeline.environment['QUEUE_PREFIX']}queues:default"))


async def test_a_redis_that_is_away_does_not_stop_refine(pipeline: Pipeline, own_redis: Redis) -> None:
    pipeline.worker()
    own_redis.stop()
    await _publish(pipeline, pipeline.tenants[0], "first")
    await _publish(pipeline, pipeline.tenants[1], "second")

    async def refined() -> bool:
        return await _unique(pipeline) == 2 * MANY

    await eventually(refined, IN_TIME_S, interval_s=0.5)
    own_redis.start()

    async def handed_off() -> bool:
        return await _jobs(pipeline, own_redis) == 2 * MANY

    await eventually(handed_off, IN_TIME_S, interval_s=0.5)


async def test_a_postgres_that_is_away_does_not_stop_handoff(
    pipeline: Pipeline, own_redis: Redis, postgres: Postgres
) -> None:
    pipeline.worker()
    own_redis.stop()
    await _publish(pipeline, pipeline.tenants[0], "known")

    async def refined() -> bool:
        return await _unique(pipeline) == MANY

    await eventually(refined, IN_TIME_S, interval_s=0.5)
    postgres.stop()
    await _publish(pipeline, str(uuid.uuid4()), "unknown")  # refine waits at the first of these
    own_redis.start()

    async def handed_off() -> bool:
        return await _jobs(pipeline, own_redis) == MANY

    await eventually(handed_off, IN_TIME_S, interval_s=0.5)
