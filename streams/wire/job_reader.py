"""Reads the job of the Laravel queue (`streams.wire.job`), whichever version of Laravel wrote it.

Also the copy that Redis's cjson makes of a reserved job. Unknown members are passed over; ``docs/laravel.md``
has what differs from version to version.
"""

import math
from typing import Any, cast

import msgspec

from streams.errors import ForeignJob, MalformedRecord
from streams.wire.command import Command, JobMetric
from streams.wire.command_reader import read_command
from streams.wire.job import HANDLER, JOB_CLASS

LONGEST_WAIT_S = 2**31
"""Redis holds the time of the next try as a double."""

_ENCRYPTED = "eyJ"  # ``{"`` in base64: what Illuminate\Encryption\Encrypter writes is ``{"iv":…}``


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


def decode_job(payload: bytes, *, job_class: str = JOB_CLASS) -> Job:
    """Read a payload, as pushed or as reserved.

    Raises:
        ForeignJob: if it is a job of another class, or encrypted, which only the application can undo.
        MalformedRecord: if it is no job, or one whose command cannot be read.
    """
    try:
        envelope = _envelopes.decode(payload)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
        raise MalformedRecord(f"not a job of a Laravel queue: {error}") from error
    _refuse_foreign(envelope, envelope.job, HANDLER, job_class)
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
