r"""The job of the Laravel queue: ``ProcessMetricSubmission`` for one tenant, as Laravel's dispatch writes it.

Written by handoff, read by Laravel's workers and by ``ingest``; all on one line, the command shortened:

    {"uuid":"013e00c0-a519-4bbd-b8fd-4d6a52ae375e","displayName":"App\\Jobs\\ProcessMetricSubmission",
    "job":"Illuminate\\Queue\\CallQueuedHandler@call","maxTries":5,"maxExceptions":null,"failOnTimeout":false,
    "backoff":"10,30,60","timeout":null,"retryUntil":null,"data":{
    "commandName":"App\\Jobs\\ProcessMetricSubmission",
    "command":"O:32:\"App\\Jobs\\ProcessMetricSubmission\":14:{s:5:\"tries\";i:5; … }"},
    "id":"1ElK4XaPq6OzF11BHbfU1j8MKqwDce8h","attempts":0}

The whole stands in ``tests/golden/laravel-job.json``; the command is `streams.wire.command`. Written is what
Laravel 8.83 writes (``Illuminate\Queue\Queue::createObjectPayload``), which all later versions run, and what
`Extras` asks for. It is read by `streams.wire.job_reader`.
"""

from collections.abc import Sequence
from functools import lru_cache
from operator import add
from typing import NamedTuple

from streams.wire import php_json
from streams.wire.command import BACKOFF_S, TRIES, JobMetric, Row, write_command

__all__ = ["JOB_CLASS", "MODEL_CLASS", "Extras", "JobMetric", "Row", "encode_job"]

JOB_CLASS = r"App\Jobs\ProcessMetricSubmission"
MODEL_CLASS = r"App\Models\Tenant"
MODEL_CONNECTION = "default"
CONNECTION = "redis"
"""The queue connection in the application's ``config/queue.php``."""

_PLACE = "\ufffc"
"""Holds a place in the envelope; no name of a class has it."""
HANDLER = r"Illuminate\Queue\CallQueuedHandler@call"


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


def encode_job(
    tenant_id: str,
    metrics: Sequence[Row],
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
        "job": HANDLER,
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
    return _json(payload).split(_json(_PLACE))


def _json(value: php_json.Json) -> str:
    return php_json.encode(value, unescaped_unicode=True)
