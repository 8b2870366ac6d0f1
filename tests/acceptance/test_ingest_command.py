"""``metric-streams ingest`` as an operator runs it."""

import json
import os
import signal
import subprocess
import sys
import urllib.request
import uuid
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import pytest
from redis import Redis

from streams.database.schema import ensure_tables
from streams.laravel.job import JobMetric, encode_job
from tests.parts.eventually import eventually_sync
from tests.parts.ports import free_port
from tests.parts.postgres import Postgres

REPOSITORY = Path(__file__).parents[2]
INGEST = (sys.executable, "-m", "metric_streams", "ingest")
WHEN = "2026-11-23 14:00:00.123456"


@pytest.fixture
async def environment(database_url: str, redis_url: str, unique: str) -> dict[str, str]:
    await ensure_tables(database_url)
    return {
        "PATH": os.environ["PATH"],
        "PYTHONPATH": str(REPOSITORY),
        "DATABASE_URL": database_url,
        "REDIS_URL": redis_url,
        "QUEUE_PREFIX": f"{unique}_",
        "INGEST_WEB_PORT": str(free_port()),
    }


@pytest.fixture
def tenant(environment: dict[str, str], database: Callable[[str], str]) -> str:  # noqa: ARG001 - makes the tables
    tenant_id = str(uuid.uuid4())
    database(f"insert into tenants (id, name) values ('{tenant_id}', 'one')")  # noqa: S608 - a UUID of ours
    return tenant_id


@pytest.fixture
def database(database_url: str, postgres: Postgres) -> Callable[[str], str]:
    name = database_url.rpartition("/")[2]
    return lambda statement: postgres.execute(statement, name)


@pytest.fixture
def ids(database: Callable[[str], str]) -> Callable[[], list[str]]:
    return lambda: database("select dedupe_id from metrics_raw order by id").split()


def push(environment: dict[str, str], tenant_id: str, *dedupe_ids: str) -> None:
    """Push a job for each id."""
    with Redis.from_url(environment["REDIS_URL"]) as redis:
        name = f"{environment['QUEUE_PREFIX']}queues:default"
        for dedupe_id in dedupe_ids:
            metric = JobMetric(
                agent_id="edge-7", metric_name="cpu", value=42.17, timestamp=WHEN, dedupe_id=dedupe_id
            )
            redis.rpush(name, encode_job(tenant_id, [metric], str(uuid.uuid4()), "x" * 32))
            redis.rpush(f"{name}:notify", 1)


def run(environment: dict[str, str], *arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [*INGEST, *arguments],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
        cwd=REPOSITORY,
        env=environment,
    )


def test_until_empty_it_runs_every_job_and_ends_with_0(
    environment: dict[str, str], tenant: str, ids: Callable[[], list[str]]
) -> None:
    push(environment, tenant, "a", "b", "c")
    done = run(environment, "--until-empty")
    assert done.returncode == 0, done.stderr
    assert ids() == ["a", "b", "c"]
    assert "3 rows of 3 jobs" in done.stderr


def test_once_it_runs_one_job_and_ends_with_0(
    environment: dict[str, str], tenant: str, ids: Callable[[], list[str]]
) -> None:
    push(environment, tenant, "a", "b")
    done = run(environment, "--once")
    assert done.returncode == 0, done.stderr
    assert ids() == ["a"]


def test_several_batches_at_once_run_every_job(
    environment: dict[str, str], tenant: str, ids: Callable[[], list[str]]
) -> None:
    expected = [f"d-{number}" for number in range(1_000)]
    push(environment, tenant, *expected)
    done = run(environment, "--until-empty", "--concurrency", "3")
    assert done.returncode == 0, done.stderr
    assert sorted(ids()) == sorted(expected)


def test_its_pages_are_there_while_it_runs_and_it_stops_in_good_order(
    environment: dict[str, str], tenant: str, ids: Callable[[], list[str]], tmp_path: Path
) -> None:
    url = f"http://127.0.0.1:{environment['INGEST_WEB_PORT']}"
    with (tmp_path / "log").open("wb") as log:
        process = subprocess.Popen(INGEST, cwd=REPOSITORY, env=environment, stdout=log, stderr=log)
    try:
        eventually_sync(lambda: _get(f"{url}/health/ready"), 30)
        push(environment, tenant, "a", "b")
        eventually_sync(lambda: len(ids()) == 2)
        eventually_sync(lambda: json.loads(_get(url) or "{}").get("rows") == 2)
        assert "metric_streams_ingest_rows_total 2.0" in (_get(f"{url}/metrics") or "")
        taken = run(environment)
        assert taken.returncode == os.EX_CONFIG
        assert "INGEST_WEB_PORT" in taken.stderr.splitlines()[-1]
        assert "Traceback" not in taken.stderr
        process.send_signal(signal.SIGTERM)
        assert process.wait(10) == 0
    finally:
        process.kill()
        process.wait()


def _get(url: str) -> str | None:
    """Return a page, or None if nobody answers with 200."""
    with suppress(OSError), urllib.request.urlopen(url, timeout=3) as answer:  # noqa: S310 - loopback
        return str(answer.read().decode())
    return None
