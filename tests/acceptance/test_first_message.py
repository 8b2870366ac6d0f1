"""What an operator tries first: mosquitto_pub on one side, the database and the topics on the other."""

import asyncio
import json
import subprocess
from pathlib import Path
from typing import Any

import pytest
import redis.asyncio as redis

from streams.models import Reason
from tests.acceptance.conftest import Pipeline
from tests.parts.eventually import eventually
from tests.parts.process import find_program

UNKNOWN = "00000000-0000-4000-8000-000000000000"
TOO_LARGE = "x" * (64 * 1024)
LONG = "m" * 65

FAULTS: dict[Reason, tuple[str, str]] = {
    Reason.TOPIC_MALFORMED: ("metrics/{tenant}/edge-1", '{"value": 1}'),
    Reason.PAYLOAD_NOT_JSON: ("metrics/{tenant}/edge-1/cpu", '{"value": 1'),
    Reason.PAYLOAD_NOT_OBJECT: ("metrics/{tenant}/edge-1/cpu", "[1]"),
    Reason.PAYLOAD_TOO_LARGE: ("metrics/{tenant}/edge-1/cpu", '{"value": 1, "note": "' + TOO_LARGE + '"}'),
    Reason.VALUE_MISSING: ("metrics/{tenant}/edge-1/cpu", '{"timestamp": 1795442400}'),
    Reason.VALUE_NOT_A_NUMBER: ("metrics/{tenant}/edge-1/cpu", '{"value": true}'),
    Reason.VALUE_OUT_OF_RANGE: ("metrics/{tenant}/edge-1/cpu", '{"value": 1e12}'),
    Reason.TIMESTAMP_INVALID: ("metrics/{tenant}/edge-1/cpu", '{"value": 1, "timestamp": "noon"}'),
    Reason.TIMESTAMP_OUT_OF_RANGE: (
        "metrics/{tenant}/edge-1/cpu",
        '{"value": 1, "timestamp": "2039-01-01T00:00:00Z"}',
    ),
    Reason.AGENT_ID_INVALID: ("metrics/{tenant}/" + LONG + "/cpu", '{"value": 1}'),
    Reason.METRIC_NAME_INVALID: ("metrics/{tenant}/edge-1/" + LONG, '{"value": 1}'),
    Reason.DEDUPE_ID_INVALID: ("metrics/{tenant}/edge-1/cpu", '{"value": 1, "dedupe_id": 1.5}'),
    Reason.TENANT_NOT_A_UUID: ("metrics/acme/edge-1/cpu", '{"value": 1}'),
    Reason.TENANT_UNKNOWN: (f"metrics/{UNKNOWN}/edge-1/cpu", '{"value": 1}'),
}


def _publish(pipeline: Pipeline, topic: str, payload: str) -> None:
    program = find_program("mosquitto_pub", package="mosquitto-clients")
    port = str(pipeline.mosquitto.port)
    subprocess.run([program, "-p", port, "-q", "1", "-t", topic, "-s"], input=payload.encode(), check=True)


@pytest.mark.parametrize("order", [("worker", "ingest"), ("ingest", "worker")], ids="-then-".join)
async def test_a_published_message_becomes_a_row_and_a_message_to_the_page(
    pipeline: Pipeline, order: tuple[str, str]
) -> None:
    for process in order:
        getattr(pipeline, process)()
    (tenant, _) = pipeline.tenants
    channel = f"{pipeline.environment['QUEUE_PREFIX']}tenant.{tenant}.metrics"
    async with redis.from_url(pipeline.environment["REDIS_URL"]) as client, client.pubsub() as listener:
        await listener.subscribe(channel)
        await eventually(lambda: listener.subscribed)
        _publish(pipeline, f"metrics/{tenant}/edge-1/cpu.usage.percent", '{"value": 42.17}')

        async def heard() -> Any:
            return await listener.get_message(ignore_subscribe_messages=True, timeout=0.1)

        message = await eventually(heard)
    (metric,) = json.loads(message["data"])
    (row,) = await pipeline.rows()
    assert (metric["agent_id"], metric["metric_name"], metric["value"]) == (
        "edge-1",
        "cpu.usage.percent",
        42.17,
    )
    assert (row["tenant_id"], row["agent_id"], row["metric_name"], row["value"]) == (
        tenant,
        "edge-1",
        "cpu.usage.percent",
        42.17,
    )
    assert metric["timestamp"] == row["timestamp"].strftime("%Y-%m-%d %H:%M:%S.%f")


async def test_every_reason_is_read_back_from_the_topic_with_the_message_as_it_came(
    pipeline: Pipeline, kcat: Path
) -> None:
    pipeline.worker()
    (tenant, _) = pipeline.tenants
    sent = {
        str(reason): (topic.format(tenant=tenant), payload) for reason, (topic, payload) in FAULTS.items()
    }
    for topic, payload in sent.values():
        _publish(pipeline, topic, payload)

    async def all_rejected() -> dict[str, dict[str, Any]] | None:
        found = await asyncio.to_thread(_first_of_each_reason, kcat, pipeline)
        return found if found.keys() >= sent.keys() else None

    found = await eventually(all_rejected, timeout_s=30)
    assert found is not None
    for reason, (topic, payload) in sent.items():
        message = found[reason]
        kept = payload[:1024] if reason == Reason.PAYLOAD_TOO_LARGE else payload
        assert (message["topic"], message["payload"]) == (topic, kept), reason
        assert message["detail"], reason
    assert found[Reason.PAYLOAD_TOO_LARGE]["size_bytes"] == len(sent["payload_too_large"][1])
    # A quota is a setting of its own, and test_quota.py reads what it rejects; no message calls up a bug.
    assert set(sent) == set(Reason) - {Reason.INTERNAL_ERROR, Reason.QUOTA_EXCEEDED}


def _first_of_each_reason(kcat: Path, pipeline: Pipeline) -> dict[str, dict[str, Any]]:
    """Return the first rejected message of each reason, as kcat prints it."""
    arguments = ["-C", "-e", "-q", "-b", pipeline.kafka.bootstrap, "-t", f"{pipeline.topics}.rejected"]
    done = subprocess.run([kcat, *arguments], capture_output=True, text=True, check=True, timeout=30)
    records = [json.loads(line) for line in done.stdout.splitlines()]
    return {record["reason"]: record["messages"][0] for record in records}
