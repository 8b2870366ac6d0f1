"""Settings with which nothing could run end a program at once: a line for each fault, and exit code 78."""

import os
import socket
import subprocess
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest

REPOSITORY = Path(__file__).parents[2]
SCREEN_LINES = 24
MARK = "s3cr3t"

WRONG = {
    "one of each kind": {
        "BROKER_URL": f"kafka+ssl://app:{MARK}@h:9093",
        "MQTT_URL": f"mqtt://app:{MARK}#x@h",
        "REDIS_URL": f"redis://:{MARK}@h/laravel",
        "DATABASE_URL": f"postgresql://app:{MARK}/x@h/d",
        "MQTT_SHARE_GROUP": "a/b",
        "MQTT_TOPIC_FILTER": "metrics/#/x",
        "MQTT_STATUS_TOPIC": "a/#",
        "CHUNK_LINGER_MS": "60",
        "TOPIC_PARTITIONS": "many",
    },
    "options": {
        "REDIS_URL": "redis://h?read_timeout=60&prefix=app",
        "DATABASE_URL": f"postgresql://app:{MARK}@h/d?channel_binding=require&schema=app&connect_timeout=5",
    },
    "names": {
        "MQTT_TOPICFILTER": "metrics/#",
        "REDIS_URI": f"redis://:{MARK}@h",
        "KAFKA_BROKER_URL": "h:9092",
    },
    "files": {"WEB_TOKEN_FILE": ".", "MQTT_URL_FILE": "nowhere"},
}


def run(command: Sequence[str], environment: dict[str, str]) -> subprocess.CompletedProcess[str]:
    kept = {name: os.environ[name] for name in ("PATH", "HOME", "LANG", "TMPDIR") if name in os.environ}
    return subprocess.run(
        [sys.executable, "-m", "faust", "-A", "streams", *command],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
        cwd=REPOSITORY,
        env=kept | {"PYTHONPATH": str(REPOSITORY)} | environment,
    )


def told(done: subprocess.CompletedProcess[str]) -> str:
    """Return what a program says that ends for its settings."""
    output = done.stdout + done.stderr
    assert "Traceback" not in output, output
    assert MARK not in output, output
    assert done.returncode == os.EX_CONFIG, output
    return output


@pytest.mark.parametrize("wrong", WRONG)
@pytest.mark.parametrize("command", ["worker", "ingest"])
def test_wrong_settings_end_a_program_with_a_line_for_each(command: str, wrong: str) -> None:
    output = told(run([command], WRONG[wrong]))
    assert len(output.splitlines()) < SCREEN_LINES, output
    assert all(name in output for name in WRONG[wrong])


@pytest.fixture
def taken() -> Iterator[int]:
    """A port on which somebody listens."""
    with socket.socket() as listening:
        listening.bind(("127.0.0.1", 0))
        listening.listen()
        yield listening.getsockname()[1]


@pytest.mark.parametrize(("command", "setting"), [("worker", "WEB_PORT"), ("ingest", "INGEST_WEB_PORT")])
def test_a_port_that_is_taken_ends_a_program_with_the_setting_to_change(
    command: str, setting: str, taken: int
) -> None:
    output = told(run([command], {setting: str(taken)}))
    (line,) = [line for line in output.splitlines() if "cannot be served" in line]
    assert f"127.0.0.1 port {taken}: another process has the port" in line
    assert f"set {setting} to" in line


@pytest.mark.parametrize("bind", ["192.0.2.1", "no-such-host.invalid"])
@pytest.mark.parametrize("command", ["worker", "ingest"])
def test_an_address_of_another_machine_ends_a_program_with_the_setting_to_change(
    command: str, bind: str
) -> None:
    output = told(run([command], {"WEB_BIND": bind, "WEB_TOKEN": "token"}))
    (line,) = [line for line in output.splitlines() if "cannot be served" in line]
    assert f"WEB_BIND={bind} is no address of this machine" in line
    assert "Set WEB_BIND to one" in line
