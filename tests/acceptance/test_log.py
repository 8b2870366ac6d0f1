"""What an operator reads in the log of workers and of ingest: nothing to ignore, each outage told once."""

import asyncio
import json
import re
import urllib.request
import uuid
from collections.abc import Sequence
from typing import Any

import pytest

from streams.database.schema import ensure_tables
from streams.mqtt.address import Address
from streams.mqtt.publisher import MqttPublisher
from tests.acceptance.conftest import Own
from tests.parts.eventually import eventually
from tests.parts.kafka import Kafka
from tests.parts.mosquitto import Mosquitto
from tests.parts.postgres import Postgres
from tests.parts.process import Part
from tests.parts.redis import Redis
from tests.parts.tenants import add_tenants
from tests.parts.worker import Ingest, Worker

WARNING = re.compile(r"^\[[^]]*\] \[\d+\] \[(?:WARNING|ERROR|CRITICAL)\].*", re.MULTILINE)
BEGIN, END = "waiting for {}: ", "the wait for {} is over after "
IN_TIME_S = 90.0
MESSAGES = 60


class Scene:
    """Parts of the test's own, so that each can be stopped, with two workers and an ingest on them."""

    def __init__(self, own: Own, name: str) -> None:
        self._own = own
        self.mosquitto: Mosquitto = own(Mosquitto)
        self.kafka: Kafka = own(Kafka)
        self.redis: Redis = own(lambda: Redis(append_only=True))
        self.postgres: Postgres = own(Postgres)
        self.tenants = [str(uuid.uuid4()) for _ in range(6)]
        self._environment = {
            "BROKER_URL": self.kafka.url,
            "MQTT_URL": self.mosquitto.url,
            "MQTT_CLIENT_ID": name,  # with the default one there is a warning, and rightly so
            "REDIS_URL": self.redis.url,
            "DATABASE_URL": self.postgres.url,
            "TOPIC_PREFIX": name,
            "CONSUMER_GROUP": name,
            "TOPIC_PARTITIONS": "4",
        }

    @property
    def part(self) -> dict[str, Part]:
        return {
            "mqtt": self.mosquitto,
            "redis": self.redis,
            "postgres": self.postgres,
            "kafka": self.kafka,
        }

    async def start(self) -> None:
        await ensure_tables(self.postgres.url)
        await add_tenants(self.postgres.url, self.tenants)
        self.workers: list[Worker] = [self._own(lambda: Worker(self._environment)) for _ in range(2)]
        self.ingest: Ingest = self._own(lambda: Ingest(self._environment))
        self.rows = 0

    async def publish(self) -> None:
        """Publish, some of it for a tenant that nobody has heard of: PostgreSQL has to be asked."""
        mark = uuid.uuid4().hex
        tenants = [*self.tenants, str(uuid.uuid4())]
        async with MqttPublisher(Address.parse(self.mosquitto.url)) as publisher:
            payloads = [b'{"value":1,"dedupe_id":"%s-%d"}' % (mark.encode(), n) for n in range(MESSAGES)]
            sent = (
                publisher.publish(f"metrics/{tenant}/edge-1/load", payload, 1)
                for tenant in tenants
                for payload in payloads
            )
            assert all(await asyncio.gather(*sent))
        self.rows += MESSAGES * len(self.tenants)

    async def landed(self) -> None:
        """Wait until all that was published is rows."""

        def counted() -> bool:
            return int(self.postgres.execute("select count(*) from metrics_raw")) == self.rows

        await eventually(counted, IN_TIME_S, interval_s=0.5)


@pytest.fixture
async def scene(own: Own, unique: str) -> Scene:
    made = Scene(own, unique)
    await made.start()
    return made


def logs(processes: Sequence[Part]) -> list[str]:
    return [process.log_text() for process in processes]


def statistics_of(worker: Worker) -> dict[str, Any]:
    with urllib.request.urlopen(worker.web_url, timeout=5) as answer:  # noqa: S310 - loopback
        page: dict[str, Any] = json.load(answer)
    return page


def told(log: str, text: str, part: str) -> int:
    return log.count(text.format(part))


async def test_an_ordinary_start_work_rebalance_and_stop_hold_no_warning(scene: Scene) -> None:
    processes = [*scene.workers, scene.ingest]
    for worker in scene.workers:
        assert set(statistics_of(worker)["parts"]) == {"kafka", "mqtt", "postgres", "redis"}
    await scene.publish()
    await scene.landed()
    await asyncio.to_thread(scene.workers[0].stop)
    await scene.publish()
    await scene.landed()
    await asyncio.to_thread(scene.workers[1].stop)
    await asyncio.to_thread(scene.ingest.stop)
    for log in logs(processes):
        assert WARNING.findall(log) == []
        assert "Traceback" not in log
    first, second, ingest = logs(processes)
    assert "messages received" in first + second
    assert "nothing behind" in first
    assert "rejected (tenant_unknown" in first + second
    assert " rows of " in ingest


async def test_an_outage_of_each_part_is_told_once_by_each_that_needs_it(scene: Scene) -> None:
    needed_by: dict[str, list[Part]] = {
        part: [*scene.workers, scene.ingest] for part in ("redis", "postgres")
    }
    needed_by["kafka"] = [*scene.workers]
    await scene.publish()
    await scene.landed()
    for name, part in scene.part.items():
        await _outage(scene, name, part, needed_by.get(name, []))
    for process in [*scene.workers, scene.ingest]:
        await asyncio.to_thread(process.stop)
    for process in [*scene.workers, scene.ingest]:
        log = process.log_text()
        for name in scene.part:
            expected = [1, 1] if process in needed_by.get(name, []) else [0, 0]
            if name != "mqtt":  # of which the one that leads tells
                assert [told(log, BEGIN, name), told(log, END, name)] == expected, f"{name}\n{log}"
        assert len(WARNING.findall(log)) == sum(told(log, BEGIN, name) for name in scene.part), log
    both = "".join(logs(scene.workers))
    assert [told(both, BEGIN, "mqtt"), told(both, END, "mqtt")] == [1, 1]
    assert re.search(
        r"waiting for kafka: .*; what waits: \S+\.raw\[[0-3, ]+\], \S+\.unique\[[0-3, ]+\]", both
    )


async def _outage(scene: Scene, name: str, part: Part, needed_by: Sequence[Part]) -> None:
    """Let a part be away until all that need it have said so, and see that they come back."""
    await asyncio.to_thread(part.stop)
    if name != "mqtt":
        await scene.publish()  # so that something waits

    def begun(text: str) -> bool:
        if name == "mqtt":
            return told("".join(logs(scene.workers)), text, name) > 0
        return all(told(log, text, name) for log in logs(needed_by))

    await eventually(lambda: begun(BEGIN), IN_TIME_S)
    await asyncio.to_thread(part.start)
    await eventually(lambda: begun(END), IN_TIME_S)
    await scene.landed()
