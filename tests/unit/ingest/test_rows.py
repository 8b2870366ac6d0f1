import uuid

from streams.ingest.rows import rows_of, stamped
from streams.laravel.job import Job, JobMetric, decode_job, encode_job

TENANT, OTHER = "abcdef11-1111-4111-8111-111111111111", "22222222-2222-4222-8222-222222222222"
WHEN = "2026-11-23 14:00:00.000000"


def job(*metrics: JobMetric, tenant_id: str = TENANT) -> Job:
    return decode_job(encode_job(tenant_id, metrics, str(uuid.uuid4()), "x" * 32))


def metric(dedupe_id: str | None, value: float = 1, timestamp: str | None = WHEN) -> JobMetric:
    return JobMetric(
        agent_id="agent", metric_name="metric", value=value, timestamp=timestamp, dedupe_id=dedupe_id
    )


def test_what_php_calls_empty_is_inserted_and_the_rest_upserted() -> None:
    upserts, inserts = rows_of([job(metric(None), metric(""), metric("0"), metric("00"), metric("a"))])
    assert [row.metric.dedupe_id for row in inserts] == [None, "", "0"]
    assert [row.metric.dedupe_id for row in upserts] == ["00", "a"]


def test_of_a_dedupe_id_in_several_jobs_the_last_wins() -> None:
    upserts, _ = rows_of([job(metric("a", 1), metric("b", 2)), job(metric("a", 3))])
    assert {row.metric.dedupe_id: row.metric.value for row in upserts} == {"a": 3.0, "b": 2.0}


def test_the_same_dedupe_id_of_two_tenants_is_two_rows() -> None:
    upserts, _ = rows_of([job(metric("a", 1)), job(metric("a", 2), tenant_id=OTHER)])
    assert {str(row.tenant_id): row.metric.value for row in upserts} == {TENANT: 1.0, OTHER: 2.0}


def test_upserts_come_in_the_order_of_their_keys_so_that_workers_do_not_deadlock() -> None:
    upserts, _ = rows_of([job(metric("b"), metric("a")), job(metric("b"), metric("a"), tenant_id=OTHER)])
    assert [(str(row.tenant_id), row.metric.dedupe_id) for row in upserts] == [
        (OTHER, "a"),
        (OTHER, "b"),
        (TENANT, "a"),
        (TENANT, "b"),
    ]


def test_a_tenant_in_capitals_is_the_same_tenant() -> None:
    upserts, _ = rows_of([job(metric("a", 1)), job(metric("a", 2), tenant_id=TENANT.upper())])
    assert [row.metric.value for row in upserts] == [2.0]


def test_a_missing_timestamp_alone_is_replaced() -> None:
    earlier = "2026-11-23 13:59:59"
    filled = stamped(job(metric("a", timestamp=None), metric("b", timestamp=earlier)), WHEN)
    assert [one.timestamp for one in filled.metrics] == [WHEN, earlier]
    untouched = job(metric("a"))
    assert stamped(untouched, "never") is untouched
