"""One way through the queue, led by a test: who pushes, who works, which database is behind it."""

import asyncio
import itertools
import json
from collections.abc import Mapping
from datetime import UTC, datetime
from math import ceil
from typing import Any, NamedTuple

from redis.asyncio import Redis
from redis.asyncio.client import PubSub

from agents.handoff import Handoff
from streams.counters import Statistics
from streams.database.session import DatabaseSession
from streams.ingest.store import PostgresStore
from streams.ingest.worker import IngestWorker
from streams.kafka.record_loop import Record
from streams.laravel.push import RedisJobQueue
from streams.laravel.reserve import ReservingQueue
from streams.laravel.testing import FakeReplays
from streams.models import Origin, Reading
from streams.wire import unique
from tests.contract.laravel import TENANT, Laravel
from tests.contract.ways import Way

RETRY_AFTER_S = 90
NOW = 1_800_000_000
"""What both workers take for the time, unless a test says otherwise."""

Metric = dict[str, Any]
"""A metric as an application dispatches it."""
_LAST = b"the last message"


class Row(NamedTuple):
    """A row of metrics_raw."""

    dedupe_id: str | None
    agent_id: str
    metric_name: str
    value: float
    timestamp: datetime
    tenant_id: str


class Job(NamedTuple):
    """A job in the queue or in failed_jobs."""

    payload: dict[str, Any]
    """Without what names it."""
    where: Any
    """In a sorted set the second from which on a worker takes it.

    In failed_jobs the connection, the queue, and what the queue itself says of the job.
    """


class Seen(NamedTuple):
    """All that the way has left behind; equal where two ways did the same."""

    rows: list[Row]
    """In an order of their own: ingest writes them in another than Laravel."""
    messages: list[bytes]
    """Published since the last look, byte for byte."""
    queue: dict[str, list[Job]]
    """By what follows the queue's name in the key; without those that hold nothing."""
    failed: list[Job]


def metric(dedupe_id: str | None = None, value: object = 42.17, **fields: object) -> Metric:
    """Return a metric that is like others but for what is named; its members in the order of the job's."""
    named = {"agent_id": "edge-7", "metric_name": "cpu", "value": value}
    return {**named, "timestamp": "2026-11-23 14:00:00.123456", "dedupe_id": dedupe_id, **fields}


class Bench:
    """The application, the queue and our part of it, on a Redis and a database of the test's own.

    Args:
        way: what to use of it.
        laravel: the application; its tables are there.
        session: of ingest, where it works.
        redis: the queue's.
        pubsub: listens to what is published for `TENANT`.
        prefix: before all keys and channels.
    """

    def __init__(
        self,
        way: Way,
        laravel: Laravel,
        *,
        session: DatabaseSession | None,
        redis: Redis,
        pubsub: PubSub,
        prefix: str,
    ) -> None:
        self.way = way
        self.laravel = laravel
        self._session = session
        self._redis = redis
        self._pubsub = pubsub
        self._prefix = prefix
        self._pushed = 0
        self._workers = itertools.cycle(["ingest", "laravel"] if way.worker == "both" else [way.worker])
        queue = RedisJobQueue(
            redis, prefix=prefix, queue="default", topics="metrics", owner="metric-streams", max_jobs=100
        )
        statistics = Statistics()
        self._handoff = Handoff(
            queue,
            FakeReplays(statistics),
            topic="metrics.unique",
            derive_ids=False,
            statistics=statistics,
        )

    async def push(self, *metrics: Mapping[str, Any]) -> None:
        """Push one job, as the way's pusher does."""
        if self.way.pusher == "laravel":
            await asyncio.to_thread(self.laravel.dispatch, TENANT, metrics)
        else:
            await self._handoff.hand_off([self._record(metrics)])
        self._pushed += 1

    async def amend(self, **fields: object) -> None:
        """Give the payload that was pushed last other fields."""
        name = f"{self._prefix}queues:default"
        payload = json.loads(await self._redis.lindex(name, -1) or b"")
        await self._redis.lset(name, -1, json.dumps({**payload, **fields}))

    async def work(self, jobs: int = 1, *, now: int = NOW) -> None:
        """Let the way's worker run the next jobs, at this time."""
        if next(self._workers) == "laravel":
            await asyncio.to_thread(self.laravel.work, jobs, now=now)
        else:
            queue = self._reserving(now)
            await self._ingest(now, queue).turn()
            await queue.hold_nothing()  # as one that ends in good order

    async def abandon(self, *, now: int) -> None:
        """Let the way's worker take the next job, and die in the middle of it."""
        if next(self._workers) == "laravel":
            await asyncio.to_thread(self.laravel.reserve, now=now)
        else:
            queue = self._reserving(now)
            await queue.reserve(max_jobs=1, max_bytes=1)
            # Without its mark, by which the next ingest would run the job sooner than Laravel's worker does.
            await self._redis.delete(f"{self._prefix}queues:default:held")

    async def execute(self, statement: str) -> None:
        """Run an SQL statement."""
        await asyncio.to_thread(self.laravel.execute, statement)

    async def look(self) -> Seen:
        """Return what there is now."""
        tables = await asyncio.to_thread(self.laravel.tables)
        rows = sorted(map(_row, tables.rows), key=repr)
        return Seen(
            rows, await self._messages(), await self._queue(), [_failed(job) for job in tables.failed]
        )

    def _record(self, metrics: tuple[Mapping[str, Any], ...]) -> Record:
        """Return the metrics as a chunk of metrics.unique."""
        readings = [
            Reading(index=index, tenant_id=TENANT, key=f"{index:032x}", **metric)
            for index, metric in enumerate(metrics)
        ]
        value = unique.encode(Origin(3, 1_000 + self._pushed), readings)
        return Record(3, self._pushed, value, {"epoch": b"1"})

    def _ingest(self, now: int, queue: ReservingQueue) -> IngestWorker:
        assert self._session is not None
        return IngestWorker(
            queue,
            PostgresStore(self._session),
            queue_name="default",
            statistics=Statistics(),
            clock=lambda: datetime.fromtimestamp(now, UTC),
        )

    def _reserving(self, now: int) -> ReservingQueue:
        return ReservingQueue(
            self._redis,
            prefix=self._prefix,
            queue="default",
            retry_after_s=RETRY_AFTER_S,
            clock=lambda: now,
        )

    async def _messages(self) -> list[bytes]:
        """Return what was published: all that stands before a message of our own."""
        await self._redis.publish(channel(self._prefix), _LAST)
        messages: list[bytes] = []
        while _LAST not in messages:
            found = await self._pubsub.get_message(ignore_subscribe_messages=True, timeout=10)
            messages += [found["data"]] if found else []
        return messages[:-1]

    async def _queue(self) -> dict[str, list[Job]]:
        name = f"{self._prefix}queues:default"
        found = {
            "": [Job(_nameless(payload), None) for payload in await self._redis.lrange(name, 0, -1)],
            ":notify": [Job({}, notice) for notice in await self._redis.lrange(f"{name}:notify", 0, -1)],
        }
        for kind in (":delayed", ":reserved"):
            entries = await self._redis.zrange(f"{name}{kind}", 0, -1, withscores=True)
            found[kind] = [Job(_nameless(payload), ceil(score)) for payload, score in entries]
        return {kind: jobs for kind, jobs in found.items() if jobs}


def channel(prefix: str) -> str:
    """Return where the metrics of `TENANT` are published."""
    return f"{prefix}tenant.{TENANT}.metrics"


def stored(seen: Seen, database: str) -> Seen:
    """Return what another database would hold: the value's column is a double(16,4) to MariaDB alone."""
    if database != "mariadb":
        return seen
    rows = [row._replace(value=round(row.value, 4)) for row in seen.rows]
    return seen._replace(rows=sorted(rows, key=repr))


def _row(row: Mapping[str, Any]) -> Row:
    return Row(
        row["dedupe_id"],
        row["agent_id"],
        row["metric_name"],
        float(row["value"]),
        datetime.fromisoformat(row["timestamp"]),
        row["tenant_id"],
    )


def _failed(job: Mapping[str, str]) -> Job:
    assert json.loads(job["payload"])["uuid"] == job["uuid"]
    words = job["exception"].partition(" in /")[0]
    assert words
    of_the_queue = words if words.startswith("Illuminate\\Queue") else None  # a database has words of its own
    return Job(_nameless(job["payload"]), (job["connection"], job["queue"], of_the_queue))


def _nameless(payload: str | bytes) -> dict[str, Any]:
    """Return a payload without what differs from job to job; its command is compared byte for byte."""
    return {name: value for name, value in json.loads(payload).items() if name not in ("uuid", "id")}
