"""The same jobs in PHP and in our code, told in words that keep types and bits."""

import struct
from collections.abc import Iterable, Iterator, Sequence
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

import msgspec
from redis import Redis

from streams.ingest.rows import MetricRow, rows_of, stamped
from streams.laravel import broadcast as publication
from streams.laravel.job import Job, decode_job
from streams.models import members_of
from tests.contract.laravel import TENANT, Laravel
from tests.parts.php import Php, PhpScript

NOW = "2026-11-24 01:02:03.000004"

Told = dict[str, str | None]
"""Something with named values; PHP's side of this is ``told`` in ``differential.php``."""


class Answer(msgspec.Struct, forbid_unknown_fields=True):
    """What became of a job in PHP."""

    uuid: str
    id: str
    name: str
    attempts: int
    max_tries: int
    backoff: str
    tenant: str
    metrics: list[Told]
    upserts: list[Told]
    inserts: list[Told]
    raw: str
    """The payload in the list."""
    reserved: str
    """Its copy in ``:reserved``, which has passed through cjson."""
    channel: str = ""
    message: bytes = b""


class Differential:
    """A PHP process with Laravel's queue in it, and an ear for what its jobs publish."""

    def __init__(self, script: PhpScript, redis: Redis, channels: str) -> None:
        self._script = script
        self._pubsub = redis.pubsub(ignore_subscribe_messages=True)
        self._pubsub.psubscribe(channels)
        self._pubsub.get_message(timeout=5)  # the confirmation

    def push(self, payload: bytes) -> Answer:
        """Let PHP run a job as we wrote it."""
        return self._ask("push", payload.decode())

    def dispatch(self, metrics: Sequence[Told]) -> Answer:
        """Let PHP write a job and run it."""
        return self._ask("dispatch", metrics)

    def _ask(self, action: str, argument: object) -> Answer:
        self._script.send(action, argument)
        answer = msgspec.convert(self._script.answer(), Answer)
        heard = self._pubsub.get_message(timeout=5)
        assert heard is not None, "nothing was published"
        answer.channel, answer.message = heard["channel"].decode(), heard["data"]
        return answer

    def close(self) -> None:
        """Stop listening."""
        self._pubsub.close()


@contextmanager
def conversing(php: Php, laravel: Laravel, redis_url: str, prefix: str) -> Iterator[Differential]:
    """Start the PHP process on the queue of `laravel`, and end it with the block."""
    environment = laravel.environment | {"TENANT": TENANT, "TIME_OF_ALL_JOBS": NOW}
    script = PhpScript(php, Path(__file__).with_suffix(".php"), environment)
    with (
        closing(script),
        Redis.from_url(redis_url) as redis,
        closing(Differential(script, redis, f"{prefix}tenant.*")) as differential,
    ):
        yield differential


def told(value: str | float | None) -> str | None:
    """Return a value in words."""
    if value is None:
        return None
    if isinstance(value, str):
        return f"s:{value}"
    return f"d:{struct.pack('>d', value).hex()}" if isinstance(value, float) else f"i:{value}"


def untold(words: str) -> str | int | float:
    """Return the value that is not null."""
    kind, value = words[0], words[2:]
    if kind == "d":
        return float(struct.unpack(">d", bytes.fromhex(value))[0])
    return int(value) if kind == "i" else value


def metrics_of(job: Job) -> list[Told]:
    """Tell what a job's metrics are."""
    return [{name: told(value) for name, value in members_of(one).items()} for one in job.metrics]


def rows_of_ingest(payloads: Iterable[str]) -> tuple[list[Told], list[Told]]:
    """Tell what ingest would upsert and insert for jobs that it takes together."""
    jobs = [stamped(decode_job(payload.encode()), NOW) for payload in payloads]
    upserts, inserts = rows_of(jobs)
    return [_row(row) for row in upserts], [_row(row) for row in inserts]


def rows_of_php(answers: Sequence[Answer]) -> tuple[list[Told], list[Told]]:
    """Tell what is in the tables when PHP has run the jobs: of those with the same key, the last."""
    upserts = {row["dedupe_id"]: as_stored(row) for answer in answers for row in answer.upserts}
    inserts = [as_stored(row) for answer in answers for row in answer.inserts]
    return [upserts[key] for key in sorted(upserts, key=str)], inserts


def as_stored(row: Told) -> Told:
    """Tell a row as its columns hold it: names as text, the value as a double."""
    texts = {name: f"s:{untold(row[name] or '')}" for name in ("agent_id", "metric_name")}
    return row | texts | {"value": told(float(untold(row["value"] or "")))}


def message_of_ingest(payload: str) -> bytes:
    """Return what ingest would publish."""
    return publication.encode(stamped(decode_job(payload.encode()), NOW).metrics)


def _row(row: MetricRow) -> dict[str, Any]:
    members = {"tenant_id": str(row.tenant_id), **members_of(row.metric)}
    return {name: told(value) for name, value in members.items()}
