"""Payloads of the Laravel queue: any bytes, any command in a good payload, and commands of any values."""

import json
from typing import Any

from streams.errors import ForeignJob, MalformedRecord
from streams.ingest.failing import FailedJob, exhausted_message, is_exhausted, next_try_s
from streams.laravel.job import JOB_CLASS, Job, decode_job, encode_job
from streams.laravel.php import PhpObject, PhpValue, serialize
from tests.fuzz.oracles import is_storable, runs_as_a_job
from tests.fuzz.source import Source
from tests.golden import golden
from tests.golden.jobs import TENANT

IDENTIFIER = "Illuminate\\Contracts\\Database\\ModelIdentifier"
NOW_S = 1_795_442_400.9
LONGEST_DELAY_S = 2**53  # what Redis holds exactly as a score
_GOLDEN = golden("laravel-job.json")
_COMMAND = json.loads(_GOLDEN)["data"]["command"].encode()
SEEDS = [
    b"0" + _GOLDEN,
    b"1" + _COMMAND,
    b"2" + bytes(range(64)),
    b"2" + bytes([9, 1, 4, 4]) * 12,
    b'0{"job":"x","data":' + b"[" * 2000,
    b"0" + _GOLDEN.replace(b'"10,30,60"', b"[1.5,1e308,true]"),
    b"0"
    + _GOLDEN.replace(b'"10,30,60"', b'"' + b"9" * 5000 + b'"').replace(b'"maxTries":5', b'"maxTries":0'),
    b"0" + _GOLDEN.replace(b'"retryUntil":null', b'"retryUntil":"1e999"'),
    b"0" + _GOLDEN.replace(b'"uuid":"0', b'"uuid":"\\u0000'),
    b"1eyJpdiI6",
    b"0\xff\x00",
]
WORDS = [
    b'"attempts":',
    b'"backoff":',
    b'"maxTries":',
    b'"data":{"commandName":',
    b'"job":"Illuminate\\\\Queue\\\\CallQueuedHandler@call"',
    b"\\u0000",
    b"-1e400",
    b"18446744073709551616",
    b"d:NAN;",
    b"d:INF;",
    b's:3:"1e9";',
]


def fuzz(data: bytes) -> None:
    """A payload is a job that can be written again and run, or refused; either way it can be given up."""
    payload = _payload(Source(data))
    try:
        job = decode_job(payload)
    except (MalformedRecord, ForeignJob) as refusal:
        _can_be_given_up(payload, str(refusal))
        return
    _can_be_given_up(payload, exhausted_message(job))
    _can_be_run(job)


def _payload(source: Source) -> bytes:
    kind = source.take(1)
    if kind == b"1":
        return _with(source.rest().decode(errors="replace"))
    if kind == b"2":
        metrics: list[PhpValue] = [_metric(source) for _ in range(source.number() % 4)]
        tenant = PhpObject(IDENTIFIER, {"id": TENANT if source.number() % 8 else source.text()})
        return _with(
            serialize(PhpObject(JOB_CLASS, {"tenant": tenant, "metrics": metrics})), _envelope(source)
        )
    return source.rest()


def _with(command: str, changes: dict[str, Any] | None = None) -> bytes:
    envelope = json.loads(_GOLDEN)
    envelope["data"]["command"] = command
    return json.dumps(envelope | (changes or {})).encode()


def _envelope(source: Source) -> dict[str, Any]:
    """Return further members, as other versions and other hands write them."""
    return {
        source.pick(["uuid", "id", "displayName", "attempts", "maxTries", "backoff", "tags"]): _json(source)
        for _ in range(source.number() % 3)
    }


def _json(source: Source) -> Any:
    number = source.number(8) - 2**63
    return source.pick(
        [None, True, number, number / 3, str(number), source.text(), [number], [], {}, 10**400]
    )


def _metric(source: Source) -> dict[int | str, PhpValue]:
    names = ["agent_id", "metric_name", "value", "timestamp", "dedupe_id"]
    good: dict[int | str, PhpValue] = {"agent_id": "a1", "metric_name": "cpu", "value": 1}
    return good | {source.pick(names): _scalar(source) for _ in range(source.number() % 4)}


def _scalar(source: Source) -> PhpValue:
    number = source.number(8) - 2**63
    return source.pick([None, False, number, number / 7, str(number), source.text(), float("nan"), [number]])


def _can_be_given_up(payload: bytes, why: str) -> None:
    for exception in (why, payload.decode("utf-8", "surrogateescape")):
        failed = FailedJob.of(payload, "default", exception)
        assert 0 < len(failed.uuid) <= 255
        assert all(map(is_storable, (failed.uuid, failed.payload, failed.exception)))
    assert failed.uuid == FailedJob.of(payload, "default", "again").uuid


def _can_be_run(job: Job) -> None:
    runs_as_a_job(job.tenant_id, job.metrics)
    again = decode_job(encode_job(job.tenant_id, job.metrics, job.uuid, job.id))
    assert (again.uuid, again.id, again.metrics) == (job.uuid, job.id, job.metrics)
    wait_s = next_try_s(job, NOW_S)
    assert wait_s is None or 0 <= wait_s < LONGEST_DELAY_S
    assert isinstance(is_exhausted(job, NOW_S), bool)
