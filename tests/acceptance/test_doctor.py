"""`doctor` names what is broken, with its mend, and readiness agrees."""

import asyncio
import json
import os
import subprocess
import sys
import uuid
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import aiomqtt
import asyncpg
import pytest
from aiokafka.admin import AIOKafkaAdminClient, NewTopic
from aiokafka.admin.config_resource import ConfigResource, ConfigResourceType
from redis.asyncio import Redis as RedisClient

from streams.errors import Outage
from streams.mqtt.address import Address
from streams.mqtt.publisher import MqttPublisher
from tests.acceptance.conftest import Pipeline
from tests.conftest import real
from tests.parts.eventually import eventually
from tests.parts.kafka import Kafka
from tests.parts.ports import free_port
from tests.parts.postgres import Postgres
from tests.parts.redis import Redis
from tests.parts.worker import Ingest, Worker
from tests.parts.wrong_clock import WrongClock

REPOSITORY = Path(__file__).parents[2]
DOCTOR = (sys.executable, "-m", "metric_streams", "doctor")
SECRET = "s3cr3t-" + uuid.uuid4().hex
LIMIT_S = 15.0

Findings = list[dict[str, str]]


class Scene:
    """A pipeline with a worker, ingest, and a device that publishes twice a second."""

    def __init__(self, pipeline: Pipeline, worker: Worker) -> None:
        self.pipeline = pipeline
        self.worker = worker
        self.environment = pipeline.environment | {"WEB_PORT": str(worker.port)}

    async def doctor(self, *arguments: str, **settings: str) -> Findings:
        """Return what the command finds."""
        done = await asyncio.to_thread(run, self.environment | settings, *arguments, "--json")
        told = json.loads(done.stdout)
        assert done.returncode == (0 if told["well"] else 1), done.stderr
        assert done.stderr == ""
        found: Findings = told["findings"]
        return found

    async def names(self, part: str, *words: str, state: str = "broken") -> dict[str, str]:
        """Return the line that says these words, once it is there."""

        async def look() -> dict[str, str] | None:
            lines = [f for f in await self.doctor() if f["part"] == part and f["state"] == state]
            return next((line for line in lines if all(word in line["seen"] for word in words)), None)

        line = await eventually(look, 60)
        assert line is not None
        assert line["mend"]
        return line

    async def is_ready(self, expected: bool) -> None:  # noqa: FBT001 - reads like its name
        """Wait until readiness says so."""
        status = 200 if expected else 503
        await eventually(lambda: asyncio.to_thread(self.worker.status, "/health/ready"), 60)

        async def agrees() -> bool:
            return await asyncio.to_thread(self.worker.status, "/health/ready") == status

        await eventually(agrees, 60)


def run(
    environment: Mapping[str, str], *arguments: str, **more: str
) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [*DOCTOR, *arguments],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
        cwd=REPOSITORY,
        env={"PATH": os.environ["PATH"], "PYTHONPATH": str(REPOSITORY), **environment, **more},
    )


@asynccontextmanager
async def publishing(url: str, topic: str) -> AsyncIterator[None]:
    """Publish twice a second, for as long as the broker takes it."""

    async def keep_on() -> None:
        number = 0
        tick = asyncio.Event()
        while True:
            try:
                async with MqttPublisher(Address.parse(url)) as publisher:
                    while True:
                        number += 1
                        payload = json.dumps({"value": number, "dedupe_id": f"d-{number}"}).encode()
                        await publisher.publish(topic, payload, 1)
                        await pause(tick, 0.5)
            except Outage:
                await pause(tick, 0.5)

    task = asyncio.create_task(keep_on())
    try:
        yield
    finally:
        task.cancel()
        await asyncio.wait({task})


async def pause(tick: asyncio.Event, seconds: float) -> None:
    try:
        await asyncio.wait_for(tick.wait(), seconds)
    except TimeoutError:
        return


@pytest.fixture
async def scene(pipeline: Pipeline, own: Callable[..., Any]) -> AsyncIterator[Scene]:
    redis: Redis = own(lambda: Redis(append_only=True))
    pipeline.environment["REDIS_URL"] = redis.url
    pipeline.environment["INGEST_WEB_PORT"] = str(free_port())
    made = Scene(pipeline, pipeline.worker())
    made.redis = redis  # type: ignore[attr-defined]
    made.ingest = pipeline.ingest()  # type: ignore[attr-defined]
    async with publishing(pipeline.environment["MQTT_URL"], f"metrics/{pipeline.tenants[0]}/edge-7/cpu"):
        await eventually(pipeline.rows)
        yield made


async def test_where_all_is_well_nothing_is_broken(scene: Scene) -> None:
    async def is_well() -> bool:
        return {line["state"] for line in await scene.doctor()} <= {"ok"}

    found = await scene.doctor()
    print(json.dumps(found, indent=1))  # noqa: T201
    await eventually(is_well, 60)
