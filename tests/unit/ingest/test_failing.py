import json
import uuid

import pytest
from hypothesis import given
from hypothesis import strategies as st

from streams.ingest.failing import FailedJob, exhausted_message, is_exhausted, next_try_s
from streams.laravel.job import Job, decode_job, encode_job

NOW_S = 1_795_442_400.9
TENANT = "11111111-1111-4111-8111-111111111111"


def job(**fields: object) -> Job:
    payload = json.loads(encode_job(TENANT, [], str(uuid.uuid4()), "x" * 32))
    return decode_job(json.dumps({**payload, **fields}).encode())


@pytest.mark.parametrize(("attempts", "wait_s"), [(0, 10), (1, 30), (2, 60), (3, 60), (4, None), (9, None)])
def test_five_tries_wait_10_30_and_then_60_seconds(attempts: int, wait_s: int | None) -> None:
    assert next_try_s(job(attempts=attempts), NOW_S) == wait_s


def test_a_job_is_exhausted_when_it_is_taken_once_more_than_it_may() -> None:
    assert not is_exhausted(job(attempts=4), NOW_S)
    assert is_exhausted(job(attempts=5), NOW_S)


def test_no_tries_mean_one_and_zero_tries_mean_without_end() -> None:
    assert next_try_s(job(maxTries=None), NOW_S) is None
    assert is_exhausted(job(maxTries=None, attempts=1), NOW_S)
    assert next_try_s(job(maxTries=0, attempts=1_000), NOW_S) == 60
    assert not is_exhausted(job(maxTries=0, attempts=1_000), NOW_S)


WITH_ANY_TRIES = [{"maxTries": 5, "attempts": 90}, {"maxTries": 0}, {"maxTries": None}]


@pytest.mark.parametrize("tries", WITH_ANY_TRIES)
def test_a_job_with_a_time_is_tried_until_then_however_often(tries: dict[str, object]) -> None:
    ahead, now, over = (job(retryUntil=int(NOW_S) + ahead, **tries) for ahead in (1, 0, -1))
    assert [is_exhausted(each, NOW_S) for each in (ahead, now, over)] == [False, False, True]
    assert [next_try_s(each, NOW_S) is None for each in (ahead, now, over)] == [False, True, True]


@pytest.mark.parametrize("none", [None, 0])
def test_a_job_without_a_time_is_tried_as_often_as_it_may(none: object) -> None:
    assert not is_exhausted(job(retryUntil=none, attempts=4), NOW_S)
    assert next_try_s(job(retryUntil=none, attempts=4), NOW_S) is None


def test_without_a_backoff_the_next_try_is_due_at_once() -> None:
    assert next_try_s(job(backoff=None), NOW_S) == 0


def test_an_exhausted_job_fails_with_laravels_words() -> None:
    assert exhausted_message(job()) == (
        "Illuminate\\Queue\\MaxAttemptsExceededException: App\\Jobs\\ProcessMetricSubmission has been "
        "attempted too many times or run too long. The job may have previously timed out."
    )


def test_a_failed_job_keeps_its_uuid_and_its_payload() -> None:
    payload = encode_job(TENANT, [], "the-uuid", "x" * 32)
    failed = FailedJob.of(payload, "default", "why")
    assert failed == FailedJob("the-uuid", "redis", "default", payload.decode(), "why")


@pytest.mark.parametrize("uuid_of_payload", [None, 5, "", "u" * 256, "nul\0"])
def test_a_uuid_that_the_table_cannot_hold_is_replaced(uuid_of_payload: object) -> None:
    payload = json.dumps({"uuid": uuid_of_payload}).encode()
    assert len(FailedJob.of(payload, "default", "why").uuid) == 36


@given(st.binary(), st.binary())
def test_rubbish_gets_a_uuid_of_its_own_and_can_be_stored_as_text(one: bytes, other: bytes) -> None:
    failed = FailedJob.of(one, "default", "why")
    assert "\0" not in failed.payload
    failed.payload.encode()
    assert (failed.uuid == FailedJob.of(other, "default", "why").uuid) is (one == other)


def test_an_exception_with_half_a_surrogate_pair_can_be_stored_as_text() -> None:
    assert FailedJob.of(b"", "default", "found '\udcff'\0").exception == "found '\\udcff'\\x00"


def test_attempts_below_none_are_none() -> None:
    assert next_try_s(job(attempts=-100), NOW_S) == 10
    assert not is_exhausted(job(attempts=-100), NOW_S)
