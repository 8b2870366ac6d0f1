"""The pipeline that a tutorial would write, on the same parts: what all other figures are compared with.

``async for`` over aiomqtt, one Faust record a message, one table write and one RPUSH a message. It promises
less than ours: a message is acknowledged to the broker before Kafka has it, and a replay is pushed again.
"""

import json
import os
import uuid
from urllib.parse import urlsplit

import aiomqtt
import faust
from faust.types import StreamT
from redis.asyncio import Redis

NAME = os.environ.get("CONSUMER_GROUP", "tutorial")
ANNOUNCED = "the tutorial's bridge is subscribed"
QUEUE = "queues:tutorial"


def topic_of(name: str) -> str:
    """Return the name of the topic, which must stand before the worker starts."""
    return f"{name}-metrics"


app = faust.App(
    NAME,
    broker=os.environ.get("BROKER_URL", "kafka://localhost:9092"),
    store="memory://",
    topic_partitions=int(os.environ.get("TOPIC_PARTITIONS", "8")),
    web_port=int(os.environ.get("WEB_PORT", "6066")),
    datadir=os.environ.get("DATADIR"),
)
redis = Redis.from_url(os.environ.get("REDIS_URL", "redis://localhost:6379/0"))


class Metric(faust.Record):
    """One message."""

    tenant_id: str
    agent_id: str
    metric_name: str
    value: float
    timestamp: str
    dedupe_id: str


metrics = app.topic(topic_of(NAME), key_type=str, value_type=Metric)
seen = app.Table(f"{NAME}-seen", default=bool)


@app.task  # type: ignore[untyped-decorator] # Faust's own
async def bridge() -> None:
    """Carry MQTT into the topic."""
    address = urlsplit(os.environ.get("MQTT_URL", "mqtt://localhost:1883"))
    client = aiomqtt.Client(
        address.hostname or "", address.port or 1883, identifier=NAME, clean_session=False
    )
    async with client:
        await client.subscribe("metrics/#", qos=1)
        print(ANNOUNCED, flush=True)
        async for message in client.messages:
            _, tenant_id, agent_id, metric_name = str(message.topic).split("/")
            fields = json.loads(bytes(message.payload))
            metric = Metric(tenant_id=tenant_id, agent_id=agent_id, metric_name=metric_name, **fields)
            await metrics.send(key=tenant_id, value=metric)


@app.agent(metrics)
async def push(stream: StreamT[Metric]) -> None:
    """Drop duplicates, and push the rest."""
    async for metric in stream:
        if seen[metric.dedupe_id]:
            continue
        seen[metric.dedupe_id] = True
        job = {"uuid": str(uuid.uuid4()), "job": "ProcessMetricSubmission", "data": metric.asdict()}
        await redis.rpush(QUEUE, json.dumps(job))
