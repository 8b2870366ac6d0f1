r"""When a job is tried again and when it has failed, as Laravel's worker decides it. Pure.

The rules are those of ``Illuminate\Queue\Worker`` (8.83: markJobAsFailedIf…, calculateBackoff); the row is
that of ``Illuminate\Queue\Failed\DatabaseUuidFailedJobProvider``, so ``queue:retry`` and ``queue:failed``
of an application find what ``ingest`` has given up.
"""

from typing import Self
from uuid import NAMESPACE_OID, uuid5

import msgspec

from streams.laravel.job import CONNECTION, Job
from streams.logs.plain import plain

WORKER_TRIES = 1
"""For a job that names no tries: what ``queue:work`` takes without ``--tries``."""

UUID_LENGTH = 255  # failed_jobs.uuid is a varchar(255)


class FailedJob(msgspec.Struct, frozen=True):
    """A row of ``failed_jobs``."""

    uuid: str
    connection: str
    queue: str
    payload: str
    exception: str

    @classmethod
    def of(cls, payload: bytes, queue: str, exception: str, connection: str = CONNECTION) -> Self:
        """Make the row of a job that was given up.

        A payload without a readable uuid gets one of its own bytes, so that giving it up twice (after a
        crash in between) is still one row.
        """
        uuid = _uuid(payload) or str(uuid5(NAMESPACE_OID, payload.hex()))
        return cls(
            uuid, connection, queue, _text(payload), _text(plain(exception).encode(errors="backslashreplace"))
        )


class _Head(msgspec.Struct):
    uuid: str


def is_exhausted(job: Job, now_s: float) -> bool:
    """Tell whether a job just taken may not be tried any more.

    It has had all its tries, where earlier workers died in the middle of it, or its time is over. Where it
    has a time, tries do not count.
    """
    # A time limit takes the place of the tries, as in Laravel (markJobAsFailedIfAlreadyExceedsMaxAttempts).
    if job.retry_until is not None:
        return job.retry_until < int(now_s)
    tries = _tries(job)
    return tries > 0 and _attempt(job) > tries


def exhausted_message(job: Job) -> str:
    """Return what Laravel writes for such a job."""
    return (
        f"Illuminate\\Queue\\MaxAttemptsExceededException: {job.display_name} has been attempted too many "
        "times or run too long. The job may have previously timed out."
    )


def next_try_s(job: Job, now_s: float) -> int | None:
    """Return the seconds until a job that failed just now is tried again; None if it is given up."""
    if _was_the_last_try(job, now_s):
        return None
    waits = job.backoff or [0]
    # The last wait holds for all tries that follow, as in Laravel's calculateBackoff.
    return waits[min(_attempt(job), len(waits)) - 1]


def _was_the_last_try(job: Job, now_s: float) -> bool:
    if job.retry_until is not None:
        return job.retry_until <= int(now_s)
    return 0 < _tries(job) <= _attempt(job)


def _attempt(job: Job) -> int:
    """Return the number of this attempt; the payload holds how many there were before."""
    return max(0, job.attempts) + 1


def _tries(job: Job) -> int:
    return WORKER_TRIES if job.max_tries is None else job.max_tries


def _uuid(payload: bytes) -> str | None:
    try:
        uuid = msgspec.json.decode(payload, type=_Head).uuid
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return None
    return uuid if 0 < len(uuid) <= UUID_LENGTH and "\0" not in uuid else None


def _text(raw: bytes) -> str:
    """Return what PostgreSQL can hold as text: what is no UTF-8, and NUL, as escapes."""
    return raw.decode("utf-8", errors="backslashreplace").replace("\0", "\\x00")
