"""``ingest --once`` and ``--until-empty`` while they can do nothing: from cron they must not pile up."""

import os
import signal
import subprocess
import uuid
from collections.abc import Callable
from pathlib import Path
from urllib.parse import urlsplit

import pytest
from redis import Redis

from streams.database.schema import ensure_tables
from streams.laravel.job import JobMetric, encode_job
from tests.parts.commands import REPOSITORY, WAYS, call
from tests.parts.eventually import eventually_sync
from tests.parts.ports import free_port
from tests.parts.postgres import Postgres

WHEN = "2026-11-23 14:00:00.123456"
Environment = dict[str, str]


@pytest.fixture
async def environment(database_url: str, redis_url: str, unique: str) -> Environment:
    await ensure_tables(database_url)
    return {
        "DATABASE_URL": database_url,
        "REDIS_URL": redis_url,
        "QUEUE_PREFIX": f"{unique}_",
        "INGEST_WAIT_LIMIT_S": "0.5",
    }


@pytest.fixture
def job(environment: Environment, database_url: str, postgres: Postgres) -> bytes:
    """Return a job that is due, of a tenant that exists."""
    tenant_id = str(uuid.uuid4())
    name = database_url.rpartition("/")[2]
    postgres.execute(f"insert into tenants (id, name) values ('{tenant_id}', 'one')", name)  # noqa: S608 - a UUID
    payload = encode_job(
        tenant_id,
        [JobMetric(agent_id="edge-7", metric_name="cpu", value=1.5, timestamp=WHEN, dedupe_id="d-1")],
        "u",
        "i" * 32,
    )
    with Redis.from_url(environment["REDIS_URL"]) as redis:
        redis.rpush(f"{environment['QUEUE_PREFIX']}queues:default", payload)
    return payload


@pytest.fixture
def queue(environment: Environment) -> Callable[[], list[bytes]]:
    def waiting() -> list[bytes]:
        with Redis.from_url(environment["REDIS_URL"]) as redis:
            found: list[bytes] = redis.lrange(f"{environment['QUEUE_PREFIX']}queues:default", 0, -1)
            return found

    return waiting


def table_is_missing(environment: Environment, postgres: Postgres) -> Environment:
    postgres.execute("drop table metrics_raw", _name(environment))
    return {}


def database_does_not_exist(environment: Environment, postgres: Postgres) -> Environment:
    return {"DATABASE_URL": postgres.url_of(f"{_name(environment)}_none")}


def database_is_read_only(environment: Environment, postgres: Postgres) -> Environment:
    name = _name(environment)
    postgres.execute(f'alter database "{name}" set default_transaction_read_only to on')
    return {}


def database_refuses_connections(environment: Environment, postgres: Postgres) -> Environment:
    return {"DATABASE_URL": f"postgresql://{postgres.host}:{free_port()}/{_name(environment)}"}


def database_password_is_wrong(environment: Environment, postgres: Postgres) -> Environment:
    name = _name(environment)
    postgres.execute(f"create role \"{name}\" login password 'right'")
    hba = postgres.data / "pg_hba.conf"
    hba.write_text(f'host all "{name}" all scram-sha-256\n{hba.read_text()}')
    postgres.execute("select pg_reload_conf()")
    return {"DATABASE_URL": f"postgresql://{name}:wrong@{postgres.host}:{postgres.port}/{name}"}


def redis_is_away(environment: Environment, postgres: Postgres) -> Environment:  # noqa: ARG001 - as the others
    return {"REDIS_URL": f"redis://127.0.0.1:{free_port()}/0"}


def redis_password_is_wrong(environment: Environment, postgres: Postgres) -> Environment:  # noqa: ARG001 - as the others
    return {"REDIS_URL": environment["REDIS_URL"].replace("redis://", "redis://nobody:wrong@")}


@pytest.mark.parametrize(
    ("how", "fault", "reason"),
    [
        ("--until-empty", table_is_missing, "metrics_raw"),
        ("--once", table_is_missing, "metrics_raw"),
        ("--until-empty", database_does_not_exist, "does not exist"),
        ("--once", database_is_read_only, "read-only"),
        ("--until-empty", database_refuses_connections, "postgres"),
        ("--once", database_password_is_wrong, "password"),
        ("--until-empty", redis_is_away, "redis"),
        ("--once", redis_is_away, "redis"),
        ("--until-empty", redis_password_is_wrong, "redis"),
    ],
)
def test_it_ends_with_75_and_the_reason_in_one_line_and_the_job_stays(  # noqa: PLR0917 - fixtures
    environment: Environment,
    job: bytes,
    queue: Callable[[], list[bytes]],
    postgres: Postgres,
    how: str,
    fault: Callable[[Environment, Postgres], Environment],
    reason: str,
) -> None:
    done = call("metric-streams", "ingest", how, **environment | fault(environment, postgres))
    assert done.returncode == os.EX_TEMPFAIL, done.stderr
    last = done.stderr.splitlines()[-1]
    assert last.startswith("metric-streams ingest: nothing could be done for 0.5 s (INGEST_WAIT_LIMIT_S)")
    assert reason in last
    assert "Traceback" not in done.stderr
    assert "wrong" not in done.stderr
    assert queue() == [job]


@pytest.mark.parametrize("how", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_ends_the_wait_at_once_and_that_is_no_success(
    environment: Environment,
    job: bytes,
    queue: Callable[[], list[bytes]],
    tmp_path: Path,
    how: signal.Signals,
) -> None:
    away = {"DATABASE_URL": f"postgresql://127.0.0.1:{free_port()}/x", "INGEST_WAIT_LIMIT_S": "0"}
    log = tmp_path / "log"
    with log.open("wb") as output:
        process = subprocess.Popen(
            [*WAYS["metric-streams"], "ingest", "--until-empty"],
            cwd=REPOSITORY,
            env={"PATH": os.environ["PATH"], **environment, **away},
            stdout=output,
            stderr=output,
        )
    try:
        eventually_sync(lambda: "postgres" in log.read_text(), 30)
        process.send_signal(how)
        assert process.wait(30) == os.EX_TEMPFAIL
    finally:
        process.kill()
        process.wait()
    assert "told to stop before nothing is due" in log.read_text().splitlines()[-1]
    assert queue() == [job]


@pytest.mark.parametrize("how", ["--until-empty", "--once"])
def test_that_nothing_was_due_is_said(environment: Environment, how: str) -> None:
    done = call("metric-streams", "ingest", how, **environment)
    assert done.returncode == 0
    assert "nothing is due in the queue default" in done.stderr.splitlines()[-1]


@pytest.mark.usefixtures("job")
def test_where_something_was_due_that_is_not_said(environment: Environment) -> None:
    done = call("metric-streams", "ingest", "--until-empty", **environment)
    assert done.returncode == 0
    assert "1 rows of 1 jobs" in done.stderr
    assert "nothing is due" not in done.stderr


def _name(environment: Environment) -> str:
    return urlsplit(environment["DATABASE_URL"]).path[1:]
