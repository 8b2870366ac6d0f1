"""The measurement beside a hostile tenant, of a pipeline that is a few lines long."""

import json
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime

import paho.mqtt.client as mqtt
import pytest
import redis
from paho.mqtt.enums import CallbackAPIVersion

from benchmarks.hostile import NOTHING, Pair, Scene
from benchmarks.stack import Run
from streams.laravel.job import JobMetric, encode_job
from streams.rules.topic import Series, read_topic
from tests.parts.eventually import eventually
from tests.parts.mosquitto import Mosquitto

PAIR = Pair("7c9e6679-7425-40de-944b-e07fc1f90ae7", "7c9e6679-7425-40de-944b-e07fc1f90ae8")
AT = "%Y-%m-%d %H:%M:%S.%f"


@contextmanager
def pipeline(run: Run) -> Iterator[mqtt.Client]:
    """Push each message with a dedupe id as a job, and drop all others."""
    queue = redis.Redis.from_url(run.redis_url)

    def push(_client: mqtt.Client, _data: object, message: mqtt.MQTTMessage) -> None:
        series = read_topic(message.topic)
        if b"dedupe_id" in message.payload and isinstance(series, Series):
            id_ = json.loads(message.payload)["dedupe_id"]
            metric = JobMetric(
                agent_id="edge",
                metric_name="cpu",
                value=1.5,
                timestamp=datetime.now(UTC).strftime(AT),
                dedupe_id=id_,
            )
            queue.rpush(run.queue, encode_job(series.tenant_id, [metric], "uuid", "id"))

    client = mqtt.Client(CallbackAPIVersion.VERSION2)
    client.on_message = push
    client.on_connect = lambda *_: client.subscribe("metrics/#", qos=1)
    client.connect(run.mosquitto.host, run.mosquitto.port)
    client.loop_start()
    try:
        yield client
    finally:
        client.disconnect()
        client.loop_stop()
        queue.close()


@pytest.mark.parametrize("kind", [NOTHING, "strangers"])
async def test_each_message_of_the_honest_tenant_is_found_in_its_job(
    mosquitto: Mosquitto, redis_url: str, kind: str
) -> None:
    run = Run("bench", mosquitto, {}, {"REDIS_URL": redis_url})
    with pipeline(run) as client:
        await eventually(client.is_connected, 10)
        figures = Scene(run, kind, PAIR).measured(0.3, 60)
    assert figures["not_come"] == 0
    assert (figures["hostile_a_s"] == 0) is (kind == NOTHING)
    assert 0 < figures["p50"] <= figures["p99"] <= figures["max"]  # type: ignore[operator] # numbers
    assert figures["until_ingress"]["max"] <= figures["max"]  # type: ignore[index,operator] # numbers
