"""A worker of Laravel 8.83 runs what any version of Laravel, Horizon or handoff has written."""

import asyncio
import uuid

import pytest
from redis.asyncio import Redis

from streams.laravel.job import Extras, encode_job
from tests.contract.laravel import Laravel
from tests.golden import golden
from tests.golden.jobs import METRICS, PAYLOADS, TENANT

ROWS = [
    {
        "tenant_id": TENANT,
        "agent_id": "a1",
        "metric_name": "cpu.usage.percent",
        "value": "42.17",
        "timestamp": "2026-11-23 14:00:00.123456",
        "dedupe_id": "d-1",
    },
    {
        "tenant_id": TENANT,
        "agent_id": "a1",
        "metric_name": "cpu",
        "value": "1",
        "timestamp": "2026-11-23 14:00:00",
        "dedupe_id": None,
    },
]
ALL_EXTRAS = [
    Extras(created_at=True),
    Extras(horizon=True),
    Extras(delete_when_missing_models=True),
    Extras(created_at=True, horizon=True, delete_when_missing_models=True),
]


@pytest.fixture
def application(laravel: Laravel) -> Laravel:
    laravel.migrate(TENANT)
    return laravel


async def works(application: Laravel, redis: Redis, prefix: str, payload: bytes) -> None:
    """Let Laravel run a job, and see that it leaves nothing."""
    await redis.rpush(f"{prefix}queues:default", payload)
    await redis.rpush(f"{prefix}queues:default:notify", 1)
    await asyncio.to_thread(application.work)
    tables = await asyncio.to_thread(application.tables)
    assert (tables.rows, tables.failed) == (ROWS, [])
    assert await redis.keys(f"{prefix}*") == []


# 8.83 knows no alias instead of a class: an application that has one is at 12.50 at least.
@pytest.mark.parametrize("name", [name for name in PAYLOADS if "morph" not in name])
async def test_it_runs_what_each_version_writes(
    application: Laravel, redis: Redis, prefix: str, name: str
) -> None:
    await works(application, redis, prefix, golden(name))


@pytest.mark.parametrize("extras", ALL_EXTRAS, ids=range(4))
async def test_it_runs_our_jobs_with_whatever_newer_ones_look_for(
    application: Laravel, redis: Redis, prefix: str, extras: Extras
) -> None:
    payload = encode_job(TENANT, METRICS, str(uuid.uuid4()), "a" * 32, extras=extras, now_s=1_795_442_400.5)
    await works(application, redis, prefix, payload)
