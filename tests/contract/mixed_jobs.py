"""The jobs of the test with both workers at once, and what must have become of them in the end."""

import asyncio
import json
import re
import uuid
from collections import Counter
from collections.abc import Sequence
from typing import NamedTuple

import msgspec

from streams.laravel import broadcast as publication
from streams.laravel.fence import Fence
from streams.laravel.job import JobMetric, encode_job
from streams.laravel.push import ChunkOfJobs, Push, RedisJobQueue
from tests.contract.laravel import TENANT

WAIT_S = 2
"""Until a job that failed is tried again: the payload says so, instead of 10, 30 and 60."""

GOOD, FLAKY, DOOMED, PLAIN = "good", "flaky", "doomed", "plain"
_NAME = re.compile(rb"(?:good|flaky|doomed|plain)-[0-9]+")
_CHUNK = 250

Row = tuple[str, str, float, str, str | None]


class MixedJob(NamedTuple):
    """A job whose name is the agent of its metrics; its first word says what is to become of it.

    A good one is done at once. A flaky one, of which there are 5 %, fails at least once, a doomed one always.
    A plain one has rows without a dedupe id: since a job is run at least once, "exact" can only mean that
    they are there as often as it was run.
    """

    name: str
    metrics: list[JobMetric]
    by_laravel: bool

    @property
    def rows(self) -> list[Row]:
        """What is to be in the table."""
        return [
            (one.agent_id, one.metric_name, float(one.value), str(one.timestamp), one.dedupe_id)
            for one in self.metrics
        ]

    @property
    def message(self) -> bytes:
        """What is to be published."""
        return publication.encode(self.metrics)


def planned(count: int) -> list[MixedJob]:
    """Plan jobs of 1 to 5 metrics; Laravel and handoff write every other one."""
    return [_job(number) for number in range(count)]


def _job(number: int) -> MixedJob:
    kind, by_laravel = _kind(number), number % 2 == 0
    name = f"{kind}-{number}"
    metrics = [
        JobMetric(
            agent_id=name,
            metric_name=f"metric.{index}" + ("x" * 64 if kind == DOOMED else ""),
            value=number if index == 0 else number + index / 8,
            timestamp="2026-11-23 14:00:00.123456",
            dedupe_id=None if kind == PLAIN else f"{name}.{index}",
        )
        for index in range(1 + number % 5)
    ]
    return MixedJob(name, metrics, by_laravel)


def _kind(number: int) -> str:
    if number % 20 == 3 + number // 20 % 2:  # odd and even ones, so Laravel's and handoff's
        return FLAKY
    if number % 500 in (99, 400):
        return DOOMED
    return PLAIN if number % 100 == 50 else GOOD


def named(payload: bytes) -> str:
    """Return the name of the job that a payload or a publication is of."""
    found = _NAME.search(payload)
    assert found is not None, payload
    return found[0].decode()


def is_of(kind: str, name: str) -> bool:
    """Tell whether a job is of that kind."""
    return name.startswith(f"{kind}-")


def lines_for_laravel(jobs: Sequence[MixedJob]) -> str:
    """Return what ``mixed.php dispatch`` reads."""
    return "".join(
        json.dumps([msgspec.structs.asdict(metric) for metric in job.metrics]) + "\n"
        for job in jobs
        if job.by_laravel
    )


async def hand_off(jobs: Sequence[MixedJob], queue: RedisJobQueue) -> None:
    """Push the others as handoff does: in its form, with its script, chunk after chunk."""
    # In a thread: it takes so long that connections would count as lost meanwhile.
    payloads = await asyncio.to_thread(lambda: [_payload(job) for job in jobs if not job.by_laravel])
    await queue.standing(0)
    for offset, first in enumerate(range(0, len(payloads), _CHUNK)):
        chunk = ChunkOfJobs(Fence(0, offset, offset), payloads[first : first + _CHUNK])
        assert await queue.push(0, [chunk]) is Push.PUSHED


def _payload(job: MixedJob) -> bytes:
    payload = encode_job(TENANT, job.metrics, str(uuid.uuid4()), uuid.uuid4().hex)
    return payload.replace(b'"backoff":"10,30,60"', b'"backoff":"%d"' % WAIT_S)


def doubled(seen: Counter[str]) -> dict[str, int]:
    """Return what was counted more than once, with how often."""
    return {name: count for name, count in seen.items() if count > 1}
