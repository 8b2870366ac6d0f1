"""The story's feature test: a published message becomes the ingestion job, a malformed one its rejection."""

import json

import pytest

from streams.models import Reason
from tests.acceptance.test_first_message import FAULTS
from tests.feature.conftest import TENANT, Bridge

TOPIC = f"metrics/{TENANT}/edge-1/cpu.usage.percent"


async def test_a_published_message_becomes_the_ingestion_job_of_its_tenant(bridge: Bridge) -> None:
    payload = {"value": 42.17, "timestamp": "2026-11-23T14:00:00.123456Z", "dedupe_id": "d-1"}
    await bridge.publish(TOPIC, json.dumps(payload).encode())
    (job,) = bridge.jobs()
    (metric,) = job.metrics
    assert (job.display_name, job.tenant_id) == ("App\\Jobs\\ProcessMetricSubmission", TENANT)
    assert (metric.agent_id, metric.metric_name, metric.value) == ("edge-1", "cpu.usage.percent", 42.17)
    assert (metric.timestamp, metric.dedupe_id) == ("2026-11-23 14:00:00.123456", "d-1")
    assert not bridge.rejections()


async def test_the_topic_says_whose_metric_it_is(bridge: Bridge) -> None:
    await bridge.publish(TOPIC, b'{"value": 1, "tenant_id": "x", "agent_id": "y", "metric_name": "z"}')
    (job,) = bridge.jobs()
    assert (job.tenant_id, job.metrics[0].agent_id, job.metrics[0].metric_name) == (
        TENANT,
        "edge-1",
        "cpu.usage.percent",
    )


@pytest.mark.parametrize("reason", FAULTS)
async def test_a_malformed_message_becomes_its_rejection_and_no_job(bridge: Bridge, reason: Reason) -> None:
    topic, payload = FAULTS[reason]
    await bridge.publish(topic.format(tenant=TENANT), payload.encode())
    (chunk,) = bridge.rejections()
    assert (chunk.reason, len(chunk.messages)) == (reason, 1)
    assert not bridge.jobs()


async def test_a_message_sent_twice_becomes_one_job(bridge: Bridge) -> None:
    for _ in range(2):
        await bridge.publish(TOPIC, b'{"value": 1, "dedupe_id": "d-1"}')
    assert len(bridge.jobs()) == 1


async def test_a_message_is_acknowledged_only_when_it_stands_in_the_raw_topic(bridge: Bridge) -> None:
    bridge.raw.away = True
    bridge.broker.publish(TOPIC, b'{"value": 1}')
    bridge.broker.publish(TOPIC, b'{"value": 2}')
    assert not bridge.broker.acknowledged
    bridge.raw.come_back()
    await bridge.publish(TOPIC, b'{"value": 3}')
    assert [payload for _, payload in bridge.broker.acknowledged] == [
        b'{"value": 1}',
        b'{"value": 2}',
        b'{"value": 3}',
    ]


async def test_a_connection_lost_before_the_acknowledgement_lands_the_message_once(bridge: Bridge) -> None:
    bridge.raw.fail_next()
    await bridge.publish(TOPIC, b'{"value": 1, "dedupe_id": "d-1"}')
    assert len(bridge.broker.connections) == len(["the lost one", "the new one"])
    assert [metric.value for job in bridge.jobs() for metric in job.metrics] == [1]
