"""`tenants`, `setup --database` and `ingest` as an operator runs them."""

import json
import os
import signal
import subprocess
import sys
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from redis import Redis

from streams.laravel.job import JobMetric, encode_job
from tests.parts.eventually import eventually_sync
from tests.parts.ports import free_port
from tests.parts.postgres import Postgres

ROOT = Path(__file__).parents[2]
PROGRAM = (sys.executable, "-m", "metric_streams")

Command = Callable[..., subprocess.CompletedProcess[str]]


@pytest.fixture
def environment(database_url: str, redis_url: str, unique: str) -> dict[str, str]:
    return {
        **os.environ,
        "DATABASE_URL": database_url,
        "REDIS_URL": redis_url,
        "QUEUE_PREFIX": f"{unique}_",
        "BROKER_URL": f"kafka://127.0.0.1:{free_port()}",
        "INGEST_WEB_PORT": "0",
    }


@pytest.fixture
def command(environment: dict[str, str]) -> Command:
    def run(*arguments: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [*PROGRAM, *arguments],
            cwd=ROOT,
            env=environment,
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )

    return run


@pytest.fixture
def database(database_url: str, postgres: Postgres) -> Callable[[str], str]:
    name = database_url.rpartition("/")[2]
    return lambda statement: postgres.execute(statement, name)


def test_setup_makes_the_tables_and_names_what_is_away(
    command: Command, database: Callable[[str], str]
) -> None:
    done = command("setup", "--database")
    assert done.returncode == 1  # there is no Kafka
    assert done.stdout.splitlines() == [
        "created  table tenants",
        "created  table metrics_raw",
        "created  table failed_jobs",
    ]
    assert "kafka" in done.stderr
    assert "Traceback" not in done.stderr
    assert database("select count(*) from metrics_raw") == "0"


def test_tenants_are_added_listed_and_removed(command: Command) -> None:
    command("setup", "--database")
    tenant_id = str(uuid.uuid4())
    assert tenant_id in command("tenants", "add", "Kühlhaus Süd", "--id", tenant_id).stdout
    listed = command("tenants")
    assert listed.returncode == 0
    assert [line.split(maxsplit=3)[::3] for line in listed.stdout.splitlines()[1:]] == [
        [tenant_id, "Kühlhaus Süd"]
    ]
    [tenant] = json.loads(command("tenants", "list", "--json").stdout)
    assert (tenant["id"], tenant["name"]) == (tenant_id, "Kühlhaus Süd")
    assert command("tenants", "remove", tenant_id).returncode == 0
    assert json.loads(command("tenants", "--json").stdout) == []


@pytest.mark.parametrize(
    ("arguments", "message", "code"),
    [
        (("add",), "add needs a name", 2),
        (("remove", "rubbish"), "remove needs a tenant's id, not 'rubbish'", 2),
        (("remove", str(uuid.UUID(int=0))), "there is no tenant", 1),
    ],
)
def test_what_cannot_be_done_is_one_line_and_its_exit_code(
    command: Command, arguments: tuple[str, ...], message: str, code: int
) -> None:
    command("setup", "--database")
    done = command("tenants", *arguments)
    assert done.returncode == code
    assert message in done.stderr
    assert len(done.stderr.splitlines()) == 1


def test_tenants_without_tables_names_the_mend(command: Command) -> None:
    done = command("tenants")
    assert done.returncode == 1
    assert "metric-streams setup --database" in done.stderr
    assert len(done.stderr.splitlines()) == 1


@contextmanager
def ingesting(environment: dict[str, str], log: Path) -> Iterator[subprocess.Popen[bytes]]:
    with log.open("wb") as output:
        process = subprocess.Popen(
            [*PROGRAM, "ingest"], cwd=ROOT, env=environment, stdout=output, stderr=subprocess.STDOUT
        )
    try:
        yield process
    finally:
        process.kill()
        process.wait()


def push(environment: dict[str, str], payload: bytes) -> None:
    with Redis.from_url(environment["REDIS_URL"]) as redis:
        name = f"{environment['QUEUE_PREFIX']}queues:default"
        redis.rpush(name, payload)
        redis.rpush(f"{name}:notify", 1)


@pytest.mark.parametrize("how", [signal.SIGTERM, signal.SIGINT])
def test_ingest_runs_until_it_is_told_to_stop(
    command: Command,
    environment: dict[str, str],
    database: Callable[[str], str],
    tmp_path: Path,
    how: signal.Signals,
) -> None:
    command("setup", "--database")
    tenant_id, log = str(uuid.uuid4()), tmp_path / "ingest.log"
    command("tenants", "add", "one", "--id", tenant_id)
    metric = JobMetric(
        agent_id="edge-7",
        metric_name="cpu",
        value=42.17,
        timestamp="2026-11-23 14:00:00.123456",
        dedupe_id="d-1",
    )
    with ingesting(environment, log) as process:
        push(environment, encode_job(tenant_id, [metric], str(uuid.uuid4()), "x" * 32))
        eventually_sync(lambda: database("select count(*) from metrics_raw") == "1", 30)
        process.send_signal(how)
        assert process.wait(10) == 0
    assert "1 rows of 1 jobs" in log.read_text()


def test_ingest_ends_with_one_line_at_a_foreign_job(
    command: Command, environment: dict[str, str], tmp_path: Path
) -> None:
    command("setup", "--database")
    log = tmp_path / "ingest.log"
    payload = json.loads(encode_job(str(uuid.uuid4()), [], str(uuid.uuid4()), "x" * 32))
    data = {"commandName": "App\\Jobs\\SendInvoice", "command": 'O:20:"App\\Jobs\\SendInvoice":0:{}'}
    push(environment, json.dumps({**payload, "displayName": "App\\Jobs\\SendInvoice", "data": data}).encode())
    with ingesting(environment, log) as process:
        assert process.wait(30) == 1
    assert "SendInvoice" in log.read_text().splitlines()[-1]
    assert "Traceback" not in log.read_text()
