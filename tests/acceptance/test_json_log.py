"""LOG_FORMAT=json: whatever a process says is an object a line; no payload and no secret stands in any."""

import asyncio
import json
from typing import Any

import pytest
import redis.asyncio as client

from streams.mqtt.address import Address
from streams.mqtt.publisher import MqttPublisher
from tests.acceptance.conftest import Pipeline
from tests.parts.eventually import eventually
from tests.parts.process import Part
from tests.parts.redis import Redis
from tests.parts.worker import FaustProcess, Ingest

PAYLOAD, SECRET = "a-payload-that-nobody-may-read", "a-secret-that-nobody-may-read"


def objects(process: Part) -> list[dict[str, Any]]:
    """Return what a process has said, which fails on a line that is no object."""
    return [json.loads(line) for line in process.log_text().splitlines()]


@pytest.fixture
async def secretive(pipeline: Pipeline) -> Pipeline:
    """A pipeline whose programs know secrets and write JSON."""
    redis: Redis = pipeline.own(lambda: Redis(append_only=True))
    async with client.from_url(redis.url) as connection:
        await connection.config_set("requirepass", SECRET)
    known = {"REDIS_URL": redis.url, "MQTT_URL": pipeline.mosquitto.url}
    with_secrets = {name: url.replace("://", f"://user:{SECRET}@") for name, url in known.items()}
    with_secrets["REDIS_URL"] = with_secrets["REDIS_URL"].replace("user:", ":")
    pipeline.environment |= with_secrets | {"WEB_TOKEN": SECRET, "LOG_FORMAT": "json"}
    return pipeline


async def test_worker_and_ingest_say_nothing_but_objects_without_payloads_and_secrets(
    secretive: Pipeline,
) -> None:
    worker = secretive.worker()
    ingest: Ingest = secretive.own(lambda: Ingest(secretive.environment))
    (tenant, _) = secretive.tenants
    async with MqttPublisher(Address.parse(secretive.mosquitto.url)) as publisher:
        good = b'{"value": 1, "dedupe_id": "%s"}' % PAYLOAD.encode()
        bad = b'{"value": "%s"}' % PAYLOAD.encode()
        topic = f"metrics/{tenant}/edge-1/cpu"
        assert all(await asyncio.gather(*(publisher.publish(topic, each, 1) for each in (good, bad))))

    async def landed() -> bool:
        return len(await secretive.rows()) == 1

    await eventually(landed, 60, interval_s=0.3)
    for process in (worker, ingest):
        process.stop()
        said = objects(process)
        assert said
        assert {"time", "level", "logger", "message"} <= set.intersection(*map(set, said))
        assert PAYLOAD not in process.log_text()
        assert SECRET not in process.log_text()
    said = objects(worker)
    (last_flow,) = [line for line in said if line["logger"] == "streams.logs.flow"][-1:]
    assert last_flow["messages"]["received"] == 2
    assert last_flow["rejected"] == {"value_not_a_number": 1}
    starts = [line for line in said if "starts at offset" in line["message"]]
    assert {(line["topic"], line["partition"]) for line in starts} == {
        (f"{secretive.topics}.{topic}", number) for topic in ("raw", "unique") for number in range(4)
    }
    assert {line["logger"].partition(".")[0] for line in said} >= {"streams", "faust", "mode"}


async def test_the_end_of_a_command_is_an_object_as_well_and_stands_alone(pipeline: Pipeline) -> None:
    pipeline.environment |= {"LOG_FORMAT": "json", "BROKER_URL": "kafka://127.0.0.1:9"}
    setup = FaustProcess(["setup"], pipeline.environment)
    with setup:
        await eventually(lambda: not setup.is_running, 60)
        said = objects(setup)
    (last,) = [line for line in said if line["level"] not in ("DEBUG", "INFO")]
    assert last == said[-1]
    assert (last["level"], last["exit_code"]) == ("CRITICAL", 1)
    assert "127.0.0.1:9" in last["message"]
