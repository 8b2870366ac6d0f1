"""What cannot be run is tried again, given up or left alone, and stops nothing else."""

import asyncio
import json
import uuid
from datetime import UTC, datetime

import asyncpg
import pytest

from streams.errors import ForeignJob
from streams.ingest.worker import IngestWorker
from streams.laravel.job import JobMetric
from tests.integration.ingest.bench import (
    WHEN,
    Bench,
    Clock,
    failures,
    metric,
    rows,
)


@pytest.mark.usefixtures("tenant")
async def test_a_bad_job_is_tried_again_later_and_spares_the_others(
    bench: Bench, worker: IngestWorker, database: asyncpg.Connection, clock: Clock
) -> None:
    for number in range(7):
        await bench.push(
            metric(f"good-{number}"), metric(f"bad-{number}", agent_id="a" * (65 if number == 3 else 64))
        )
    await worker.turn()
    assert [row[4] for row in await rows(database) if str(row[4]).startswith("good")] == [
        f"good-{number}" for number in (0, 1, 2, 4, 5, 6)
    ]
    assert await bench.delayed() == [(1, clock.now_s + 10)]
    assert await bench.reserved() == 0
    assert await bench.waiting() == []


@pytest.mark.usefixtures("tenant")
async def test_after_five_tries_a_job_is_in_failed_jobs_as_it_was(
    bench: Bench, worker: IngestWorker, database: asyncpg.Connection, clock: Clock
) -> None:
    payload = await bench.push(metric(agent_id="a" * 65))
    for wait_s in (10, 30, 60, 60):
        await worker.turn()
        assert await failures(database) == []
        clock.now_s += wait_s
    await worker.turn()
    [failed] = await failures(database)
    assert failed["uuid"] == json.loads(payload)["uuid"]
    assert (failed["connection"], failed["queue"]) == ("redis", "default")
    assert json.loads(failed["payload"]) | {"attempts": 0} == json.loads(payload)
    assert "StringDataRightTruncationError" in failed["exception"]
    assert abs(failed["failed_at"] - datetime.now(UTC).replace(tzinfo=None)).total_seconds() < 60
    assert await bench.is_empty()


@pytest.mark.parametrize(
    "bad",
    [
        JobMetric(agent_id="a", metric_name="m", value=1, timestamp="not a time", dedupe_id=None),
        JobMetric(agent_id="a", metric_name="m" * 65, value=1, timestamp=WHEN, dedupe_id=None),
        JobMetric(agent_id="a", metric_name="m", value=1, timestamp=WHEN, dedupe_id="d" * 129),
        JobMetric(agent_id="a\0", metric_name="m", value=1, timestamp=WHEN, dedupe_id=None),
    ],
    ids=["timestamp", "metric_name", "dedupe_id", "nul"],
)
@pytest.mark.usefixtures("tenant")
async def test_whatever_postgres_refuses_fails_the_job_and_not_the_worker(
    bench: Bench, worker: IngestWorker, clock: Clock, bad: JobMetric
) -> None:
    await bench.push(bad)
    await worker.turn()
    assert await bench.delayed() == [(1, clock.now_s + 10)]


@pytest.mark.usefixtures("tenant")
async def test_a_dedupe_id_zero_twice_fails_its_job_as_in_the_application(
    bench: Bench, worker: IngestWorker, database: asyncpg.Connection, clock: Clock
) -> None:
    await bench.push(metric("0"))
    await worker.turn()
    await bench.push(metric("0"))
    await worker.turn()
    assert len(await rows(database)) == 1
    assert await bench.delayed() == [(1, clock.now_s + 10)]


@pytest.mark.parametrize("tenant_id", [str(uuid.uuid4()), "not-a-uuid"], ids=["unknown", "no uuid"])
@pytest.mark.usefixtures("tenant")
async def test_the_job_of_a_tenant_that_is_gone_does_not_stop_the_others(
    bench: Bench, worker: IngestWorker, database: asyncpg.Connection, tenant_id: str
) -> None:
    await bench.push(metric("lost"), tenant_id=tenant_id, maxTries=1)
    await bench.push(metric("kept"))
    await worker.turn()
    assert [row[4] for row in await rows(database)] == ["kept"]
    assert len(await failures(database)) == 1
    assert await bench.is_empty()


async def test_the_job_of_a_tenant_that_is_gone_is_given_up_at_once(
    bench: Bench, worker: IngestWorker, database: asyncpg.Connection
) -> None:
    await bench.push(metric())
    await worker.turn()
    [failed] = await failures(database)
    assert bench.tenant_id in failed["exception"]


@pytest.mark.usefixtures("tenant")
async def test_a_job_that_workers_died_of_too_often_is_given_up_without_a_try(
    bench: Bench, worker: IngestWorker, database: asyncpg.Connection
) -> None:
    await bench.push(metric(), attempts=5)
    await worker.turn()
    assert await rows(database) == []
    assert "MaxAttemptsExceededException" in (await failures(database))[0]["exception"]


@pytest.mark.parametrize("rubbish", [b"rubbish", b"\xff\0", b"{}", b'{"attempts":0}', b"[" * 2_000])
@pytest.mark.usefixtures("tenant")
async def test_rubbish_is_kept_in_failed_jobs_and_does_not_stop_the_worker(
    bench: Bench, worker: IngestWorker, database: asyncpg.Connection, rubbish: bytes
) -> None:
    await bench.push_raw(rubbish)
    await bench.push(metric("kept"))
    await worker.turn()
    assert len(await failures(database)) == 1
    assert [row[4] for row in await rows(database)] == ["kept"]
    assert await bench.is_empty()


@pytest.mark.parametrize(
    "command", ["", "rubbish", "O:", "i:5;", 'O:32:"App\\Jobs\\ProcessMetricSubmission":0:{}', None]
)
@pytest.mark.usefixtures("tenant")
async def test_a_rubbish_command_is_kept_in_failed_jobs(
    bench: Bench, worker: IngestWorker, database: asyncpg.Connection, command: object
) -> None:
    await bench.push(data={"commandName": "App\\Jobs\\ProcessMetricSubmission", "command": command})
    await worker.turn()
    assert len(await failures(database)) == 1
    assert await bench.is_empty()


@pytest.mark.usefixtures("tenant")
async def test_a_foreign_job_stops_the_worker_and_stays_where_it_was(
    bench: Bench, worker: IngestWorker, database: asyncpg.Connection
) -> None:
    await bench.push(metric("before"))
    foreign = await bench.push(
        displayName="App\\Jobs\\SendInvoice",
        data={"commandName": "App\\Jobs\\SendInvoice", "command": 'O:20:"App\\Jobs\\SendInvoice":0:{}'},
    )
    after = await bench.push(metric("after"))
    with pytest.raises(ForeignJob, match="SendInvoice"):
        await asyncio.wait_for(worker.run(), 30)
    assert await bench.waiting() == [foreign, after]
    assert await bench.reserved() == 0
    assert [row[4] for row in await rows(database)] == ["before"]
