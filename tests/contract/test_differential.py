"""Jobs of any values mean the same in PHP and in our code, whoever of the two wrote them."""

import os
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from streams.laravel.job import JOB_CLASS, JobMetric, decode_job, encode_job
from streams.models import members_of
from tests.contract.differential import (
    Answer,
    Differential,
    Told,
    conversing,
    message_of_ingest,
    metrics_of,
    rows_of_ingest,
    rows_of_php,
    told,
)
from tests.contract.laravel import TENANT, Laravel, sqlite_connection
from tests.parts.php import Php

BATCHES_IN_CI, BATCHES_AT_HOME = 800, 200
BATCHES = int(
    os.environ.get("DIFFERENTIAL_BATCHES", BATCHES_IN_CI if os.environ.get("CI") else BATCHES_AT_HOME)
)
batches = settings(
    max_examples=BATCHES // 2,  # in either direction
    deadline=None,
    # The conversation is the same for all of them: a job leaves nothing behind.
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)

EDGES = [0, -1, 2**31, 2**53 + 1, 2**63 - 1, -(2**63)]
FLOAT_EDGES = [-0.0, 1.0, 1e-5, 9.5e-5, 1e15, 1e16, 1e17, 1e22, 5e-324, 1.7976931348623157e308, 0.1, 1 / 3]
values = (
    st.integers(-(2**63), 2**63 - 1)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.sampled_from(EDGES)
    | st.sampled_from(FLOAT_EDGES)
)
numeric_strings = values.map(repr) | st.sampled_from(
    ["42.17", " 1e3", "1.50", "-0", ".5", "1.", "+7", "007", "1E-7\n"]
)
texts = st.text(max_size=20) | st.sampled_from(
    ["", "0", "00", "\0", "🌡\U0010ffff", "é/\\\"'", "\u2028\x7f", '";}', "a" * 64]
)
timestamps = st.none() | st.sampled_from(["2026-11-23 14:00:00", "2026-11-23 14:00:00.123456", ""]) | texts
dedupe_ids = st.none() | st.sampled_from(["d-1", "d-2", "d-3", "", "0", "0.0"]) | texts
metrics = st.builds(
    JobMetric, agent_id=texts, metric_name=texts, value=values, timestamp=timestamps, dedupe_id=dedupe_ids
)
names = texts | st.integers(-(2**63), 2**63 - 1)
# An application dispatches what its HTTP interface has let through.
loose_metrics = st.builds(
    JobMetric,
    agent_id=names,
    metric_name=names,
    value=values | numeric_strings,
    timestamp=timestamps,
    dedupe_id=dedupe_ids,
)
lists_of_metrics = st.lists(metrics, max_size=6)
uuids = st.uuids().map(str)
job_ids = st.text("0123456789abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ", min_size=32, max_size=32)


@pytest.fixture
def differential(php: Php, redis_url: str, tmp_path: Path, prefix: str) -> Iterator[Differential]:
    database = sqlite_connection(tmp_path / "differential.sqlite")
    laravel = Laravel(php, redis_url, database, prefix=prefix)
    with conversing(php, laravel, redis_url, prefix) as differential:
        yield differential


@batches
@given(batch=st.lists(st.tuples(lists_of_metrics, uuids, job_ids), min_size=1, max_size=3))
def test_a_job_of_ours_is_to_php_what_it_is_to_us(
    differential: Differential, prefix: str, batch: list[tuple[list[JobMetric], str, str]]
) -> None:
    answers = []
    for written, uuid, job_id in batch:
        payload = encode_job(TENANT, written, uuid, job_id)
        answer = differential.push(payload)
        answers.append(answer)
        assert (answer.raw, answer.uuid, answer.id) == (payload.decode(), uuid, job_id)
        assert answer.metrics == [
            {name: told(value) for name, value in members_of(metric).items()} for metric in written
        ]
    same_to_both(answers, prefix)


@st.composite
def submissions(draw: st.DrawFn) -> Told:
    """Draw a metric as an application may dispatch it: what is null may be missing as well."""
    metric = draw(loose_metrics)
    told_metric = {name: told(value) for name, value in members_of(metric).items()}
    left_out = draw(st.sets(st.sampled_from(["timestamp", "dedupe_id"])))
    return {name: value for name, value in told_metric.items() if value is not None or name not in left_out}


@batches
@given(batch=st.lists(st.lists(submissions(), max_size=6), min_size=1, max_size=3))
def test_a_job_of_laravels_is_to_us_what_it_is_to_php(
    differential: Differential, prefix: str, batch: list[list[Told]]
) -> None:
    answers = []
    for dispatched in batch:
        answer = differential.dispatch(dispatched)
        answers.append(answer)
        assert answer.metrics == dispatched
    same_to_both(answers, prefix)


def same_to_both(answers: list[Answer], prefix: str) -> None:
    """Compare what PHP made of jobs with what we make of them, field by field."""
    for answer in answers:
        nothing: Told = {"timestamp": None, "dedupe_id": None}
        for attempts, payload in enumerate([answer.raw, answer.reserved]):
            job = decode_job(payload.encode())
            assert metrics_of(job) == [nothing | metric for metric in answer.metrics]
            assert (job.uuid, job.id, job.tenant_id) == (answer.uuid, answer.id, answer.tenant)
            assert (job.display_name, job.max_tries) == (answer.name, answer.max_tries) == (JOB_CLASS, 5)
            assert ",".join(map(str, job.backoff)) == answer.backoff
            assert job.attempts == attempts
        assert answer.attempts == 1
        assert answer.channel == f"{prefix}tenant.{answer.tenant}.metrics"
        assert answer.message == message_of_ingest(answer.raw)
    assert rows_of_ingest([answer.raw for answer in answers]) == rows_of_php(answers)
