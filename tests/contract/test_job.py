"""What there is to say of a job beside `test_ways`: other names, long numbers, ids twice, jobs of others."""

import asyncio
import uuid

import pytest
from redis.asyncio import Redis

from streams.counters import Statistics
from streams.errors import ForeignJob
from streams.ingest.store import FakeMetricStore
from streams.ingest.worker import IngestWorker
from streams.laravel.job import JobMetric, encode_job
from tests.contract.bench import Bench, Metric, Seen, metric
from tests.contract.conftest import MakeQueue, OpenBench
from tests.contract.laravel import TENANT, Laravel
from tests.contract.ways import Way


@pytest.mark.parametrize("connection", ["default", None])
async def test_laravel_runs_the_job_of_another_application_with_its_own_names(
    laravel: Laravel, redis: Redis, prefix: str, connection: str | None
) -> None:
    laravel.migrate(TENANT)
    payload = encode_job(
        TENANT,
        [
            JobMetric(
                agent_id="edge-7",
                metric_name="cpu",
                value=42.17,
                timestamp="2026-11-23 14:00:00",
                dedupe_id=None,
            )
        ],
        str(uuid.uuid4()),
        "a" * 32,
        job_class=r"Acme\Jobs\UploadMetrics",
        model_class=r"Acme\Models\Workspace",
        model_connection=connection,
    )
    await redis.rpush(f"{prefix}queues:default", payload)
    await redis.rpush(f"{prefix}queues:default:notify", 1)
    await asyncio.to_thread(laravel.work)
    assert [row["agent_id"] for row in laravel.tables().rows] == ["edge-7"]
    assert await redis.keys(f"{prefix}*") == []


async def worked(bench: Bench, *metrics: Metric) -> Seen:
    await bench.push(*metrics)
    await bench.work()
    return await bench.look()


@pytest.mark.parametrize(
    ("worker", "database", "kept"),
    [
        ("laravel", "postgres", 123_456_789.123_46),
        ("laravel", "mariadb", 123_456_789.123_5),
        ("laravel", "sqlite", 123_456_789.123_46),
        ("ingest", "postgres", 123_456_789.123_456_7),
    ],
)
async def test_of_a_long_number_laravel_keeps_14_digits_mariadb_four_decimals_and_ingest_all(
    open_bench: OpenBench, worker: str, database: str, kept: float
) -> None:
    """PHP's ``precision``, 14 unless its configuration says otherwise, cuts what PDO binds."""
    async with open_bench(Way("handoff", worker, database)) as bench:
        seen = await worked(bench, metric(None, 123_456_789.123_456_7))
    assert [row.value for row in seen.rows] == [kept]


@pytest.mark.parametrize(
    ("worker", "database", "values"),
    [
        ("laravel", "postgres", []),
        ("laravel", "mariadb", [2]),
        ("laravel", "sqlite", [2]),
        ("ingest", "postgres", [2]),
    ],
)
async def test_a_job_with_an_id_twice_which_handoff_never_pushes_fails_in_laravel_on_postgres_alone(
    open_bench: OpenBench, worker: str, database: str, values: list[float]
) -> None:
    """PostgreSQL refuses the statement (21000: cannot affect row a second time); elsewhere the last wins."""
    async with open_bench(Way("laravel", worker, database)) as bench:
        seen = await worked(bench, metric("d", 1), metric("d", 2))
    assert [row.value for row in seen.rows] == values
    assert list(seen.queue) == ([] if values else [":delayed"])


async def test_of_an_id_twice_in_a_chunk_handoff_pushes_the_last_so_that_no_job_fails(
    open_bench: OpenBench,
) -> None:
    async with open_bench(Way("handoff", "laravel", "postgres")) as bench:
        seen = await worked(bench, metric("d", 1), metric("d", 2))
    assert ([row.value for row in seen.rows], seen.queue) == ([2], {})


async def test_another_job_of_the_application_stops_ingest_and_is_left_for_laravel(
    laravel: Laravel, redis: Redis, prefix: str, make_queue: MakeQueue
) -> None:
    laravel.dispatch_other()
    before = await redis.lrange(f"{prefix}queues:default", 0, -1)
    worker = IngestWorker(make_queue(), FakeMetricStore(), queue_name="default", statistics=Statistics())
    with pytest.raises(ForeignJob, match="SendInvoice"):
        await worker.run()
    assert await redis.lrange(f"{prefix}queues:default", 0, -1) == before
    laravel.work()
    assert await redis.keys(f"{prefix}*") == []
