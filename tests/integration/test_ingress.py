"""Ingress between a real Mosquitto and a real Kafka, with each of them failing underneath it."""

import asyncio
import logging
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass

import mqtt5
import pytest
from aiokafka import AIOKafkaConsumer, TopicPartition
from aiokafka.admin import AIOKafkaAdminClient, NewTopic

from agents.ingress import Ingress
from streams.counters import Statistics
from streams.errors import Outage
from streams.ingress.chunk_writer import KafkaChunkWriter
from streams.ingress.lease import Lease
from streams.ingress.testing import FakeTermSource
from streams.models import Message
from streams.mqtt.select_transport import transport_of
from streams.settings import Settings
from streams.wire.raw import decode
from tests.parts.amqtt_broker import amqtt_broker
from tests.parts.devices import connect_until_closed, device, publish, watching
from tests.parts.eventually import eventually
from tests.parts.kafka import Kafka
from tests.parts.mosquitto import Mosquitto

PARTITIONS = 4
TENANTS = [f"tenant-{number}" for number in range(6)]

Own = Callable[[Callable[[], Mosquitto]], Mosquitto]


@dataclass
class Running:
    """An ingress at work, and a look at what it has written."""

    settings: Settings
    statistics: Statistics
    ingress: Ingress
    term_source: FakeTermSource
    consumer: AIOKafkaConsumer
    records: list[list[Message]]
    partitions: list[list[Message]]

    async def read(self) -> list[Message]:
        """Read what is new in the raw topic; return all there is."""
        for place, records in (await self.consumer.getmany(timeout_ms=50)).items():
            for record in records:
                messages = decode(record.value)
                self.records.append(messages)
                self.partitions[place.partition].extend(messages)
        return [message for messages in self.records for message in messages]

    async def has(self, payloads: list[bytes], timeout_s: float = 30.0) -> None:
        """Wait until each payload was written at least once, and nothing but them."""
        wanted = {payload.decode() for payload in payloads}

        async def all_there() -> bool:
            return {message.payload for message in await self.read()} == wanted

        await eventually(all_there, timeout_s)

    async def connected(self) -> None:
        await eventually(lambda: self.part_detail().startswith("connected"), 30)

    def part_detail(self) -> str:
        part = self.statistics.parts.get("mqtt")
        return part.detail if part else ""


Start = Callable[..., Awaitable[Running]]


@pytest.fixture(params=["auto", "aiomqtt"])
async def start(
    request: pytest.FixtureRequest, kafka: Kafka, mosquitto: Mosquitto, unique: str
) -> AsyncIterator[Start]:
    """Start an ingress of this test's own; all are stopped at its end."""
    running: list[Running] = []

    async def start(url: str = mosquitto.url, **different: object) -> Running:
        named = {
            "broker_url": kafka.url,
            "topic_prefix": unique,
            "topic_partitions": PARTITIONS,
            "mqtt_transport": request.param,
            "mqtt_url": url,
            "mqtt_client_id": unique,
            "mqtt_topic_filter": f"{unique}/#",
            "mqtt_status_topic": f"status/{unique}",
        }
        settings, statistics = Settings(**(named | different)), Statistics()
        transport, lease = transport_of(settings, statistics, "host"), Lease(8.0)
        writer, term_source = KafkaChunkWriter(settings, lease), FakeTermSource()
        one = Running(
            settings,
            statistics,
            Ingress(settings, statistics, transport, writer, term_source=term_source, lease=lease),
            term_source,
            await consumer_of(kafka, settings.raw_topic),
            [],
            [[] for _ in range(PARTITIONS)],
        )
        running.append(one)
        await one.ingress.lead()
        await one.connected()
        return one

    yield start
    for one in running:
        await one.ingress.stand_by()
        await one.consumer.stop()


async def consumer_of(kafka: Kafka, topic: str) -> AIOKafkaConsumer:
    """Create the topic if it is missing, and read it from its beginning."""
    admin = AIOKafkaAdminClient(bootstrap_servers=kafka.bootstrap)
    await admin.start()
    await admin.create_topics([NewTopic(topic, PARTITIONS, 1)])  # one that exists is answered, not raised
    await admin.close()
    consumer = AIOKafkaConsumer(
        bootstrap_servers=kafka.bootstrap, auto_offset_reset="earliest", enable_auto_commit=False
    )
    await consumer.start()
    consumer.assign([TopicPartition(topic, partition) for partition in range(PARTITIONS)])
    return consumer


def numbered(count: int, first: int = 0) -> list[bytes]:
    return [b"%d" % number for number in range(first, first + count)]


def in_order_per_tenant(running: Running, prefix: str) -> bool:
    """Whether each tenant's messages stand in one partition in the order of their numbers, copies aside."""
    for tenant in TENANTS:
        topic = f"{prefix}/{tenant}/edge-1/cpu"
        places = [
            [int(message.payload or "") for message in messages if message.topic == topic]
            for messages in running.partitions
        ]
        filled = [list(dict.fromkeys(numbers)) for numbers in places if numbers]
        if len(filled) > 1 or any(numbers != sorted(numbers) for numbers in filled):
            return False
    return True


async def publish_for_all(url: str, prefix: str, payloads: list[bytes]) -> None:
    """Publish in turn for each tenant, waiting for the broker's acknowledgement."""
    async with device(url) as client:
        for number, payload in enumerate(payloads):
            await client.publish(f"{prefix}/{TENANTS[number % len(TENANTS)]}/edge-1/cpu", payload, qos=1)


async def test_each_message_is_written_once_in_order_and_acknowledged(
    start: Start, mosquitto: Mosquitto, unique: str
) -> None:
    running = await start()
    await publish_for_all(mosquitto.url, unique, numbered(300))
    await running.has(numbered(300))
    await eventually(lambda: running.statistics.messages["acknowledged"] == 300)

    assert running.statistics.messages == {"received": 300, "written": 300, "acknowledged": 300}
    assert in_order_per_tenant(running, unique)
    message = (await running.read())[0]
    assert message.qos == 1
    assert message.received_at.startswith("20")


async def test_a_message_alone_waits_for_hardly_more_than_the_linger(
    start: Start, mosquitto: Mosquitto, unique: str
) -> None:
    running = await start(chunk_linger_ms=10.0)
    async with device(mosquitto.url) as client:
        for payload in numbered(20):
            await client.publish(f"{unique}/a/b/c", payload, qos=1)
            await running.has(numbered(int(payload) + 1), timeout_s=2)

    assert [len(messages) for messages in running.records] == [1] * 20


async def test_many_messages_share_a_record(start: Start, mosquitto: Mosquitto, unique: str) -> None:
    running = await start(chunk_linger_ms=20.0)
    await publish(mosquitto.url, f"{unique}/a/b/c", numbered(2_000))
    await running.has(numbered(2_000))

    assert max(len(messages) for messages in running.records) > 10


async def test_what_came_while_nobody_led_is_carried_when_somebody_does(
    start: Start, mosquitto: Mosquitto, unique: str
) -> None:
    first = await start()
    await first.ingress.stand_by()
    await publish_for_all(mosquitto.url, unique, numbered(1_200))
    second = await start()
    await second.has(numbered(1_200))

    assert in_order_per_tenant(second, unique)
    assert second.statistics.messages["received"] == 1_200


async def test_a_kafka_that_is_killed_costs_no_message_and_while_it_is_away_nothing_is_acknowledged(
    start: Start, kafka: Kafka, mosquitto: Mosquitto, unique: str
) -> None:
    running = await start(mqtt_receive_maximum=50)
    await publish_for_all(mosquitto.url, unique, numbered(100))
    await running.has(numbered(100))
    await eventually(lambda: running.statistics.messages["acknowledged"] == 100)
    await asyncio.to_thread(kafka.kill)
    await publish_for_all(mosquitto.url, unique, numbered(200, first=100))
    await eventually(lambda: running.statistics.messages["received"] == 150)
    assert running.statistics.messages["acknowledged"] == 100

    await asyncio.to_thread(kafka.start)
    await running.has(numbered(300), timeout_s=60)
    await eventually(lambda: running.statistics.messages["acknowledged"] == 300)
    assert in_order_per_tenant(running, unique)
    assert len(await running.read()) == 300  # the connection held, so there is no copy


async def test_a_kafka_that_hangs_is_waited_for(
    start: Start, kafka: Kafka, mosquitto: Mosquitto, unique: str
) -> None:
    running = await start()
    await publish_for_all(mosquitto.url, unique, numbered(10))
    await running.has(numbered(10))
    kafka.pause()
    await publish_for_all(mosquitto.url, unique, numbered(50, first=10))
    await eventually(lambda: running.statistics.messages["received"] == 60)
    kafka.resume()

    await running.has(numbered(60))
    await eventually(lambda: running.statistics.messages["acknowledged"] == 60)


async def test_a_broker_that_restarts_brings_everything_back(start: Start, own: Own, unique: str) -> None:
    broker = own(Mosquitto)
    running = await start(broker.url)
    await publish_for_all(broker.url, unique, numbered(100))
    await asyncio.to_thread(broker.restart)
    await publish_for_all(broker.url, unique, numbered(100, first=100))

    await running.has(numbered(200))
    assert in_order_per_tenant(running, unique)
    assert running.ingress.is_leading


async def test_a_broker_that_is_killed_again_and_again_loses_no_message_that_a_device_repeats(
    start: Start, own: Own, unique: str
) -> None:
    broker = own(lambda: Mosquitto({"autosave_on_changes": "true", "autosave_interval": "1"}))
    running = await start(broker.url)
    sent: list[bytes] = []
    for first in range(0, 150, 50):
        await publish_for_all(broker.url, unique, numbered(50, first))
        sent += numbered(50, first)
        # A killed Mosquitto keeps what it has passed on and what it has saved; this waits for the former.
        await running.has(sent)
        await asyncio.to_thread(broker.kill)
        await eventually(lambda: not running.statistics.parts["mqtt"].up)
        await asyncio.to_thread(broker.start)
        await running.connected()

    assert in_order_per_tenant(running, unique)


async def test_what_was_under_way_when_the_connection_broke_comes_once_more_and_no_more(
    start: Start, kafka: Kafka, own: Own, unique: str
) -> None:
    broker = own(Mosquitto)
    running = await start(broker.url)
    await publish_for_all(broker.url, unique, numbered(10))
    await running.has(numbered(10))
    await eventually(lambda: running.statistics.messages["acknowledged"] == 10)
    kafka.pause()
    await publish_for_all(broker.url, unique, numbered(30, first=10))
    await eventually(lambda: running.statistics.messages["received"] == 40)
    await asyncio.to_thread(broker.restart)
    await eventually(lambda: not running.statistics.parts["mqtt"].up)
    kafka.resume()

    await running.has(numbered(40))
    await eventually(lambda: running.statistics.messages["acknowledged"] == 40)
    counts = Counter(message.payload for message in await running.read())
    assert {counts[str(number)] for number in range(10)} == {1}
    again = {counts[str(number)] for number in range(10, 40)}
    # Twice, but for what a Kafka that stood still so long has refused of the first.
    assert again <= {1, 2}
    assert 2 in again
    assert in_order_per_tenant(running, unique)


async def test_a_client_that_fights_for_our_id_is_given_way_to_for_a_while(
    start: Start, mosquitto: Mosquitto, unique: str, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    running = await start()

    async def usurp() -> None:
        while "again and again" not in caplog.text:
            await connect_until_closed(mosquitto, client_id=unique)

    usurper = asyncio.create_task(usurp())
    try:
        await eventually(lambda: "again and again" in caplog.text)
    finally:
        usurper.cancel()

    assert f"MQTT_CLIENT_ID={unique} is in use elsewhere" in caplog.text
    await running.connected()
    await publish_for_all(mosquitto.url, unique, numbered(10))
    await running.has(numbered(10))


async def test_a_visitor_with_our_id_costs_what_is_published_until_we_are_back_and_no_more(
    start: Start, mosquitto: Mosquitto, unique: str, caplog: pytest.LogCaptureFixture
) -> None:
    running = await start()
    reader, writer = await asyncio.open_connection(mosquitto.host, mosquitto.port)
    writer.write(mqtt5.ConnectPacket(unique, clean_start=True).write())
    try:
        await reader.readexactly(1)
        await eventually(lambda: running.statistics.notes["sessions_lost"] == 1)
        await running.connected()
        await publish_for_all(mosquitto.url, unique, numbered(60))
        await running.has(numbered(60), timeout_s=10)
    finally:
        writer.close()
    assert "has wiped our session" in caplog.text


async def test_a_new_leader_takes_over_from_an_old_one_that_does_not_know_yet(
    start: Start, mosquitto: Mosquitto, unique: str
) -> None:
    old = await start()
    old.term_source.refusal = Outage("kafka", "another worker leads")  # as Kafka's group answers from now on
    new = await start()
    await eventually(lambda: "another worker leads" in old.part_detail(), 20)
    await new.connected()
    await publish_for_all(mosquitto.url, unique, numbered(60))

    await new.has(numbered(60))
    assert new.ingress.is_leading


async def test_status_says_online_while_leading_and_offline_when_standing_by(
    start: Start, mosquitto: Mosquitto, unique: str
) -> None:
    running = await start()
    async with watching(mosquitto.url, f"status/{unique}") as seen:
        await eventually(lambda: seen == [(b"online", True)])
        await running.ingress.stand_by()
        await eventually(lambda: seen == [(b"online", True), (b"offline", False)])


async def test_messages_at_qos_0_are_carried_too(start: Start, mosquitto: Mosquitto, unique: str) -> None:
    running = await start()
    await publish(mosquitto.url, f"{unique}/a/b/c", numbered(50), qos=0)
    await running.has(numbered(50))

    assert {message.qos for message in await running.read()} == {0}


async def test_the_embedded_broker_is_spoken_to_in_mqtt_3(start: Start, unique: str) -> None:
    async with amqtt_broker() as url:
        await publish(url, f"{unique}/a/b/c", [b"retained"], retain=True)
        running = await start(url)
        assert running.part_detail() == "connected, MQTT 3.1.1"
        await publish(url, f"{unique}/a/b/c", numbered(100))

        await running.has(numbered(100))
        await eventually(lambda: running.statistics.messages["acknowledged"] == 101)
        assert running.statistics.notes["retained_skipped"] == 1
        await running.ingress.stand_by()
