"""Laravel's workers and ingest on one queue, while jobs fail, time out and their workers are killed."""

import asyncio
import logging
import os
import time
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Sequence
from contextlib import ExitStack, closing

import pytest
from redis.asyncio import Redis

from streams.database.session import connected
from streams.laravel.push import RedisJobQueue
from tests.contract.laravel import TENANT, Laravel, postgres_connection
from tests.contract.mixed_jobs import (
    DOOMED,
    FLAKY,
    PLAIN,
    WAIT_S,
    MixedJob,
    doubled,
    hand_off,
    is_of,
    lines_for_laravel,
    named,
    planned,
)
from tests.contract.mixed_scene import MIXED_PHP, LaravelWorker, MixedScene, ingest
from tests.parts.eventually import eventually
from tests.parts.php import Php
from tests.parts.process import Part
from tests.parts.redis import Redis as RedisServer

log = logging.getLogger(__name__)

JOBS = int(os.environ.get("MIXED_JOBS", "20000"))
RETRY_AFTER_S = 10
LARAVEL_WORKERS_STOPPED = 3
"""Two are killed, and one stands still for too long."""
LARAVEL, INGEST = "", "metric-streams"
"""Their names as PostgreSQL knows them."""
ROWS = 'select agent_id, metric_name, value, "timestamp"::text, dedupe_id from metrics_raw'
WRITTEN_BY = "select written_by, count(distinct agent_id) from metrics_raw group by 1"


Push = Callable[[Sequence[MixedJob]], Awaitable[None]]


@pytest.fixture
def redis_url(own: Callable[[Callable[[], RedisServer]], RedisServer]) -> str:
    """A Redis of the test's own, which does not wait for the disk."""
    return own(RedisServer).url


@pytest.fixture
def environment(php: Php, redis_url: str, database_url: str, prefix: str) -> dict[str, str]:
    """What Laravel's processes find in their environment; the tables are there, with a tenant."""
    database = postgres_connection(database_url)
    laravel = Laravel(php, redis_url, database, prefix=prefix, retry_after_s=RETRY_AFTER_S)
    with closing(laravel):
        laravel.migrate(TENANT)
    return laravel.environment


@pytest.fixture
async def scene(
    environment: dict[str, str],  # noqa: ARG001 - makes the tables
    redis: Redis,
    database_url: str,
    prefix: str,
) -> AsyncIterator[MixedScene]:
    async with connected(database_url) as connection:
        yield MixedScene(redis, connection, prefix)


@pytest.fixture
def workers(
    php: Php, environment: dict[str, str], redis_url: str, database_url: str, prefix: str
) -> Iterator[list[Part]]:
    """Two of Laravel's, two of ingest's; each kind once as it comes and once with what may be set."""
    ours = {
        "DATABASE_URL": database_url,
        "REDIS_URL": redis_url,
        "QUEUE_PREFIX": prefix,
        "QUEUE_RETRY_AFTER_S": str(RETRY_AFTER_S),
    }
    with ExitStack() as stack:
        yield [
            stack.enter_context(worker)
            for worker in (
                LaravelWorker(php, environment, block_for_s=0),
                ingest(ours, concurrency=1),
                LaravelWorker(php, environment, block_for_s=1),
                ingest(ours, concurrency=2),
            )
        ]


@pytest.fixture
def push(php: Php, environment: dict[str, str], redis: Redis, prefix: str) -> Push:
    """Push jobs, Laravel's and handoff's at the same time."""
    queue = RedisJobQueue(
        redis, prefix=prefix, queue="default", topics="metrics", owner="metric-streams", max_jobs=10**6
    )

    def dispatch(jobs: Sequence[MixedJob]) -> None:
        arguments = ("dispatch", TENANT, str(WAIT_S))
        php.run(MIXED_PHP, *arguments, standard_input=lines_for_laravel(jobs), env=environment, timeout_s=300)

    async def both(jobs: Sequence[MixedJob]) -> None:
        await asyncio.gather(asyncio.to_thread(dispatch, jobs), hand_off(jobs, queue))

    return both


async def test_every_job_is_done_or_failed_once_whoever_runs_it_and_whoever_dies(
    scene: MixedScene, workers: list[Part], push: Push
) -> None:
    jobs = planned(JOBS)
    await scene.break_flaky(jobs)
    began_s = time.monotonic()
    async with scene.watching():
        async with asyncio.TaskGroup() as pushing:
            pushing.create_task(push(jobs))
            killed = []
            for number, worker in enumerate(workers, start=1):
                await scene.until_heard(JOBS * number // 8)
                killed.append(await scene.kill_at_work(worker))
            outlived = await scene.outlive(*workers[:2])
        await eventually(scene.is_empty, 300, interval_s=0.2)
        log.info("%d jobs in %.0f s", len(jobs), time.monotonic() - began_s)
        await scene.hear_out()
    for worker in workers:
        await asyncio.to_thread(worker.stop)
    assert await scene.left() == {"": 0, ":notify": 0, ":reserved": 0, ":delayed": 0}
    log.info("held by those killed: %s, stopped for long: %s", killed, outlived)
    log.info("flaky jobs by their attempts when they waited: %s", scene.attempts)
    every_message_was_published(scene, jobs)
    await every_row_is_there(scene, jobs)
    await what_is_doomed_failed_once(scene, jobs)
    assert scene.mended == {job.name for job in jobs if is_of(FLAKY, job.name)}
    await both_kinds_did_their_share(scene)


def every_message_was_published(scene: MixedScene, jobs: Sequence[MixedJob]) -> None:
    """Once; twice only what a Laravel worker had in hand: it publishes before it settles the job."""
    assert set(scene.heard) == {job.message for job in jobs if not is_of(DOOMED, job.name)}
    twice = doubled(Counter({named(message): count for message, count in scene.heard.items()}))
    log.info("published twice: %s", twice)
    assert set(twice) <= scene.suspects
    assert len(twice) <= LARAVEL_WORKERS_STOPPED


async def every_row_is_there(scene: MixedScene, jobs: Sequence[MixedJob]) -> None:
    """Once; without a dedupe id once again where the job was in the hands of a worker that was stopped."""
    found = Counter(tuple(row) for row in await scene.connection.fetch(ROWS))
    assert set(found) == {row for job in jobs if not is_of(DOOMED, job.name) for row in job.rows}
    twice = doubled(Counter({row[0]: count for row, count in found.items()}))
    log.info("written twice: %s", twice)
    assert {name for name in twice if is_of(PLAIN, name)} == set(twice)
    assert set(twice) <= scene.suspects


async def what_is_doomed_failed_once(scene: MixedScene, jobs: Sequence[MixedJob]) -> None:
    """And nothing else failed."""
    failed = [
        named(row["payload"].encode())
        for row in await scene.connection.fetch("select payload from failed_jobs")
    ]
    assert sorted(failed) == sorted(job.name for job in jobs if is_of(DOOMED, job.name))


async def both_kinds_did_their_share(scene: MixedScene) -> None:
    """Neither leaves all of it to the other."""
    shares = dict(await scene.connection.fetch(WRITTEN_BY))
    log.info("jobs by who wrote their rows first: %s", shares)
    assert min(shares[kind] for kind in (LARAVEL, INGEST)) > JOBS // 100
