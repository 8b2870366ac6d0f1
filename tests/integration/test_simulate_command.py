"""``metric-streams simulate`` as an operator runs it."""

import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import asyncpg
import pytest

from streams.database.schema import apply_schema
from streams.database.tenant_admin import add_tenant
from tests.parts.eventually import eventually_sync
from tests.parts.mosquitto import Mosquitto
from tests.parts.ports import free_port

ROOT = Path(__file__).parents[2]
PROGRAM = (sys.executable, "-m", "metric_streams", "simulate")
TENANT = "11111111-1111-4111-8111-111111111111"

Command = Callable[..., subprocess.CompletedProcess[str]]


@pytest.fixture
def environment(mosquitto: Mosquitto) -> dict[str, str]:
    nowhere = f"postgresql://postgres@127.0.0.1:{free_port()}/postgres"
    return {**os.environ, "MQTT_URL": mosquitto.url, "DATABASE_URL": nowhere}


@pytest.fixture
def simulate(environment: dict[str, str]) -> Command:
    def run(*arguments: str, **settings: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [*PROGRAM, *arguments],
            cwd=ROOT,
            env=environment | settings,
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )

    return run


def test_it_tells_what_was_acknowledged_by_kind(simulate: Command) -> None:
    shares = ["--duplicates", "0.2", "--corrections", "0.1", "--malformed", "0.1"]
    done = simulate("--tenant", TENANT, "--count", "400", "--rate", "2000", "--seed", "7", *shares, "--json")
    assert done.returncode == 0, done.stderr
    summary = json.loads(done.stdout)
    assert (summary["sent"], summary["acked"], summary["refused"], summary["unanswered"]) == (400, 400, 0, 0)
    assert sum(summary["acked_by_kind"].values()) == 400
    assert min(summary["acked_by_kind"].values()) > 0
    assert summary["seed"] == 7
    assert summary["rate"] > 500


def test_it_speaks_to_a_person_unless_asked_for_json(simulate: Command) -> None:
    done = simulate("--tenant", TENANT, "--count", "20", "--rate", "1000", "--seed", "7", "--malformed", "0")
    assert done.returncode == 0, done.stderr
    assert "20 messages sent at QoS 1" in done.stdout
    assert "20 acknowledged" in done.stdout
    assert "--seed 7" in done.stdout


def test_it_stops_by_itself_after_the_seconds_given(simulate: Command) -> None:
    done = simulate("--tenant", TENANT, "--seconds", "0.5", "--rate", "100", "--json")
    assert done.returncode == 0, done.stderr
    summary = json.loads(done.stdout)
    assert 0.4 < summary["seconds"] < 5
    assert 20 <= summary["acked"] <= 60


def test_an_interrupt_ends_it_with_the_summary(environment: dict[str, str]) -> None:
    command = [*PROGRAM, "--tenant", TENANT, "--rate", "100", "--json"]
    with subprocess.Popen(
        command, cwd=ROOT, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as process:
        assert process.stderr
        assert process.stdout
        assert "acknowledged" in process.stderr.readline()  # it says so once a second
        process.send_signal(signal.SIGINT)
        summary = json.loads(process.stdout.read())
        assert eventually_sync(lambda: process.poll() is not None)
    assert process.returncode == 0
    assert summary["acked"] == summary["sent"] > 0


async def test_the_tenants_of_the_table_publish_by_default(simulate: Command, database_url: str) -> None:
    connection = await asyncpg.connect(database_url)
    await apply_schema(connection)
    empty = simulate("--count", "1", DATABASE_URL=database_url)
    await add_tenant(connection, "the only one")
    await connection.close()
    assert empty.returncode == 1
    assert "the tenants table is empty" in empty.stderr
    done = simulate("--count", "10", "--rate", "1000", "--json", DATABASE_URL=database_url)
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["acked"] == 10


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--count", "1"], "the tenants cannot be read, name one with --tenant ID"),
        (["--tenant", TENANT, "--duplicates", "0.6", "--malformed", "0.5"], "add up to less than 1"),
    ],
)
def test_what_cannot_be_simulated_is_said_in_one_line(
    simulate: Command, arguments: list[str], said: str
) -> None:
    done = simulate(*arguments)
    assert done.returncode == 1
    assert said in done.stderr
    assert "Traceback" not in done.stderr


def test_a_broker_that_is_away_is_said_in_one_line(simulate: Command) -> None:
    done = simulate("--tenant", TENANT, "--count", "1", MQTT_URL=f"mqtt://127.0.0.1:{free_port()}")
    assert done.returncode == 1
    assert "mqtt: mqtt://127.0.0.1" in done.stderr
    assert "Traceback" not in done.stderr


def test_a_broker_that_does_not_take_everything_fails_the_command(
    simulate: Command, own: Callable[..., Mosquitto], tmp_path: Path
) -> None:
    rules = tmp_path / "acl"
    rules.write_text("topic write nothing\n")
    # With the configuration's own 0, Mosquitto 2.0.11 also ends the connection of who is refused.
    mosquitto = own(lambda: Mosquitto({"acl_file": str(rules), "max_queued_messages": "1000"}))
    done = simulate("--tenant", TENANT, "--count", "5", "--rate", "1000", "--json", MQTT_URL=mosquitto.url)
    assert done.returncode == 1
    assert json.loads(done.stdout)["refused"] == 5
    assert "did not take every message" in done.stderr
