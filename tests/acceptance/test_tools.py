"""`tail`, `trace`, `top` and `explain` as an operator calls them, on a pipeline with real parts."""

import asyncio
import json
import os
import signal
import subprocess
import sys
import uuid
from pathlib import Path

import pytest

from streams.mqtt.address import Address
from streams.mqtt.publisher import MqttPublisher
from tests.acceptance.conftest import Pipeline
from tests.conftest import real
from tests.parts.eventually import eventually
from tests.parts.process import find_program

REPOSITORY = Path(__file__).parents[2]
COMMAND = (sys.executable, "-m", "metric_streams")
WITH_ID = b'{"value": 42.17, "dedupe_id": "%s"}'


class Shell:
    """Runs commands with a pipeline's settings."""

    def __init__(self, environment: dict[str, str]) -> None:
        self.environment = {"PATH": os.environ["PATH"], "PYTHONPATH": str(REPOSITORY)} | environment

    def __call__(self, *arguments: str, code: int = 0) -> str:
        """Run a command to its end and return what it wrote."""
        done = subprocess.run(
            [*COMMAND, *arguments],
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
            cwd=REPOSITORY,
            env=self.environment,
        )
        assert done.returncode == code, done.stderr
        assert "Traceback" not in done.stderr
        return done.stdout

    def pipe(self, command: str) -> str:
        """Run a shell's pipe; the program's name stands for how it is called here."""
        line = command.replace("metric-streams", " ".join(COMMAND))
        done = subprocess.run(
            ["sh", "-c", line],
            capture_output=True,
            text=True,
            timeout=60,
            check=True,
            cwd=REPOSITORY,
            env=self.environment,
        )
        assert "Traceback" not in done.stderr
        assert "Error" not in done.stderr
        return done.stdout

    def stages(self, subject: str) -> list[dict[str, dict[str, str]]]:
        """Return what `trace` says, by stage, for each message."""
        lines = self("trace", subject, "--json", "--since", "1h").splitlines()
        return [{row["stage"]: row for row in json.loads(line)["stages"]} for line in lines]


@pytest.fixture
def _jq() -> None:
    real(lambda: find_program("jq", package="jq"))


@pytest.mark.usefixtures("_jq")
async def test_each_command_follows_what_a_device_has_sent(pipeline: Pipeline) -> None:
    worker = pipeline.worker()
    pipeline.ingest()
    name = f"d-{uuid.uuid4().hex}"
    topic = f"metrics/{pipeline.tenants[0]}/edge-7/cpu"
    async with MqttPublisher(Address.parse(pipeline.mosquitto.url)) as publisher:
        for payload in (WITH_ID % name.encode(), WITH_ID % name.encode(), b'{"value": "warm"}'):
            await publisher.publish(topic, payload, 1)
    await eventually(pipeline.rows)
    shell = Shell(pipeline.environment | {"WEB_PORT": str(worker.port), "INGEST_WEB_PORT": "0"})

    def tail_and_jq() -> str:
        return shell.pipe(
            "metric-streams tail rejected --once --agent 'edge-*' | jq -r '.reason, .coordinate'"
        )

    async def is_rejected() -> bool:
        return "value_not_a_number" in await asyncio.to_thread(tail_and_jq)

    await eventually(is_rejected, 60)
    reason, coordinate = (await asyncio.to_thread(tail_and_jq)).split()
    assert reason == "value_not_a_number"
    assert await asyncio.to_thread(shell, "tail", "rejected", "--once", "--agent", "other-*") == ""
    head = await asyncio.to_thread(shell.pipe, "metric-streams tail raw --once | head -1")
    assert len(head.splitlines()) == 1

    (rejected,) = await asyncio.to_thread(shell.stages, coordinate)
    assert "value_not_a_number" in rejected["rejected"]["says"]
    told = await asyncio.to_thread(shell, "rejected", "replay", coordinate, "--yes")
    assert "put back 1 messages" in told
    (replayed,) = await asyncio.to_thread(shell.stages, coordinate)
    again = replayed["put back"]["says"].split()[-1]
    assert again != coordinate

    async def is_rejected_again() -> bool:
        (found,) = await asyncio.to_thread(shell.stages, again)
        return "value_not_a_number" in found.get("rejected", {}).get("says", "")

    await eventually(is_rejected_again, 60)
    await asyncio.to_thread(shell, "rejected", "dismiss", again, "--yes")
    (dismissed,) = await asyncio.to_thread(shell.stages, again)
    assert dismissed["since then"]["says"] == "dismissed"

    first, second = await asyncio.to_thread(shell.stages, name)
    assert list(first) == ["arrival", "ingress", "refine", "unique", "handoff", "job", "row"]
    assert "pushed" in first["handoff"]["says"]
    assert "no longer in the queue" in first["job"]["says"]
    assert "edge-7 cpu = 42.17" in first["row"]["says"]
    assert "duplicate" in second["refine"]["says"]
    job = first["job"]["says"].split()[0]
    assert await asyncio.to_thread(shell.stages, job) == [first]

    (line,) = (await asyncio.to_thread(shell, "top", "--once", "--every", "0.2")).splitlines()
    flow = json.loads(line)
    assert {stage["stage"]: stage["total"] for stage in flow["stages"]} == {
        "ingress": 3,
        "refine": 1,
        "handoff": 1,
    }
    assert flow["rejected"] == {"value_not_a_number": 2}

    told = await asyncio.to_thread(shell, "explain", topic, '{"value": 1}')
    assert told.endswith("=> accepted\n")
    stranger = f"metrics/{uuid.uuid4()}/edge-7/cpu"
    assert "tenant_unknown" in await asyncio.to_thread(shell, "explain", stranger, '{"value": 1}')


async def test_tail_follows_and_ends_quietly_with_ctrl_c(pipeline: Pipeline) -> None:
    pipeline.worker()
    shell = Shell(pipeline.environment)
    process = await asyncio.create_subprocess_exec(
        *COMMAND,
        "tail",
        cwd=REPOSITORY,
        env=shell.environment,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    assert process.stdout is not None
    assert process.stderr is not None
    assert b"from now on" in await process.stderr.readline()
    reading = asyncio.ensure_future(process.stdout.readline())
    topic = f"metrics/{pipeline.tenants[0]}/edge-7/cpu"

    async def is_seen() -> bool:
        async with MqttPublisher(Address.parse(pipeline.mosquitto.url)) as publisher:
            await publisher.publish(topic, b'{"value": 1}', 1)
        return reading.done()

    await eventually(is_seen, interval_s=0.5)
    assert json.loads(reading.result())["topic"] == topic
    process.send_signal(signal.SIGINT)
    _, said = await process.communicate()
    assert process.returncode == 130
    assert said == b""


def test_what_cannot_be_followed_is_one_line() -> None:
    shell = Shell({"BROKER_URL": "kafka://127.0.0.1:1", "WEB_PORT": "1"})
    for arguments in (("trace", "3-1841"), ("tail", "--once"), ("top",)):
        done = subprocess.run(
            [*COMMAND, *arguments],
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
            env=shell.environment,
        )
        assert done.returncode == 1
        lines = done.stderr.splitlines()
        assert lines[-1].startswith("metric-streams ") or "metric_streams" in lines[-1], lines
        assert len(lines) <= 2
        assert "Traceback" not in done.stderr
