"""Workers that join, die, come back and leave in the middle of a stream change nothing in the database."""

import asyncio
from collections import Counter
from contextlib import ExitStack
from datetime import UTC, datetime, timedelta
from itertools import islice
from typing import Any

import redis.asyncio as redis

from streams.demo.fleet import Fleet
from streams.demo.simulation import PlannedPublication, RowId, Shares, Simulation, expect
from streams.models import Message, RejectedMessage
from streams.mqtt.address import Address
from streams.mqtt.publisher import MqttPublisher
from streams.wire import rejected
from tests.acceptance.conftest import Pipeline
from tests.parts.eventually import eventually
from tests.parts.topics import group_lag, read_topic
from tests.parts.worker import Worker

MESSAGES, RATE = 20_000, 2_000
JOIN_AT, KILL_AT, RESTART_AT, LEAVE_AT = 2_000, 8_000, 10_000, 16_000
DRAIN_S = 90.0
COMPARED_BYTES = 1_000
"""Of a payload that is too large no more is kept than its first KiB."""


async def test_a_stream_through_joins_kills_and_leaves_gives_the_rows_of_a_plain_upsert(
    pipeline: Pipeline,
) -> None:
    first = pipeline.worker()
    second = Worker(pipeline.environment)
    pipeline.ingest()
    sent: list[PlannedPublication] = []
    with ExitStack() as stack:
        stack.callback(second.remove)
        storm = asyncio.create_task(_storm(first, second, sent))
        await _publish(pipeline, sent)
        await storm
        assert len(sent) == MESSAGES
        await _drained(pipeline, sent)
    expected = expect(sent)
    assert await _rows(pipeline, expected.rows) == expected.rows
    malformed = Counter((p.topic, p.payload[:COMPARED_BYTES]) for p in sent if p.reason)
    assert not malformed - await _rejected(pipeline), "a malformed message is not among the rejected"


async def _publish(pipeline: Pipeline, sent: list[PlannedPublication]) -> None:
    shares = Shares(duplicates=0.05, corrections=0.01, malformed=0.01)
    plan = Simulation(
        pipeline.tenants, shares=shares, seed=7, start=datetime.now(UTC), step=timedelta(milliseconds=1)
    )
    async with MqttPublisher(Address.parse(pipeline.mosquitto.url)) as publisher:
        fleet = Fleet(islice(plan, MESSAGES), publisher, rate=RATE, on_sent=sent.append)
        summary = await fleet.run()
    assert summary.acked.total() == MESSAGES


async def _storm(first: Worker, second: Worker, sent: list[PlannedPublication]) -> None:
    async def after(count: int) -> None:
        await eventually(lambda: len(sent) >= count, timeout_s=120)

    await after(JOIN_AT)
    joining = asyncio.create_task(asyncio.to_thread(second.start))
    await after(KILL_AT)
    first.kill()
    await after(RESTART_AT)
    restarting = asyncio.create_task(asyncio.to_thread(first.start))
    await after(LEAVE_AT)
    await joining
    await asyncio.to_thread(second.stop)
    await restarting


async def _drained(pipeline: Pipeline, sent: list[PlannedPublication]) -> None:
    """Wait until nothing is under way: all messages in metrics.raw, no lag, the queue empty."""
    worker_lag = _Lag(pipeline)
    await eventually(worker_lag.is_gone, timeout_s=DRAIN_S, interval_s=0.5)
    rows = len(expect(sent).rows)

    async def all_rows() -> bool:
        (answer,) = await pipeline.query("select count(*) from metrics_raw")
        return bool(answer["count"] >= rows)

    await eventually(all_rows, timeout_s=DRAIN_S, interval_s=0.5)
    await eventually(worker_lag.is_gone, timeout_s=DRAIN_S, interval_s=0.5)


class _Lag:
    """Whether the job queue is empty and every topic was read to its end, by what the group committed."""

    def __init__(self, pipeline: Pipeline) -> None:
        self._pipeline = pipeline

    async def is_gone(self) -> bool:
        lag = await group_lag(
            self._pipeline.kafka.bootstrap,
            self._pipeline.environment["CONSUMER_GROUP"],
            [f"{self._pipeline.topics}.raw", f"{self._pipeline.topics}.unique"],
        )
        return lag == 0 and await self._queued() == 0

    async def _queued(self) -> int:
        prefix = self._pipeline.environment["QUEUE_PREFIX"]
        async with redis.from_url(self._pipeline.environment["REDIS_URL"]) as client:
            return int(await client.llen(f"{prefix}queues:default")) + int(
                await client.zcard(f"{prefix}queues:default:reserved")
            )


async def _rows(pipeline: Pipeline, expected: dict[RowId, float]) -> dict[RowId, float]:
    """Return the rows by the identity that the devices gave them; two of one identity would be a doubling."""
    found: dict[RowId, float] = {}
    for row in await pipeline.rows():
        row_id = _row_id(row, expected)
        assert row_id not in found, f"{row_id} stands twice"
        found[row_id] = row["value"]
    return found


def _row_id(row: dict[str, Any], expected: dict[RowId, float]) -> RowId:
    by_id = RowId(row["tenant_id"], row["dedupe_id"])
    if by_id in expected:
        return by_id
    at = row["timestamp"].strftime("%Y-%m-%d %H:%M:%S.%f")
    return RowId(row["tenant_id"], "", row["agent_id"], row["metric_name"], at)


async def _rejected(pipeline: Pipeline) -> Counter[tuple[str, bytes]]:
    found: Counter[tuple[str, bytes]] = Counter()
    for record in await read_topic(pipeline.kafka.bootstrap, f"{pipeline.topics}.rejected"):
        for message in rejected.decode(record.value).messages:
            found[message.topic, _payload(message)] += 1
    return found


def _payload(message: RejectedMessage) -> bytes:
    return Message(message.topic, message.payload, message.payload_base64).payload_bytes()[:COMPARED_BYTES]
