"""What the tests of rejected messages share: they publish, ask, and wait for what becomes of it."""

import asyncio
import json
import subprocess
import uuid
from typing import Any

from streams.ingress.chunking import partition_of
from streams.mqtt.address import Address
from streams.mqtt.publisher import MqttPublisher
from streams.wire import rejected
from tests.acceptance.conftest import PARTITIONS, Pipeline
from tests.parts.commands import call
from tests.parts.eventually import eventually
from tests.parts.topics import read_topic

MANY = 1_000
SAME = "2026-11-20T14:00:00.123456Z"


async def publish(pipeline: Pipeline, *messages: tuple[str, dict[str, Any] | str]) -> None:
    """Publish as devices do, in order, and wait until the broker has each."""
    async with MqttPublisher(Address.parse(pipeline.mosquitto.url)) as publisher:
        sent = [
            publisher.publish(topic, (body if isinstance(body, str) else json.dumps(body)).encode(), 1)
            for topic, body in messages
        ]
        assert all(await asyncio.gather(*sent))


def run(pipeline: Pipeline, *arguments: str) -> subprocess.CompletedProcess[str]:
    return call("metric-streams", "rejected", *arguments, **pipeline.environment)


async def rejected_json(pipeline: Pipeline, *arguments: str) -> list[dict[str, Any]]:
    done = await asyncio.to_thread(run, pipeline, *arguments)
    assert done.returncode == 0, done.stderr
    return [json.loads(line) for line in done.stdout.splitlines()]


async def counted(pipeline: Pipeline, *arguments: str) -> int:
    return int((await rejected_json(pipeline, "count", "--json", *arguments))[0]["messages"])


async def add_tenant(pipeline: Pipeline, tenant: str) -> None:
    await pipeline.query("insert into tenants (id, name) values ($1, 'late')", uuid.UUID(tenant))


async def add_neighbour(pipeline: Pipeline, tenant: str) -> str:
    """Add a tenant whose partition is a given one's, and return its id."""
    partition = partition_of(tenant, PARTITIONS)
    while partition_of(neighbour := str(uuid.uuid4()), PARTITIONS) != partition:
        pass
    await add_tenant(pipeline, neighbour)
    return neighbour


async def settled(pipeline: Pipeline, rejections: int) -> None:
    """Wait until so many messages stand on metrics.rejected."""

    async def stand() -> bool:
        records = await read_topic(pipeline.kafka.bootstrap, f"{pipeline.topics}.rejected")
        return sum(len(rejected.decode(record.value).messages) for record in records) >= rejections

    await eventually(stand, timeout_s=60)


async def rows_stand(pipeline: Pipeline, count: int) -> list[dict[str, Any]]:
    async def stand() -> bool:
        return len(await pipeline.rows()) >= count

    await eventually(stand, timeout_s=60)
    return await pipeline.rows()


async def flowed(pipeline: Pipeline, *by: str) -> None:
    """Wait until what is published now has become a row: all before it in its partition has, too.

    Args:
        pipeline: that runs.
        by: tenants who publish; otherwise the pipeline's, and all that have rows.
    """
    marker = uuid.uuid4().hex
    tenants = by or [*pipeline.tenants, *{row["tenant_id"] for row in await pipeline.rows()}]
    await publish(pipeline, *[(f"metrics/{tenant}/marker/{marker}", {"value": 1}) for tenant in set(tenants)])

    async def landed() -> bool:
        found = [row for row in await pipeline.rows() if row["metric_name"] == marker]
        return len(found) == len(set(tenants))

    await eventually(landed, timeout_s=60)
    await pipeline.query("delete from metrics_raw where agent_id = 'marker'")


def mixed(tenant: str) -> list[tuple[str, dict[str, Any]]]:
    """Return messages with the device's own id, with a derived one, and without any, all different."""
    topic = f"metrics/{tenant}/edge-{{}}/cpu"
    forms: list[dict[str, Any]] = []
    for number in range(MANY):
        body: dict[str, Any] = {"value": number}
        if number % 3 == 0:
            body["dedupe_id"] = f"d-{number}"
        elif number % 3 == 1:
            body["timestamp"] = SAME
        forms.append(body)
    return [(topic.format(number % 7), body) for number, body in enumerate(forms)]
