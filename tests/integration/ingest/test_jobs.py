"""Jobs become rows and messages."""

import json

import asyncpg
import pytest

from streams.counters import Statistics
from streams.database.session import DatabaseSession
from streams.ingest.store import PostgresStore
from streams.ingest.worker import IngestWorker
from streams.laravel.job import JobMetric
from streams.laravel.redis_client import connect
from streams.laravel.reserve import ReservingQueue
from tests.integration.ingest.bench import (
    RETRY_AFTER_S,
    WHEN,
    Bench,
    Clock,
    listening,
    make_worker,
    metric,
    rows,
    running,
)
from tests.parts.eventually import eventually


@pytest.mark.usefixtures("tenant")
async def test_a_job_becomes_rows_and_a_message(
    bench: Bench, worker: IngestWorker, database: asyncpg.Connection
) -> None:
    async with listening(bench) as heard:
        await bench.push(metric("d-1"), metric(None, 1))
        await worker.turn()
        assert await heard() == (
            b'[{"agent_id":"edge-7","metric_name":"cpu.usage.percent","value":42.17,"timestamp":"'
            + WHEN.encode()
            + b'"},'
            b'{"agent_id":"edge-7","metric_name":"cpu.usage.percent","value":1,"timestamp":"'
            + WHEN.encode()
            + b'"}]'
        )
    assert sorted(await rows(database), key=str) == [
        ("edge-7", "cpu.usage.percent", 1.0, WHEN, None),
        ("edge-7", "cpu.usage.percent", 42.17, WHEN, "d-1"),
    ]
    assert await bench.is_empty()


@pytest.mark.usefixtures("tenant")
async def test_the_last_write_of_a_dedupe_id_wins_within_and_across_turns(
    bench: Bench, worker: IngestWorker, database: asyncpg.Connection
) -> None:
    for value in (1, 2, 3):
        await bench.push(metric("d-1", value, agent_id=f"edge-{value}"))
    await worker.turn()
    assert await rows(database) == [("edge-3", "cpu.usage.percent", 3.0, WHEN, "d-1")]
    await bench.push(metric("d-1", 4))
    await worker.turn()
    assert [row[2] for row in await rows(database)] == [4.0]


@pytest.mark.usefixtures("tenant")
async def test_a_missing_timestamp_becomes_now_in_row_and_message(
    bench: Bench, worker: IngestWorker, database: asyncpg.Connection
) -> None:
    async with listening(bench) as heard:
        await bench.push(JobMetric(agent_id="a", metric_name="m", value=1, timestamp=None, dedupe_id=None))
        await worker.turn()
        assert json.loads(await heard())[0]["timestamp"] == "2026-11-24 01:02:03.000000"
    assert [row[3] for row in await rows(database)] == ["2026-11-24 01:02:03"]


@pytest.mark.usefixtures("tenant")
async def test_jobs_are_run_while_they_come_and_the_rest_of_the_time_it_waits(
    bench: Bench, worker: IngestWorker, database: asyncpg.Connection
) -> None:
    async with running(worker):
        for number in range(3):
            await bench.push(metric(f"d-{number}"))

            async def landed(expected: int = number + 1) -> bool:
                return len(await rows(database)) == expected

            await eventually(landed)


@pytest.mark.usefixtures("tenant")
async def test_two_workers_share_a_queue(
    bench: Bench, clock: Clock, worker: IngestWorker, database: asyncpg.Connection, database_url: str
) -> None:
    expected = {f"d-{number}" for number in range(1_000)}
    client = connect(bench.redis_url)
    other_queue = ReservingQueue(
        client, prefix=bench.prefix, queue="default", retry_after_s=RETRY_AFTER_S, clock=clock
    )
    async with (
        DatabaseSession(database_url, Statistics()) as other_session,
        running(worker),
        running(make_worker(other_queue, PostgresStore(other_session))),
    ):
        for dedupe_id in expected:
            await bench.push(metric(dedupe_id))

        async def landed() -> bool:
            return len(await rows(database)) == len(expected)

        await eventually(landed, 20)
        # A notice that the one took while the other took its job is left to whoever waits next.
        await eventually(bench.is_empty)
    await client.aclose()
