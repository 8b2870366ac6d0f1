"""Spans of real chunks, from a device's publication through all stages, as a collector gets them."""

import asyncio
import time

import pytest
from opentelemetry.proto.trace.v1.trace_pb2 import Span
from paho.mqtt.client import Client, MQTTv5
from paho.mqtt.enums import CallbackAPIVersion
from paho.mqtt.packettypes import PacketTypes
from paho.mqtt.properties import Properties

from tests.acceptance.conftest import Pipeline
from tests.parts.collector import Collector
from tests.parts.eventually import eventually
from tests.parts.scrape import Scrape

TRACE, SPAN = "0af7651916cd43dd8448eb211c80319c", "b7ad6b7169203331"
STAGES = ["metric-streams ingress", "metric-streams refine", "metric-streams handoff"]


def publish(pipeline: Pipeline, tenant: str, *payloads: bytes, traceparent: str = "") -> None:
    """Publish as a device that speaks MQTT 5, and perhaps traces what it does."""
    client = Client(CallbackAPIVersion.VERSION2, protocol=MQTTv5)
    client.connect(pipeline.mosquitto.host, pipeline.mosquitto.port)
    client.loop_start()
    properties = Properties(PacketTypes.PUBLISH)
    if traceparent:
        properties.UserProperty = ("traceparent", traceparent)
    for payload in payloads:
        sent = client.publish(f"metrics/{tenant}/edge-1/cpu", payload, qos=1, properties=properties)
        sent.wait_for_publish(10)
    client.disconnect()
    client.loop_stop()


@pytest.mark.parametrize("share", ["0", "1"])
async def test_a_message_that_its_device_traces_is_followed_to_its_job(
    pipeline: Pipeline, share: str
) -> None:
    collector = Collector()
    async with collector.listening():
        worker = pipeline.worker(OTEL_EXPORTER_OTLP_ENDPOINT=collector.url, OTEL_TRACES_SAMPLER_ARG=share)
        first, second = pipeline.tenants
        await asyncio.to_thread(publish, pipeline, second, b'{"value": 7}')
        await asyncio.to_thread(
            publish, pipeline, first, b'{"value": 1}', traceparent=f"00-{TRACE}-{SPAN}-01"
        )

        def followed() -> list[Span]:
            spans = [each for each in collector.spans if each.trace_id.hex() == TRACE]
            return spans if len(spans) == len(STAGES) else []

        spans = {span.name: span for span in await eventually(followed, 60)}
        assert [*spans] == sorted(spans, key=lambda name: spans[name].end_time_unix_nano)
        parents = [bytes.fromhex(SPAN), *(spans[stage].span_id for stage in STAGES)]
        assert [spans[stage].parent_span_id for stage in STAGES] == parents[:-1]
        said = {stage: {one.key: one.value for one in spans[stage].attributes} for stage in STAGES}
        raw = f"{pipeline.topics}.raw"
        assert [said[stage]["topic"].string_value for stage in STAGES[:2]] == [raw, raw]
        assert said[STAGES[1]]["offset"].int_value == 0
        for span in spans.values():
            assert 0 < span.start_time_unix_nano <= span.end_time_unix_nano < time.time_ns()
        worker.stop()  # which sends the rest
        others = [each for each in collector.spans if each.trace_id.hex() != TRACE]
        assert len(others) == (len(STAGES) if share == "1" else 0)


async def test_a_collector_that_is_away_costs_spans_and_no_message(pipeline: Pipeline) -> None:
    away = Collector().url
    worker = pipeline.worker(OTEL_EXPORTER_OTLP_ENDPOINT=away, OTEL_TRACES_SAMPLER_ARG="1")
    await asyncio.to_thread(publish, pipeline, pipeline.tenants[0], *[b'{"value": 1}'] * 20)

    async def pushed() -> bool:
        return (await Scrape.of(worker.web_url)).value("messages_total", outcome="pushed") == 20

    await eventually(pushed, 60, interval_s=0.3)
    worker.stop()
    assert worker.log_text().count("opentelemetry") < 10
