"""What Laravel 8 to 13 and Horizon write is read, and what they look for is written where it is asked for."""

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agents.handoff import encoder
from streams.laravel.job import Extras, decode_job, encode_job, pushed_at_s
from streams.settings import Settings
from tests.golden import golden
from tests.golden.jobs import JOB_ID, METRICS, PAYLOADS, TENANT, UUID

NOW_S = 1_795_442_400.123_41


def encoded(extras: Extras, **names: str) -> dict[str, Any]:
    payload: dict[str, Any] = json.loads(
        encode_job(TENANT, METRICS, UUID, JOB_ID, extras=extras, now_s=NOW_S, **names)
    )
    return payload


@pytest.mark.parametrize("name", PAYLOADS)
def test_what_each_version_writes_is_the_same_job(name: str) -> None:
    raw = golden(name)
    job = decode_job(raw)
    assert (job.uuid, job.attempts, job.max_tries, job.backoff) == (UUID, 0, 5, [10, 30, 60])
    assert (job.tenant_id, job.metrics, job.raw) == (TENANT, METRICS, raw)
    assert not job.delete_when_missing_models


@pytest.mark.parametrize(
    ("name", "time_s"),
    [
        ("laravel-job.json", None),
        ("jobs/laravel-11.json", None),
        ("jobs/laravel-12.json", 1_795_442_400.0),
        ("jobs/laravel-13.json", 1_795_442_400.0),
        ("jobs/horizon-5.json", 1_795_442_400.1234),
    ],
)
def test_the_time_at_which_a_job_was_pushed_is_read_where_a_version_tells_it(
    name: str, time_s: float | None
) -> None:
    assert pushed_at_s(golden(name)) == time_s


@pytest.mark.parametrize(
    "payload",
    [
        b"",
        b"[]",
        b"\xff",
        b"{}",
        b'{"createdAt":"soon"}',
        b'{"pushedAt":"nan"}',
        b'{"pushedAt":[]}',
        b'{"createdAt":' + b"9" * 400 + b"}",
    ],
    ids=range(8),
)
def test_a_payload_that_tells_no_time_has_none(payload: bytes) -> None:
    assert pushed_at_s(payload) is None


@given(st.binary() | st.text().map(lambda text: json.dumps({"pushedAt": text, "createdAt": 1}).encode()))
def test_no_payload_is_too_strange_to_be_asked_for_its_time(payload: bytes) -> None:
    pushed_at_s(payload)


def test_created_at_stands_where_laravel_12_writes_it() -> None:
    ours = encode_job(TENANT, METRICS, UUID, JOB_ID, extras=Extras(created_at=True), now_s=NOW_S)
    assert b'"},"createdAt":1795442400,"id":"1ElK' in ours
    assert b',"createdAt":1795442400,"id":"1ElK' in golden("jobs/laravel-12.json")
    assert decode_job(ours).metrics == METRICS


def test_what_horizon_adds_is_what_horizon_itself_has_written() -> None:
    ours, theirs = encoded(Extras(horizon=True)), json.loads(golden("jobs/horizon-5.json"))
    assert list(ours) == list(theirs)
    assert ours | {"data": None} == theirs | {"data": None}


def test_horizons_tag_names_the_model_of_the_application() -> None:
    assert encoded(Extras(horizon=True), model_class=r"Acme\Client")["tags"] == [rf"Acme\Client:{TENANT}"]


def test_what_laravel_13_asks_of_a_job_without_its_tenant_is_said_and_read() -> None:
    payload = encode_job(TENANT, METRICS, UUID, JOB_ID, extras=Extras(delete_when_missing_models=True))
    assert payload.index(b'"deleteWhenMissingModels":true,"data"') > 0
    assert b'"deleteWhenMissingModels":false,"data"' in golden("jobs/laravel-13.json")
    assert decode_job(payload).delete_when_missing_models


def test_an_alias_of_the_morph_map_stands_where_laravel_writes_it() -> None:
    command = encoded(Extras(), model_class="tenant")["data"]["command"]
    tenant = 's:5:"class";s:6:"tenant";s:2:"id";'
    assert tenant in command
    assert tenant in json.loads(golden("jobs/laravel-13-morph.json"))["data"]["command"]


def test_the_defaults_leave_the_job_as_laravel_8_writes_it() -> None:
    encode = encoder(Settings.from_mapping({}))
    assert encode(TENANT, METRICS, UUID, JOB_ID) == golden("laravel-job.json")


def test_the_settings_name_what_differs_between_applications() -> None:
    environment = {
        "JOB_CLASS": r"Acme\Ingest",
        "TENANT_MODEL_CLASS": "acme.client",
        "TENANT_MODEL_CONNECTION": "null",
    }
    encode = encoder(Settings.from_mapping(environment))
    assert encode(TENANT, METRICS, UUID, JOB_ID) == encode_job(
        TENANT,
        METRICS,
        UUID,
        JOB_ID,
        job_class=r"Acme\Ingest",
        model_class="acme.client",
        model_connection=None,
    )


@pytest.mark.parametrize(
    ("setting", "extras"),
    [
        ("JOB_CREATED_AT", Extras(created_at=True)),
        ("JOB_HORIZON", Extras(horizon=True)),
        ("JOB_DELETE_WHEN_MISSING_MODELS", Extras(delete_when_missing_models=True)),
    ],
)
def test_each_extra_has_a_setting(setting: str, extras: Extras) -> None:
    encode = encoder(Settings.from_mapping({setting: "true"}), clock=lambda: NOW_S)
    ours = encode(TENANT, METRICS, UUID, JOB_ID)
    assert ours == encode_job(TENANT, METRICS, UUID, JOB_ID, extras=extras, now_s=NOW_S)
