import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from streams.errors import ForeignJob, MalformedRecord
from streams.ingest.rows import rows_of
from streams.laravel import broadcast as publication
from streams.laravel.job import JobMetric, decode_job, encode_job
from streams.laravel.php import PhpObject, PhpValue, serialize
from tests.golden import golden
from tests.golden.jobs import JOB_ID, METRICS, TENANT, UUID
from tests.parts.fields import further_texts

IDENTIFIER = "Illuminate\\Contracts\\Database\\ModelIdentifier"
JOB_CLASS = "App\\Jobs\\ProcessMetricSubmission"

job_metrics = st.builds(
    JobMetric,
    agent_id=st.text(),
    metric_name=st.text(),
    value=st.integers(-(10**12), 10**12) | st.floats(allow_nan=False, allow_infinity=False),
    timestamp=st.none() | st.text(),
    dedupe_id=st.none() | st.text(),
    **further_texts,
)


def tenant(**changes: PhpValue) -> PhpObject:
    properties = {"class": "App\\Models\\Tenant", "id": TENANT, "relations": [], "connection": "default"}
    return PhpObject(IDENTIFIER, {**properties, **changes})


def metric(**changes: PhpValue) -> dict[int | str, PhpValue]:
    return {"agent_id": "a1", "metric_name": "cpu", "value": 1, **changes}


def payload(command: PhpValue = None, **changes: Any) -> bytes:
    """Return a job's payload with this command and these changes."""
    envelope = json.loads(golden("laravel-job.json"))
    if command is not None:
        envelope["data"]["command"] = serialize(command)
    return json.dumps({**envelope, **changes}).encode()


def job_with(**properties: PhpValue) -> bytes:
    return payload(PhpObject(JOB_CLASS, {"tenant": tenant(), "metrics": [metric()], **properties}))


def test_a_job_is_what_laravel_itself_has_written() -> None:
    assert encode_job(TENANT, METRICS, UUID, JOB_ID) == golden("laravel-job.json")


def test_what_laravel_has_written_is_read() -> None:
    raw = golden("laravel-job.json")
    job = decode_job(raw)
    assert (job.uuid, job.id, job.display_name) == (UUID, JOB_ID, JOB_CLASS)
    assert (job.attempts, job.max_tries, job.backoff) == (0, 5, [10, 30, 60])
    assert (job.tenant_id, job.metrics, job.raw) == (TENANT, METRICS, raw)


@given(st.uuids().map(str), st.lists(job_metrics))
def test_jobs_come_back_as_they_went(tenant_id: str, metrics: list[JobMetric]) -> None:
    job = decode_job(encode_job(tenant_id, metrics, UUID, JOB_ID))
    assert (job.tenant_id, job.metrics) == (tenant_id, metrics)
    assert [type(found.value) for found in job.metrics] == [type(sent.value) for sent in metrics]


def test_the_classes_and_the_connection_of_the_application_can_be_named() -> None:
    encoded = encode_job(
        TENANT, METRICS, UUID, JOB_ID, job_class="My\\Job", model_class="My\\Model", model_connection=None
    )
    assert decode_job(encoded, job_class="My\\Job").metrics == METRICS
    command = json.loads(encoded)["data"]["command"]
    assert command.startswith('O:6:"My\\Job":14:{')
    assert 's:5:"class";s:8:"My\\Model";' in command
    assert 's:10:"connection";N;}s:7:"metrics"' in command


def test_what_later_versions_add_and_leave_out_is_read() -> None:
    command = PhpObject(
        JOB_CLASS,
        {
            "tenant": tenant(collectionClass=None, connection="pgsql"),
            "metrics": {3: metric(dedupe_id="d-1"), 5: metric()},
        },
    )
    job = decode_job(
        payload(
            command,
            createdAt=1795442400,
            delay=None,
            type="job",
            tags=["App\\Models\\Tenant:1"],
            silenced=False,
            pushedAt="1795442400.1234",
            attempts=2,
            maxTries=None,
            backoff=None,
        )
    )
    assert job.metrics == [
        JobMetric(agent_id="a1", metric_name="cpu", value=1, timestamp=None, dedupe_id="d-1"),
        JobMetric(agent_id="a1", metric_name="cpu", value=1, timestamp=None, dedupe_id=None),
    ]
    assert (job.attempts, job.max_tries, job.backoff) == (2, None, [])


def test_the_copy_that_cjson_makes_of_a_reserved_job_is_read() -> None:
    reserved = golden("laravel-job.json").replace(rb'"attempts":0', b'"tags":{},"attempts":1')
    assert decode_job(reserved).attempts == 1


@pytest.mark.parametrize(
    ("backoff", "seconds"),
    [
        (None, []),
        ("", []),
        ({}, []),
        (0, []),
        (7, [7]),
        ("7", [7]),
        ("10,30", [10, 30]),
        ([10, 30], [10, 30]),
        ([-5, 10**400], [0, 2**31]),
    ],
)
def test_every_form_of_backoff_is_read(backoff: object, seconds: list[int]) -> None:
    assert decode_job(payload(backoff=backoff)).backoff == seconds


@pytest.mark.parametrize(
    ("retry_until", "time_s"),
    [(None, None), (0, None), ("", None), (1_795_442_400, 1_795_442_400), ("7.9", 7), (7.9, 7)],
)
def test_every_form_of_a_time_is_read(retry_until: object, time_s: int | None) -> None:
    assert decode_job(payload(retryUntil=retry_until)).retry_until == time_s


@pytest.mark.parametrize(("value", "expected"), [("1", 1), ("1.50", 1.5), (" 1e3", 1000.0), ("9" * 19, 1e19)])
def test_a_numeric_string_that_http_lets_through_is_published_as_it_is_and_a_number_in_its_row(
    value: PhpValue, expected: float
) -> None:
    job = decode_job(job_with(metrics=[metric(value=value)]))
    assert json.loads(publication.encode(job.metrics))[0]["value"] == value
    assert [row.metric.value for row in rows_of([job]).inserts] == [expected]


def test_an_integer_for_a_name_is_published_as_it_is_and_text_in_its_row() -> None:
    job = decode_job(job_with(metrics=[metric(agent_id=7, dedupe_id=8)]))
    assert json.loads(publication.encode(job.metrics))[0]["agent_id"] == 7
    assert [(row.metric.agent_id, row.metric.dedupe_id) for row in rows_of([job]).upserts] == [("7", "8")]


@pytest.mark.parametrize(
    ("foreign", "named"),
    [
        (payload(job="App\\Listeners\\Mail@handle", data={"anything": 1}), "App\\Listeners\\Mail@handle"),
        (payload(data={"commandName": "App\\Jobs\\Other", "command": "O:1"}), "App\\Jobs\\Other"),
        (payload(data={"commandName": JOB_CLASS, "command": "eyJpdiI6"}), "encrypted"),
    ],
    ids=range(3),
)
def test_a_job_that_is_not_ours_is_left_to_laravel(foreign: bytes, named: str) -> None:
    with pytest.raises(ForeignJob) as caught:
        decode_job(foreign)
    assert named in str(caught.value)
    assert UUID in str(caught.value)


@pytest.mark.parametrize(
    "rubbish",
    [
        b"",
        b"{}",
        b"[]",
        b"\xff",
        b'{"job":1,"data":{}}',
        payload(data=None),
        payload(data={"commandName": JOB_CLASS}),
        payload(data={"commandName": JOB_CLASS, "command": "O:1"}),
        payload(PhpObject("App\\Jobs\\Other", {})),
        payload(PhpObject(JOB_CLASS, {})),
        payload(backoff="soon"),
        payload(backoff=[[]]),
        payload(retryUntil="tomorrow"),
        payload(retryUntil="1e999"),
        payload(retryUntil=[1]),
        payload(attempts="many"),
        job_with(tenant=TENANT),
        job_with(tenant=PhpObject("App\\Models\\Tenant", {"id": TENANT})),
        job_with(tenant=tenant(id=7)),
        job_with(tenant=tenant(id=None)),
        job_with(metrics=None),
        job_with(metrics="cpu"),
        job_with(metrics=["cpu"]),
        job_with(metrics=[PhpObject("App\\Metric", {})]),
        job_with(metrics=[metric(agent_id=None)]),
        job_with(metrics=[metric(metric_name=True)]),
        job_with(metrics=[metric(dedupe_id=1.5)]),
        job_with(metrics=[metric(timestamp=PhpObject("DateTime", {}))]),
        job_with(metrics=[metric(value=None)]),
        job_with(metrics=[metric(value=True)]),
        job_with(metrics=[metric(value="abc")]),
        job_with(metrics=[metric(value=float("nan"))]),
        job_with(metrics=[metric(value="1e999")]),
    ],
    ids=range(33),
)
def test_a_job_that_cannot_be_read_is_malformed(rubbish: bytes) -> None:
    with pytest.raises(MalformedRecord):
        decode_job(rubbish)


@given(
    st.binary()
    | st.text().map(lambda command: payload(data={"commandName": JOB_CLASS, "command": f"O:{command}"}))
)
def test_nothing_else_is_raised(rubbish: bytes) -> None:
    with pytest.raises(MalformedRecord):
        decode_job(rubbish)
