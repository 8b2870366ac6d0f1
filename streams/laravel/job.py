r"""The job of the Laravel queue: ``ProcessMetricSubmission`` for one tenant, as Laravel's dispatch writes it.

Written by handoff, read by Laravel's workers and by ``ingest``; all on one line, the command shortened:

    {"uuid":"013e00c0-a519-4bbd-b8fd-4d6a52ae375e","displayName":"App\\Jobs\\ProcessMetricSubmission",
    "job":"Illuminate\\Queue\\CallQueuedHandler@call","maxTries":5,"maxExceptions":null,"failOnTimeout":false,
    "backoff":"10,30,60","timeout":null,"retryUntil":null,"data":{
    "commandName":"App\\Jobs\\ProcessMetricSubmission",
    "command":"O:32:\"App\\Jobs\\ProcessMetricSubmission\":14:{s:5:\"tries\";i:5; … }"},
    "id":"1ElK4XaPq6OzF11BHbfU1j8MKqwDce8h","attempts":0}

The whole is in ``tests/golden/laravel-job.json``; the command is `streams.laravel.command`. Written is
what Laravel 8.83 writes, which all later versions run, and what `Extras` asks for; read is what any of them
writes (``tests/golden/jobs``), and the copy that Redis's cjson makes of a reserved job
(``Illuminate\Queue\Queue::createObjectPayload``; ``docs/laravel.md`` has the differences).
"""

import math
from collections.abc import Sequence
from functools import lru_cache
from operator import add
from typing import Any, NamedTuple, cast

import msgspec

from streams.errors import ForeignJob, MalformedRecord
from streams.laravel import php_json
from streams.laravel.command import BACKOFF_S, TRIES, Command, JobRow, write_command
from streams.laravel.command_reader import read_command
from streams.models import JobMetric

__all__ = ["JOB_CLASS", "MODEL_CLASS", "Extras", "Job", "JobMetric", "JobRow", "decode_job", "encode_job"]

JOB_CLASS = r"App\Jobs\ProcessMetricSubmission"
MODEL_CLASS = r"App\Models\Tenant"
MODEL_CONNECTION = "default"
CONNECTION = "redis"
"""The queue connection in the application's ``config/queue.php``."""

_PLACE = "\ufffc"
"""Holds a place in the envelope; no name of a class has it."""
_HANDLER = r"Illuminate\Queue\CallQueuedHandler@call"


class Extras(NamedTuple):
    """What a payload holds beyond what every version writes and needs."""

    created_at: bool = False
    """``createdAt``, as Laravel writes it since 12.11: the age of a queue is told by it."""
    horizon: bool = False
    """``type``, ``tags``, ``silenced`` and ``pushedAt``, as Horizon's ``JobPayload`` adds them; the id is the
    uuid, by which Horizon times a job."""
    delete_when_missing_models: bool = False
    """``deleteWhenMissingModels``, which Laravel 13 reads here, and earlier ones in the class."""


NO_EXTRAS = Extras()


class Job(msgspec.Struct, frozen=True):
    """A job read from the queue."""

    uuid: str
    id: str
    display_name: str
    attempts: int
    """How often it was taken before."""
    max_tries: int | None
    backoff: list[int]
    """Seconds to wait before each further try; the last counts for all that follow."""
    tenant_id: str
    metrics: list[JobMetric]
    raw: bytes
    """The payload as it was read."""
    retry_until: int | None = None
    """The Unix time in seconds up to which it is tried, however often; None where tries count."""
    delete_when_missing_models: bool = False
    """Whether a job whose tenant is gone is deleted instead of given up."""


def encode_job(
    tenant_id: str,
    metrics: Sequence[JobRow],
    uuid: str,
    job_id: str,
    *,
    job_class: str = JOB_CLASS,
    model_class: str = MODEL_CLASS,
    model_connection: str | None = MODEL_CONNECTION,
    extras: Extras = NO_EXTRAS,
    now_s: float = 0.0,
) -> bytes:
    """Return the payload to push.

    Examples:
        >>> tenant = "7c9e6679-7425-40de-944b-e07fc1f90ae7"
        >>> metric = JobMetric(
        ...     agent_id="edge-7",
        ...     metric_name="cpu.usage.percent",
        ...     value=42.17,
        ...     timestamp="2026-11-23 14:00:00.123456",
        ...     dedupe_id="a1",
        ... )
        >>> uuid, job_id = "013e00c0-a519-4bbd-b8fd-4d6a52ae375e", "1ElK4XaPq6OzF11BHbfU1j8MKqwDce8h"
        >>> job = decode_job(encode_job(tenant, [metric], uuid, job_id))
        >>> job.tenant_id == tenant, job.metrics == [metric], job.max_tries, job.backoff
        (True, True, 5, [10, 30, 60])

    Args:
        tenant_id: the tenant's UUID.
        metrics: at most 500, none of their dedupe ids twice.
        uuid: by which Laravel names the job in ``failed_jobs``.
        job_id: 32 letters and digits.
        job_class: the class of the job.
        model_class: the class of the tenant's model, or its morph alias (``ModelIdentifier::useMorphMap``).
        model_connection: the application's database connection that has the tenant, by its name in
            ``config/database.php``; None for the application's default.
        extras: what else it shall hold.
        now_s: the Unix time, for extras that tell it.
    """
    command = write_command(
        tenant_id, metrics, job_class=job_class, model_class=model_class, model_connection=model_connection
    )
    # Horizon names a job by its uuid in both places (Laravel\Horizon\RedisQueue).
    values = [_json(uuid), _json(command), _json(uuid if extras.horizon else job_id)]
    if extras.created_at:
        values.insert(2, str(int(now_s)))
    if extras.horizon:
        values += [_json(f"{model_class}:{tenant_id}"), _json(f"{now_s:.4f}")]
    return "".join(map(add, _envelope(job_class, extras), [*values, ""])).encode()


@lru_cache(maxsize=4)  # the same for each job: 0.1 µs instead of 28
def _envelope(job_class: str, extras: Extras) -> list[str]:
    """Return what stands before, between and after what each job has of its own."""
    missing = {"deleteWhenMissingModels": True} if extras.delete_when_missing_models else {}
    created = {"createdAt": _PLACE} if extras.created_at else {}
    payload: dict[str, php_json.Json] = {
        "uuid": _PLACE,
        "displayName": job_class,
        "job": _HANDLER,
        "maxTries": TRIES,
        "maxExceptions": None,
        "failOnTimeout": False,
        "backoff": ",".join(map(str, BACKOFF_S)),
        "timeout": None,
        "retryUntil": None,
        **missing,
        "data": {
            "commandName": job_class,
            "command": _PLACE,
        },
        **created,
        "id": _PLACE,
        "attempts": 0,
    }
    if extras.horizon:
        payload |= {"type": "job", "tags": [_PLACE], "silenced": False, "pushedAt": _PLACE}
    # Encoded once and cut at the places: a job then costs its own values alone.
    return _json(payload).split(_json(_PLACE))


def _json(value: php_json.Json) -> str:
    return php_json.encode(value, unescaped_unicode=True)


def decode_job(payload: bytes, *, job_class: str = JOB_CLASS) -> Job:
    """Read a payload, as pushed or as reserved.

    Raises:
        ForeignJob: if it is a job of another class, or encrypted, which only the application can undo.
        MalformedRecord: if it is no job, or one whose command cannot be read.

    Examples:
        >>> decode_job(b"[]")
        Traceback (most recent call last):
        streams.errors.MalformedRecord: not a job of a Laravel queue: Expected `object`, got `array`
    """
    try:
        envelope = _envelopes.decode(payload)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
        raise MalformedRecord(f"not a job of a Laravel queue: {error}") from error
    # Before the command is read: another job's has another form, and is none the worse for it.
    _refuse_foreign(envelope, envelope.job, _HANDLER, job_class)
    try:
        command = _read_command(envelope, job_class)
        backoff = _read_backoff(envelope.backoff)
        retry_until = _read_time(envelope.retry_until)
    except MalformedRecord as error:
        raise MalformedRecord(f"job {envelope.uuid}: {error}") from error
    return Job(
        uuid=envelope.uuid or "",
        id=envelope.id or "",
        display_name=envelope.display_name or job_class,
        attempts=envelope.attempts,
        max_tries=envelope.max_tries,
        backoff=backoff,
        tenant_id=command.tenant_id,
        metrics=command.metrics,
        raw=payload,
        retry_until=retry_until,
        delete_when_missing_models=envelope.delete_when_missing_models is True,
    )


def pushed_at_s(payload: bytes) -> float | None:
    """Return the Unix time at which a job was pushed, or made, if its payload tells."""
    try:
        times = _times.decode(payload)
        pushed = times.created_at if times.pushed_at is None else times.pushed_at
        pushed_s = math.nan if pushed is None else float(pushed)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError, ValueError, OverflowError):
        return None
    return pushed_s if math.isfinite(pushed_s) else None


LONGEST_WAIT_S = 2**31
"""Redis holds the time of the next try as a double."""

_ENCRYPTED = "eyJ"  # ``{"`` in base64: what Illuminate\Encryption\Encrypter writes is ``{"iv":…}``


class _Data(msgspec.Struct, rename="camel"):
    command_name: str
    command: str


class _Envelope(msgspec.Struct, rename="camel"):
    job: str
    data: msgspec.Raw
    uuid: str | None = None
    id: str | None = None
    display_name: str | None = None
    attempts: int = 0
    max_tries: int | None = None
    backoff: object = None
    retry_until: object = None
    delete_when_missing_models: object = False


class _Times(msgspec.Struct, rename="camel"):
    created_at: int | None = None
    pushed_at: float | str | None = None


_times = msgspec.json.Decoder(_Times)
_envelopes = msgspec.json.Decoder(_Envelope)
_datas = msgspec.json.Decoder(_Data)


def _read_command(envelope: _Envelope, job_class: str) -> Command:
    try:
        data = _datas.decode(envelope.data)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
        raise MalformedRecord(f"it has no command: {error}") from error
    _refuse_foreign(envelope, data.command_name, job_class, job_class)
    # Told apart from a command that is broken: this one the application can run.
    if data.command.startswith(_ENCRYPTED):
        raise ForeignJob(
            f"job {envelope.uuid} of class {job_class} is encrypted (ShouldBeEncrypted): "
            "only a Laravel worker of the application can run it"
        )
    return read_command(data.command, job_class)


def _refuse_foreign(envelope: _Envelope, found: str, ours: str, job_class: str) -> None:
    if found != ours:
        raise ForeignJob(
            f"job {envelope.uuid} is of class {found}, but only {job_class} is run here: "
            "let a Laravel worker of the application run it, or give it a queue of its own"
        )


def _read_backoff(backoff: object) -> list[int]:
    """Read seconds from a number, ``"10,30,60"`` or an array, which cjson makes an object if it is empty.

    Less than none is none, as in Laravel; more than `LONGEST_WAIT_S` is as good as that.
    """
    # cjson makes an empty array an object, and both are no backoff.
    if not backoff:
        return []
    parts: Any = backoff.split(",") if isinstance(backoff, str) else backoff
    try:
        waits = [int(part) for part in (parts if isinstance(parts, list) else [parts])]
    except (TypeError, ValueError, OverflowError) as error:
        raise MalformedRecord(f"its backoff {backoff!r} is no list of seconds") from error
    return [min(max(0, wait_s), LONGEST_WAIT_S) for wait_s in waits]


def _read_time(time_s: object) -> int | None:
    """Read a Unix time, given as a number or as its digits; 0 is none, as in Laravel."""
    if not time_s:
        return None
    try:
        return int(float(cast("Any", time_s)))
    except (TypeError, ValueError, OverflowError) as error:
        raise MalformedRecord(f"its retryUntil {time_s!r} is no time") from error
