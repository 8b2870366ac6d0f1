"""docs/laravel.md: its commands find a message, and its way of moving over doubles nothing."""

import asyncio
import json
import os
import re
import subprocess
import sys
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from pathlib import Path

import aiomqtt
import pytest

from streams.laravel.redis_client import connect
from streams.laravel.reserve import ReservingQueue
from streams.mqtt.address import Address
from streams.mqtt.publisher import MqttPublisher
from tests.acceptance.conftest import Pipeline
from tests.conftest import real
from tests.parts.eventually import eventually
from tests.parts.process import find_program

GUIDE = Path(__file__).parents[2] / "docs" / "laravel.md"
BOTH, ALONE = 60, 20


def commands(section: str) -> list[str]:
    """Return the lines of the section's shell blocks."""
    text = GUIDE.read_text().split(f"\n## {section}\n")[1].split("\n## ")[0]
    return [line for block in re.findall(r"```sh\n(.*?)```", text, re.DOTALL) for line in block.splitlines()]


def run(pipeline: Pipeline, command: str, examples: Mapping[str, str]) -> str:
    """Run a command of the guide on a pipeline, with the test's own names for those of the guide."""
    places = {
        "localhost:9092": pipeline.kafka.bootstrap,
        "laravel_database_": pipeline.environment["QUEUE_PREFIX"],
        "-streams:metrics:fence": f"-streams:{pipeline.topics}:fence",
        "metrics.": f"{pipeline.topics}.",
        "redis-cli": f"redis-cli -u {pipeline.environment['REDIS_URL']}",
        "psql": f"psql -At {pipeline.environment['DATABASE_URL']}",
        "python": sys.executable,
    }
    for said, meant in {**places, **examples}.items():
        command = command.replace(said, meant)
    environment = {**os.environ, "PYTHONPATH": str(GUIDE.parents[1])}
    done = subprocess.run(
        ["sh", "-c", command], capture_output=True, text=True, timeout=60, check=False, env=environment
    )
    assert not done.stderr, done.stderr
    return done.stdout


@asynccontextmanager
async def a_worker_of(pipeline: Pipeline) -> AsyncIterator[ReservingQueue]:
    redis = connect(pipeline.environment["REDIS_URL"])
    prefix = pipeline.environment["QUEUE_PREFIX"]
    yield ReservingQueue(redis, prefix=prefix, queue="default", retry_after_s=90)
    await redis.aclose()


@pytest.fixture
def _programs(kcat: Path) -> None:  # noqa: ARG001 - one of them
    """What the guide's commands call."""
    real(lambda: find_program("redis-cli", package="redis-tools"))
    real(lambda: find_program("psql", package="postgresql-client"))


@pytest.mark.usefixtures("_programs")
async def test_the_commands_of_the_guide_lead_from_the_device_to_the_row_and_back(
    pipeline: Pipeline, unique: str
) -> None:
    pipeline.worker()
    (tenant, _) = pipeline.tenants
    (raw, accepted, rejected, uuid, fence, waits, reserved, delayed, failed, row, found, message) = commands(
        "Find one message"
    )
    async with MqttPublisher(Address.parse(pipeline.mosquitto.url)) as publisher:
        await publisher.publish(f"metrics/{tenant}/{unique}/cpu.usage.percent", b'{"value": 42.17}', 1)
        await publisher.publish(f"metrics/{tenant}/{unique}/cpu.usage.percent", b'{"value": true}', 1)

    async def pushed() -> str:
        return await asyncio.to_thread(run, pipeline, waits.replace(" | grep -n UUID", ""), {})

    await eventually(pushed, 30)
    partition, offset, chunk = run(pipeline, raw, {"my-device": unique}).splitlines()[0].split(" ", 2)
    assert json.loads(chunk)["messages"][0]["payload"] == '{"value": 42.17}'

    at = {'"partition":3,"offset":1841': f'"partition":{partition},"offset":{offset}'}
    headers, reading = run(pipeline, accepted, at).split(" ", 1)
    (metric,) = json.loads(reading)["readings"]
    told = dict(header.split("=") for header in headers.split(","))
    epoch = told["epoch"]
    examples = {
        "job_names(3, ChunkId(EPOCH, 1841": f"job_names({partition}, ChunkId({epoch}, {offset}",
        "DIGEST": told["digest"],
        "TENANT": tenant,
        "DEDUPE_ID or key": metric["key"],
    }
    examples["UUID"] = job = run(pipeline, uuid, examples).strip()
    at |= {"fence 3": f"fence {partition}", "-p 3 -o 1841": f"-p {partition} -o {offset}"}
    assert run(pipeline, fence, at).startswith(f"{epoch}:")
    assert f'"uuid":"{job}"' in run(pipeline, waits, examples)
    assert not run(pipeline, reserved, examples) + run(pipeline, delayed, examples)
    async with a_worker_of(pipeline) as queue:
        [taken] = await queue.reserve(max_jobs=1, max_bytes=1)
        assert job in run(pipeline, reserved, examples)
        await queue.release(taken, 0)
        assert job in run(pipeline, delayed, examples)

    pipeline.ingest()
    await eventually(pipeline.rows, 30)
    assert f"|{unique}|cpu.usage.percent|42.17|" in run(pipeline, row, examples)
    assert not run(pipeline, failed, examples)
    assert run(pipeline, found, examples).strip() == reading.strip()
    assert run(pipeline, message, at).strip() == chunk.strip()
    refused = {'{"partition":3,"offset":1841}': ""}
    assert '"reason":"value_not_a_number"' in run(pipeline, rejected, refused)


@asynccontextmanager
async def another_bridge(port: int, subscription: str) -> AsyncIterator[list[str]]:
    """Subscribe as the application's own bridge does; the block gets the payloads that it hears."""
    heard: list[str] = []
    async with aiomqtt.Client("127.0.0.1", port) as client:
        await client.subscribe(subscription, qos=1)

        async def listen() -> None:
            async for message in client.messages:
                heard.append(bytes(message.payload).decode())  # noqa: PERF401 - each as it comes

        listening = asyncio.create_task(listen())
        try:
            yield heard
        finally:
            listening.cancel()


async def test_two_bridges_in_one_share_group_get_each_message_once_between_them(pipeline: Pipeline) -> None:
    pipeline.ingest()
    pipeline.worker(MQTT_SHARE_GROUP="bridge", WORKER_ID="one")
    (tenant, _) = pipeline.tenants
    topic = f"metrics/{tenant}/edge-1/cpu"
    async with MqttPublisher(Address.parse(pipeline.mosquitto.url)) as publisher:
        async with another_bridge(pipeline.mosquitto.port, "$share/bridge/metrics/#") as theirs:
            for value in range(BOTH):
                await publisher.publish(topic, f'{{"value": {value}}}'.encode(), 1)

            async def all_heard() -> bool:
                return len(theirs) + len(await pipeline.rows()) >= BOTH

            await eventually(all_heard, 30)
        for value in range(BOTH, BOTH + ALONE):
            await publisher.publish(topic, f'{{"value": {value}}}'.encode(), 1)

        async def all_there() -> bool:
            return len(theirs) + len(await pipeline.rows()) >= BOTH + ALONE

        await eventually(all_there, 30)
    ours = [int(row["value"]) for row in await pipeline.rows()]
    assert sorted(ours + [json.loads(payload)["value"] for payload in theirs]) == list(range(BOTH + ALONE))
    assert theirs
    assert set(range(BOTH, BOTH + ALONE)) < set(ours)
