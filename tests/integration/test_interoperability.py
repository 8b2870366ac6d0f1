"""Both transports on each broker that can be had from a package registry, in MQTT 5 and 3.1.1.

Mosquitto has a file of its own, and amqtt, which speaks 3.1.1 and keeps no sessions, a test in
``test_ingress.py``. Not among them: EMQX, VerneMQ and NanoMQ come as archives or images alone; rumqttd would
be compiled for many minutes; and HiveMQ's community edition, which is on Maven Central, lets nobody in
without an extension, which is not.
"""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator

import pytest

from streams.counters import Statistics
from streams.errors import ConnectionLost
from streams.mqtt.aiomqtt_transport import AiomqttTransport
from streams.mqtt.mqtt5_transport import Mqtt5Transport
from streams.mqtt.transport import NO_PAST, Connection, Past, Publication, Token, Transport
from streams.settings import Settings
from tests.conftest import real
from tests.parts.brokers import Aedes, Broker, Mochi, Moquette
from tests.parts.devices import device, publish
from tests.parts.eventually import eventually
from tests.parts.mosquitto import Mosquitto
from tests.parts.process import Part

WINDOW = 20
"""Receive Maximum: small, so that a backlog is larger than what a broker sends, and we read, ahead."""
BACKLOG = 600


class Mosquitto2(Mosquitto):
    """The broker that we recommend, for comparison."""

    versions = ("5", "3.1.1")
    drops_hasty_subscribers = False


BROKERS: list[type[Part]] = [Mosquitto2, Mochi, Aedes, Moquette]
WAYS = ["own, 5", "aiomqtt, 5", "aiomqtt, 3.1.1"]


@pytest.fixture(scope="module", params=BROKERS, ids=lambda kind: kind.name)
def broker(request: pytest.FixtureRequest) -> Iterator[Broker]:
    """Each broker, started once."""
    with real(request.param) as started:
        yield started


@pytest.fixture(params=WAYS)
def make(request: pytest.FixtureRequest, broker: Broker, unique: str) -> Callable[..., Transport]:
    """Make a transport with names of this test's own, as a new process does."""
    who, version = request.param.split(", ")
    if version not in broker.versions:
        pytest.skip(f"{broker.name} speaks no MQTT {version}")

    def make(**different: object) -> Transport:
        broker.heal()
        named = {
            "mqtt_url": broker.url,
            "mqtt_client_id": unique,
            "mqtt_topic_filter": f"{unique}/#",
            "mqtt_status_topic": f"status/{unique}",
            "mqtt_receive_maximum": WINDOW,
        }
        settings = Settings(**(named | different))  # type: ignore[arg-type]  # by name
        if who == "own":
            return Mqtt5Transport(settings, Statistics())
        return AiomqttTransport(settings, Statistics(), try_v5=version == "5")

    return make


class Line:
    """A connection that is opened while what comes is taken and acknowledged, as ingress does it."""

    def __init__(self, connection: Connection, *, acknowledges: bool) -> None:
        self.taken: list[Publication] = []
        self.connection = connection
        self._acknowledges = acknowledges
        self._pump = asyncio.create_task(self._take())

    async def _take(self) -> None:
        while not self.connection.closed.done():
            taken = await self.connection.receive(0.05)
            self.taken += taken
            if self._acknowledges:
                self.connection.acknowledge(tokens(taken))

    async def has(self, payloads: list[bytes]) -> None:
        """Wait until each was delivered."""
        wanted = set(payloads)
        await eventually(lambda: {message.payload for message in self.taken} >= wanted)

    async def end(self) -> None:
        """Take leave in good order."""
        await self.connection.close()
        await self._pump


@pytest.fixture
async def opened(broker: Broker) -> AsyncIterator[Callable[..., Awaitable[Line]]]:
    """Connect and open; what is open at the end is dropped."""
    lines: list[Line] = []

    async def opened(transport: Transport, past: Past = NO_PAST, *, acknowledges: bool = True) -> Line:
        for tries_left in reversed(range(3 if broker.drops_hasty_subscribers else 1)):
            lines.append(Line(await transport.connect(), acknowledges=acknowledges))
            try:
                await asyncio.wait_for(lines[-1].connection.open(past), 60)
            except ConnectionLost:
                if not tries_left:
                    raise
            else:
                break
        return lines[-1]

    yield opened
    for line in lines:
        line.connection.drop(ConnectionLost("the test is over"))
        with contextlib.suppress(ConnectionError):
            await line._pump
    await asyncio.sleep(0)
    await asyncio.sleep(0)


Open = Callable[..., Awaitable[Line]]
Make = Callable[..., Transport]


def tokens(taken: list[Publication]) -> list[Token]:
    return [message.token for message in taken if message.token is not None]


def numbered(count: int, first: int = 0) -> list[bytes]:
    return [b"%d" % number for number in range(first, first + count)]


async def test_what_is_published_is_delivered_in_order_with_its_topic(
    broker: Broker, make: Make, opened: Open, unique: str
) -> None:
    # With a small window mochi-mqtt 2.7.9 miscounts what is under way, and stands still until we reconnect.
    line = await opened(make(mqtt_receive_maximum=200))
    await publish(broker.url, f"{unique}/a/b/c", numbered(100))
    await line.has(numbered(100))

    assert [message.payload for message in line.taken] == numbered(100)
    assert {message.topic for message in line.taken} == {f"{unique}/a/b/c"}


async def test_a_backlog_larger_than_what_is_read_ahead_is_carried_while_the_connection_is_opened(
    broker: Broker, make: Make, opened: Open, unique: str
) -> None:
    await (await opened(make())).end()
    await publish(broker.url, f"{unique}/a/b/c", numbered(BACKLOG))
    line = await opened(make())
    await line.has(numbered(BACKLOG))

    assert line.connection.session_present
    assert not line.connection.closed.done()


async def test_what_was_not_acknowledged_comes_again_with_its_topic_however_often_the_connection_is_lost(
    broker: Broker, make: Make, opened: Open, unique: str
) -> None:
    transport = make()
    await opened(transport, acknowledges=False)
    await publish(broker.url, f"{unique}/a/b/c", numbered(10))
    for _ in range(3):
        line = await opened(transport, acknowledges=False)
        await line.has(numbered(10))
        line.connection.drop(ConnectionLost("to see them again"))
    line = await opened(transport)
    await line.has(numbered(10))
    await publish(broker.url, f"{unique}/a/b/c", numbered(10, first=10))
    await line.has(numbered(20))

    assert {message.topic for message in line.taken} == {f"{unique}/a/b/c"}
    assert not line.connection.closed.done()


async def test_a_device_that_publishes_retained_while_we_are_away_is_heard(
    broker: Broker, make: Make, opened: Open, unique: str
) -> None:
    await (await opened(make())).end()
    await publish(broker.url, f"{unique}/a/b/c", [b"1"], retain=True)
    line = await opened(make())
    await line.has([b"1"])

    assert not any(message.retained for message in line.taken)


async def test_the_subscription_of_an_earlier_setting_is_ended(
    broker: Broker, make: Make, opened: Open, unique: str
) -> None:
    await (await opened(make(mqtt_topic_filter=f"{unique}/+/old"))).end()
    line = await opened(make(mqtt_topic_filter=f"{unique}/#"), Past(frozenset({f"{unique}/+/old"})))
    async with device(broker.url) as client:
        for payload in numbered(5):
            await client.publish(f"{unique}/a/old", payload, qos=1)
    await publish(broker.url, f"{unique}/end", [b"end"])
    await line.has([*numbered(5), b"end"])

    assert [message.payload for message in line.taken] == [*numbered(5), b"end"]


async def test_a_killed_broker_is_come_back_to(broker: Broker, make: Make, opened: Open, unique: str) -> None:
    transport = make()
    line = await opened(transport)
    await asyncio.to_thread(broker.kill)
    assert isinstance(await asyncio.wait_for(line.connection.closed, 30), ConnectionLost)
    await asyncio.to_thread(broker.start)
    line = await opened(transport)
    await publish(broker.url, f"{unique}/a/b/c", numbered(10))
    await line.has(numbered(10))
