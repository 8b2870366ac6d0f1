"""A simulated device's connection, against a real Mosquitto and the embedded broker."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from itertools import islice
from pathlib import Path

import aiomqtt
import pytest

from streams.demo.fleet import Fleet
from streams.demo.parts import Amqtt
from streams.demo.simulation import PlannedPublication, Simulation
from streams.demo.stack import Stack
from streams.errors import Outage
from streams.mqtt.address import Address
from streams.mqtt.publisher import MqttPublisher
from tests.parts.mosquitto import Mosquitto
from tests.parts.ports import free_port

TENANT = "11111111-1111-4111-8111-111111111111"
Own = Callable[[Callable[[], Mosquitto]], Mosquitto]


def simulation(count: int) -> list[PlannedPublication]:
    start, step = datetime(2026, 11, 23, 14, tzinfo=UTC), timedelta(milliseconds=1)
    return Simulation([TENANT], start=start, step=step).take(count)


def denying(rules: Path) -> dict[str, str]:
    """Return options of a Mosquitto that refuses some; with 0 here, 2.0.11 then also ends the connection."""
    return {"acl_file": str(rules), "max_queued_messages": "1000"}


@asynccontextmanager
async def subscribed(url: str, topic: str) -> AsyncIterator[aiomqtt.Client]:
    address = Address.parse(url)
    async with aiomqtt.Client(address.host, address.port) as client:
        await client.subscribe(topic, qos=2)
        yield client


async def received(client: aiomqtt.Client, count: int) -> list[tuple[str, bytes]]:
    async with asyncio.timeout(30):
        return [(m.topic.value, bytes(m.payload)) async for m in _first(client, count)]


async def _first(client: aiomqtt.Client, count: int) -> AsyncIterator[aiomqtt.Message]:
    messages = client.messages
    for _ in range(count):
        yield await anext(messages)


@pytest.mark.parametrize("qos", [0, 1, 2])
@pytest.mark.parametrize("scheme", ["mqtt", "ws"])
async def test_every_message_arrives_in_order(mosquitto: Mosquitto, qos: int, scheme: str) -> None:
    publications = simulation(300)
    url = mosquitto.url if scheme == "mqtt" else mosquitto.websocket_url
    async with (
        subscribed(mosquitto.url, "metrics/#") as client,
        MqttPublisher(Address.parse(url)) as publisher,
    ):
        summary = await Fleet(iter(publications), publisher, rate=10_000, qos=qos).run()
        arrived = await received(client, 300)
    assert summary.acked.total() == 300
    assert arrived == [(each.topic, each.payload) for each in publications]


async def test_all_of_thousands_a_second_are_acknowledged(mosquitto: Mosquitto) -> None:
    async with MqttPublisher(Address.parse(mosquitto.url)) as publisher:
        summary = await Fleet(iter(simulation(4_000)), publisher, rate=2_000).run()
    assert summary.acked.total() == 4_000


async def test_the_brokers_receive_maximum_is_kept(own: Own) -> None:
    mosquitto = own(lambda: Mosquitto({"max_inflight_messages": "7"}))
    async with MqttPublisher(Address.parse(mosquitto.url)) as publisher:
        assert publisher.in_flight_max == 7
        summary = await Fleet(iter(simulation(500)), publisher, rate=100_000).run()
    assert summary.acked.total() == 500


async def test_what_the_broker_refuses_is_told(own: Own, tmp_path: Path) -> None:
    rules = tmp_path / "acl"
    rules.write_text("topic write metrics/allowed/#\n")
    mosquitto = own(lambda: Mosquitto(denying(rules)))
    async with MqttPublisher(Address.parse(mosquitto.url)) as publisher:
        assert await publisher.publish("metrics/allowed/a/m", b"1", 1)
        for _ in range(3):
            assert not await publisher.publish("metrics/forbidden/a/m", b"1", 1)


async def test_a_broker_that_dies_is_an_outage_for_all_in_flight(own: Own) -> None:
    mosquitto = own(Mosquitto)
    async with MqttPublisher(Address.parse(mosquitto.url)) as publisher:
        mosquitto.pause()
        in_flight = [publisher.publish("metrics/t/a/m", b"1", 1) for _ in range(3)]
        mosquitto.kill()
        for answer in in_flight:
            with pytest.raises(Outage, match="connection is lost"):
                await answer
        with pytest.raises(Outage, match="connection is lost"):
            await publisher.publish("metrics/t/a/m", b"1", 1)


async def test_a_broker_that_is_not_there_is_an_outage() -> None:
    with pytest.raises(Outage, match=r"mqtt://127\.0\.0\.1"):
        async with MqttPublisher(Address.parse(f"mqtt://127.0.0.1:{free_port()}")):
            pass


async def test_a_broker_of_mqtt_3_is_spoken_to_as_such() -> None:
    async with Stack(lambda _: None) as stack:
        part = Amqtt(stack.directory / "mqtt", free_port())
        await stack.start(part)
        publications = simulation(100)
        async with (
            subscribed(part.url, "metrics/#") as client,
            MqttPublisher(Address.parse(part.url)) as publisher,
        ):
            await Fleet(islice(publications, 100), publisher, rate=1_000).run()
            assert await received(client, 100) == [(each.topic, each.payload) for each in publications]
