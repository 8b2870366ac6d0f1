"""What the tests of ingest share: the queue from outside, a worker at work, the tables."""

import asyncio
import itertools
import json
import uuid
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from math import ceil
from typing import Any

import asyncpg

from streams.counters import Statistics
from streams.ingest.store import MetricStore
from streams.ingest.worker import IngestWorker, Until
from streams.ingest.worker_pool import WorkerPool
from streams.laravel.job import JOB_CLASS, JobMetric, encode_job
from streams.laravel.redis_client import connect
from streams.laravel.reserve import ReservingQueue
from streams.tasks import ended_well
from tests.parts.eventually import eventually

WHEN = "2026-11-23 14:00:00.123456"
RETRY_AFTER_S = 90
numbers = itertools.count()


class Clock:
    def __init__(self) -> None:
        self.now_s = 1_800_000_000.0

    def __call__(self) -> float:
        return self.now_s


class Bench:
    """The queue's Redis, seen from outside, with names of the test's own."""

    def __init__(self, redis_url: str, prefix: str, tenant_id: str) -> None:
        self.redis_url = redis_url
        self.redis = connect(redis_url)
        self.prefix = prefix
        self.tenant_id = tenant_id
        self.name = f"{prefix}queues:default"

    async def push(self, *metrics: JobMetric, tenant_id: str | None = None, **fields: object) -> bytes:
        job_id = f"{next(numbers):032}"
        payload = encode_job(tenant_id or self.tenant_id, metrics, str(uuid.uuid4()), job_id)
        if fields:
            payload = json.dumps({**json.loads(payload), **fields}).encode()
        await self.push_raw(payload)
        return payload

    async def push_raw(self, payload: bytes) -> None:
        # Both at once, as Laravel does it: a worker that is quicker than the second leaves a notice behind.
        async with self.redis.pipeline(transaction=True) as transaction:
            transaction.rpush(self.name, payload)
            transaction.rpush(f"{self.name}:notify", 1)
            await transaction.execute()

    async def waiting(self) -> list[bytes]:
        return await self.redis.lrange(self.name, 0, -1)

    async def delayed(self) -> list[tuple[int, int]]:
        """Return for each job its attempts, and the whole second from which on a worker takes it."""
        entries = await self.redis.zrange(f"{self.name}:delayed", 0, -1, withscores=True)
        return [(json.loads(member)["attempts"], ceil(score)) for member, score in entries]

    async def reserved(self) -> int:
        return int(await self.redis.zcard(f"{self.name}:reserved"))

    async def is_empty(self) -> bool:
        """Tell whether there is no job; a worker's mark of what it held goes with its next turn."""
        found = {key.decode() for key in await self.redis.keys(f"{self.prefix}*")}
        return found <= {f"{self.name}:held"}

    async def holds_nothing(self) -> bool:
        return not await self.redis.exists(f"{self.name}:held")


def metric(dedupe_id: str | None = None, value: float = 42.17, agent_id: str = "edge-7") -> JobMetric:
    return JobMetric(
        agent_id=agent_id, metric_name="cpu.usage.percent", value=value, timestamp=WHEN, dedupe_id=dedupe_id
    )


def make_worker(
    queue: ReservingQueue,
    store: MetricStore,
    *,
    until: Until = Until.STOPPED,
    job_class: str = JOB_CLASS,
    statistics: Statistics | None = None,
    **names: Any,
) -> IngestWorker:
    return IngestWorker(
        queue,
        store,
        queue_name="default",
        statistics=statistics or Statistics(),
        job_class=job_class,
        until=until,
        clock=lambda: datetime(2026, 11, 24, 1, 2, 3, tzinfo=UTC),
        **names,
    )


@asynccontextmanager
async def running(worker: IngestWorker | WorkerPool) -> AsyncIterator[None]:
    task = asyncio.create_task(worker.run())
    try:
        yield
        worker.stop()
        await asyncio.wait_for(task, 10)
    finally:
        await ended_well(task)


@asynccontextmanager
async def listening(bench: Bench) -> AsyncIterator[Callable[[], Awaitable[bytes]]]:
    async with bench.redis.pubsub() as pubsub:
        await pubsub.subscribe(f"{bench.prefix}tenant.{bench.tenant_id}.metrics")

        async def heard() -> bytes:
            async def message() -> dict[str, Any] | None:
                found: dict[str, Any] | None = await pubsub.get_message(ignore_subscribe_messages=True)
                return found

            return bytes((await eventually(message))["data"])

        yield heard


async def rows(database: asyncpg.Connection) -> list[tuple[object, ...]]:
    found = await database.fetch(
        "select agent_id, metric_name, value, timestamp::text, dedupe_id from metrics_raw order by id"
    )
    return [tuple(row) for row in found]


async def failures(database: asyncpg.Connection) -> list[asyncpg.Record]:
    return await database.fetch("select * from failed_jobs order by id")
