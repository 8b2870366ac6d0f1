"""A leader of ingress is frozen while devices send corrections: each id ends with its last value."""

import asyncio
import json
import time
import urllib.request
from typing import Any

import pytest

from streams.wire import raw, unique
from streams.wire.headers import read_link, read_term
from tests.acceptance.conftest import Pipeline
from tests.parts.devices import device
from tests.parts.eventually import eventually
from tests.parts.topics import group_lag, read_topic
from tests.parts.variants import long
from tests.parts.worker import Worker

IDS = 60
ROUNDS = 5
"""How often each id is corrected before the freeze."""
FROZEN_S = 23.0
"""More than twice the session timeout of Kafka's group."""


class Pair:
    """Two workers, of which one leads."""

    def __init__(self, pipeline: Pipeline, **settings: str) -> None:
        self.pipeline = pipeline
        self.workers = [pipeline.worker(**settings) for _ in range(2)]

    async def leader(self) -> Worker:
        """Return the one that carries MQTT, once there is but one."""
        return await eventually(self._leader, timeout_s=60)

    async def _leader(self) -> Worker | None:
        leading = [worker for worker in self.workers if (await page(worker))["carries_mqtt"]]
        connected = [one for one in leading if "connected" in (await page(one))["parts"]["mqtt"]["detail"]]
        return connected[0] if len(leading) == 1 == len(connected) else None

    def other(self, worker: Worker) -> Worker:
        """Return the one that does not lead."""
        return next(one for one in self.workers if one is not worker)


async def page(worker: Worker) -> Any:
    """Return the statistics page."""

    def get() -> Any:
        with urllib.request.urlopen(worker.web_url + "/", timeout=10) as answer:  # noqa: S310 - loopback
            return json.load(answer)

    return await asyncio.to_thread(get)


async def correct(pipeline: Pipeline, value: int) -> None:
    """Publish one value for each id, and wait until the broker has them all."""
    async with device(pipeline.mosquitto.url) as client:
        topics = [f"metrics/{tenant}/edge-1/cpu" for tenant in pipeline.tenants]
        payloads = [json.dumps({"value": value, "dedupe_id": f"id-{n}"}) for n in range(IDS)]
        await asyncio.gather(
            *(client.publish(topics[n % len(topics)], payloads[n], qos=1) for n in range(IDS))
        )


async def carried(pipeline: Pipeline, value: int) -> bool:
    """Whether metrics.raw holds this value for each id."""
    records = await read_topic(pipeline.kafka.bootstrap, f"{pipeline.topics}.raw")
    messages = [
        json.loads(message.payload or "") for record in records for message in raw.decode(record.value)
    ]
    return len({one["dedupe_id"] for one in messages if one["value"] == value}) == IDS


async def drained(pipeline: Pipeline) -> bool:
    topics = [f"{pipeline.topics}.raw", f"{pipeline.topics}.unique"]
    return await group_lag(pipeline.kafka.bootstrap, pipeline.environment["CONSUMER_GROUP"], topics) == 0


async def last_values(pipeline: Pipeline) -> dict[str | None, float]:
    """Return the value with which each id ends, in the order of the job queue."""
    values: dict[str | None, float] = {}
    for record in await read_topic(pipeline.kafka.bootstrap, f"{pipeline.topics}.unique"):
        values |= {
            reading.dedupe_id: float(reading.value) for reading in unique.decode(record.value).readings
        }
    return values


@pytest.mark.parametrize("held_in", ["chunker", long("producer")])
async def test_each_id_ends_with_its_last_value_when_a_frozen_leader_has_come_back(
    pipeline: Pipeline, held_in: str
) -> None:
    linger_ms = "1000" if held_in == "chunker" else "5"
    pair = Pair(pipeline, CHUNK_LINGER_MS=linger_ms, CHUNK_LINGER_MAX_MS=linger_ms)
    leader = await pair.leader()
    await correct(pipeline, 0)
    await eventually(lambda: carried(pipeline, 0))
    if held_in == "producer":
        pipeline.kafka.pause()
    for value in range(1, ROUNDS):
        await correct(pipeline, value)
    await eventually(lambda: has_received(leader, ROUNDS * IDS))
    leader.pause()
    frozen_at = time.monotonic()
    pipeline.kafka.resume()

    await correct(pipeline, ROUNDS)
    await eventually(lambda: carried(pipeline, ROUNDS), timeout_s=90)
    await eventually(lambda: time.monotonic() >= frozen_at + FROZEN_S)
    leader.resume()
    await eventually(lambda: asyncio.to_thread(leader.is_ready), timeout_s=90)
    await eventually(lambda: drained(pipeline), timeout_s=90)

    assert await last_values(pipeline) == {f"id-{number}": float(ROUNDS) for number in range(IDS)}
    await check_the_log(pipeline)
    assert "this process stood still for" in leader.log_text()


async def has_received(worker: Worker, count: int) -> bool:
    return bool((await page(worker))["messages"].get("received", 0) >= count)


async def check_the_log(pipeline: Pipeline) -> None:
    """Terms never fall within a partition, and each writer's records are numbered without a gap."""
    terms: dict[int, list[int]] = {}
    sequences: dict[tuple[int, bytes], list[int]] = {}
    for record in await read_topic(pipeline.kafka.bootstrap, f"{pipeline.topics}.raw"):
        headers = dict(record.headers)
        link = read_link(headers)
        assert link is not None
        terms.setdefault(record.partition, []).append(read_term(headers))
        sequences.setdefault((record.partition, link.writer), []).append(link.seq)
    assert all(found == sorted(found) for found in terms.values())
    assert len(set().union(*terms.values())) == 2
    assert all(found == list(range(len(found))) for found in sequences.values())
