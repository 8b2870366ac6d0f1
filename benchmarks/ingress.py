"""What ingress costs for each message: from a real Mosquitto into a real Kafka, and acknowledged.

The messages wait in our session at the broker; a process of its own carries them, for each transport and
event loop, and counts its CPU time alone, since others use the machine too. All of it counts: reading,
chunks, writing, acknowledging, and what the event loop needs for that.
"""

import argparse
import asyncio
import json
import platform
import subprocess
import sys
import time
from collections.abc import Iterator
from importlib.metadata import version
from itertools import product
from typing import NamedTuple

import uvloop
from aiokafka.admin import AIOKafkaAdminClient, NewTopic

from agents.ingress import Ingress
from streams.kafka.chunk_writer import KafkaChunkWriter
from streams.mqtt.address import Address
from streams.mqtt.choice import transport_of
from streams.mqtt.publisher import MqttPublisher
from streams.settings import Settings
from streams.statistics import Statistics
from tests.parts.eventually import eventually
from tests.parts.kafka import Kafka
from tests.parts.mosquitto import Mosquitto

TRANSPORTS, LOOPS = ["mqtt5", "aiomqtt"], ["uvloop", "asyncio"]
PARTITIONS, TENANTS, DEVICES = 8, 40, 50
PAYLOAD = b'{"value": 42.17, "timestamp": "2026-11-23T14:00:00.123456Z", "dedupe_id": "%d"}'
IN_FLIGHT = 1_000
MOST_S = 120.0


class Run(NamedTuple):
    """One measurement."""

    broker_url: str
    kafka_url: str
    name: str
    transport: str
    loop: str
    messages: int

    @property
    def settings(self) -> Settings:
        """Those of its ingress."""
        return Settings.from_mapping(
            {
                "BROKER_URL": self.kafka_url,
                "TOPIC_PREFIX": self.name,
                "TOPIC_PARTITIONS": str(PARTITIONS),
                "MQTT_URL": self.broker_url,
                "MQTT_CLIENT_ID": self.name,
                "MQTT_TOPIC_FILTER": f"{self.name}/#",
                "MQTT_TRANSPORT": self.transport,
            }
        )


def main(arguments: list[str]) -> None:
    """Print one line of JSON with the CPU time of a message, for each transport and event loop."""
    parser = argparse.ArgumentParser(prog="./dev bench ingress", description=__doc__)
    parser.add_argument("--messages", type=int, default=60_000, help="for each measurement (%(default)s)")
    parser.add_argument("--rounds", type=int, default=2, help="the best counts (%(default)s)")
    options = parser.parse_args(arguments)
    figures: dict[str, dict[str, float]] = {}
    with Mosquitto() as broker, Kafka() as kafka:
        for number, transport, loop in product(range(options.rounds), TRANSPORTS, LOOPS):
            name = f"b{number}{transport}{loop}"
            found = _measured(Run(broker.url, kafka.url, name, transport, loop, options.messages))
            key = f"{transport} on {loop}"
            figures[key] = min(found, figures.get(key, found), key=lambda one: one["cpu_us"])
    versions = {name: version(name) for name in ("mqtt5", "aiomqtt", "aiokafka", "uvloop")}
    versions["python"] = platform.python_version()
    print(json.dumps({"benchmark": "ingress", "messages": options.messages, **figures, "versions": versions}))


def _measured(run: Run) -> dict[str, float]:
    asyncio.run(_prepare(run))
    command = [sys.executable, "-m", "benchmarks.ingress", *map(str, run)]
    return dict(json.loads(subprocess.run(command, check=True, stdout=subprocess.PIPE).stdout))


async def _prepare(run: Run) -> None:
    """Make the topic and the session, and let the session's messages wait."""
    admin = AIOKafkaAdminClient(bootstrap_servers=run.settings.bootstrap_servers)
    await admin.start()
    await admin.create_topics([NewTopic(run.settings.raw_topic, PARTITIONS, 1)])
    await admin.close()
    await (await transport_of(run.settings, Statistics()).connect()).close()
    async with MqttPublisher(Address.parse(run.broker_url)) as publisher:
        waiting: list[asyncio.Future[bool]] = []
        for number, topic in zip(range(run.messages), _topics(run.name), strict=False):
            waiting.append(publisher.publish(topic, PAYLOAD % number, 1))
            if len(waiting) == IN_FLIGHT:
                await asyncio.gather(*waiting)
                waiting.clear()
        await asyncio.gather(*waiting)


def _topics(name: str) -> Iterator[str]:
    while True:
        for device in range(DEVICES):
            for tenant in range(TENANTS):
                yield f"{name}/7c9e6679-7425-40de-944b-e07fc1f9{tenant:04}/edge-{device}/cpu.usage.percent"


# --- In a process of its own ------------------------------------------------------------------------------


async def carry(run: Run) -> dict[str, float]:
    """Carry all messages; return what one has cost, with its share of connecting to both brokers."""
    statistics = Statistics()
    transport, writer = transport_of(run.settings, statistics), KafkaChunkWriter(run.settings)
    ingress = Ingress(run.settings, statistics, transport, writer)
    cpu_s, wall_s = time.process_time(), time.monotonic()
    await ingress.lead()
    await eventually(lambda: statistics.messages["acknowledged"] == run.messages, MOST_S)
    cpu_s, wall_s = time.process_time() - cpu_s, time.monotonic() - wall_s
    await ingress.stand_by()
    return {"cpu_us": round(cpu_s / run.messages * 1e6, 2), "messages_a_s": round(run.messages / wall_s)}


if __name__ == "__main__":
    *texts, count = sys.argv[1:]
    chosen = Run(*texts, messages=int(count))
    if chosen.loop == "uvloop":
        asyncio.set_event_loop_policy(uvloop.EventLoopPolicy())
    print(json.dumps(asyncio.run(carry(chosen))))
