"""A pipeline of a few lines for what measures one: pushes messages with a dedupe id, and drops all others."""

import json
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime

import paho.mqtt.client as mqtt
import redis
from paho.mqtt.enums import CallbackAPIVersion

from benchmarks.stack import Run
from streams.laravel.job import JobMetric, encode_job
from streams.mqtt.address import Address
from streams.rules.topic import Series, read_topic
from tests.parts.guarded_mosquitto import GuardedMosquitto

AT = "%Y-%m-%d %H:%M:%S.%f"


@contextmanager
def brief_pipeline(run: Run) -> Iterator[mqtt.Client]:
    """Carry messages from the run's broker to its queue, on the client that is yielded."""
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
    if isinstance(run.mosquitto, GuardedMosquitto):
        known = run.mosquitto.bridge
        client.username_pw_set(known["MQTT_USERNAME"], known["MQTT_PASSWORD"])
        client.tls_set(known["MQTT_CA_FILE"])
    address = Address.parse(run.mosquitto.url)
    client.connect(address.host, address.port)
    client.loop_start()
    try:
        yield client
    finally:
        client.disconnect()
        client.loop_stop()
        queue.close()
