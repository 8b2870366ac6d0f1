"""What docker/mosquitto/config/mosquitto.conf promises, asked of a real Mosquitto that runs on it."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import pytest
from paho.mqtt.client import Client, MQTTMessage, MQTTv5, MQTTv311
from paho.mqtt.enums import CallbackAPIVersion, MQTTProtocolVersion
from paho.mqtt.packettypes import PacketTypes
from paho.mqtt.properties import Properties

from tests.parts.eventually import eventually_sync
from tests.parts.mosquitto import Mosquitto

LIMIT_PAYLOAD = 64 * 1024
MANY = 3_000  # three times what Mosquitto queues by default
DEFAULT_IN_FLIGHT = 20


class Device:
    """A connected MQTT client that remembers what happened to it."""

    def __init__(self, client: Client) -> None:
        self.client = client
        self.received: list[bytes] = []
        self.lost: list[Any] = []
        self.subscribed = False
        client.on_message = self._on_message
        client.on_disconnect = self._on_disconnect
        client.on_subscribe = self._on_subscribe

    def subscribe(self, topic_filter: str) -> None:
        """Subscribe at QoS 1 and wait until the broker has answered, and so sent what it had before."""
        self.subscribed = False
        self.client.subscribe(topic_filter, qos=1)
        eventually_sync(lambda: self.subscribed)

    def publish(self, topic: str, payloads: list[bytes], qos: int = 1) -> None:
        """Publish and wait until the broker has acknowledged all of them (QoS 0: until they are sent)."""
        for sent in [self.client.publish(topic, payload, qos=qos) for payload in payloads]:
            sent.wait_for_publish(20)
            assert sent.is_published()

    def _on_message(self, _client: Client, _data: object, message: MQTTMessage) -> None:
        self.received.append(bytes(message.payload))

    def _on_disconnect(
        self, _client: Client, _data: object, _flags: object, reason: object, _more: object
    ) -> None:
        self.lost.append(reason)

    def _on_subscribe(self, *_: object) -> None:
        self.subscribed = True


@contextmanager
def connected(
    broker: Mosquitto,
    client_id: str,
    *,
    protocol: MQTTProtocolVersion = MQTTProtocolVersion.MQTTv5,
    transport: Any = "tcp",
    manual_ack: bool = False,
    receive_maximum: int | None = None,
) -> Iterator[Device]:
    client = Client(
        CallbackAPIVersion.VERSION2,
        client_id=client_id,
        protocol=protocol,
        transport=transport,
        manual_ack=manual_ack,
        **({"clean_session": False} if protocol == MQTTv311 else {}),
    )
    device = Device(client)
    port = broker.port if transport == "tcp" else broker.websocket_port
    client.connect(broker.host, port, **_session(protocol, receive_maximum))
    client.loop_start()
    try:
        eventually_sync(client.is_connected)
        yield device
    finally:
        client.disconnect()
        client.loop_stop()


def _session(protocol: MQTTProtocolVersion, receive_maximum: int | None) -> dict[str, Any]:
    if protocol != MQTTv5:
        return {}
    properties = Properties(PacketTypes.CONNECT)  # type: ignore[no-untyped-call] # paho's own
    properties.SessionExpiryInterval = 3600
    if receive_maximum is not None:
        properties.ReceiveMaximum = receive_maximum
    return {"clean_start": False, "properties": properties}


def test_both_listeners_let_anyone_in_and_reach_each_other(mosquitto: Mosquitto, unique: str) -> None:
    with connected(mosquitto, f"{unique}-s", transport="websockets") as browser:
        browser.subscribe(unique)
        with connected(mosquitto, f"{unique}-p") as device:
            device.publish(unique, [b"hello"])
        assert eventually_sync(lambda: browser.received) == [b"hello"]


@pytest.mark.parametrize("protocol", [MQTTv5, MQTTv311])
def test_nothing_acknowledged_is_lost_while_the_bridge_is_away_and_the_broker_restarts(
    own: Callable[..., Mosquitto], unique: str, protocol: MQTTProtocolVersion
) -> None:
    broker = own(Mosquitto)
    payloads = [b"%d" % number for number in range(MANY)]
    with connected(broker, f"{unique}-bridge", protocol=protocol) as bridge:
        bridge.subscribe(unique)
    with connected(broker, f"{unique}-device") as device:
        device.publish(unique, payloads)
    broker.restart()
    with connected(broker, f"{unique}-bridge", protocol=protocol) as bridge:
        eventually_sync(lambda: len(bridge.received) == MANY, 20)
        assert bridge.received == payloads


def test_messages_are_on_disk_before_a_crash_once_the_interval_has_passed(
    own: Callable[..., Mosquitto], unique: str
) -> None:
    broker = own(lambda: Mosquitto({"autosave_interval": "1"}))
    with connected(broker, f"{unique}-bridge") as bridge:
        bridge.subscribe(unique)
    with connected(broker, f"{unique}-device") as device:
        device.publish(unique, [b"kept"])
    stored = broker.directory / "mosquitto.db"
    eventually_sync(lambda: stored.exists() and b"kept" in stored.read_bytes())
    broker.kill()
    broker.start()
    with connected(broker, f"{unique}-bridge") as bridge:
        assert eventually_sync(lambda: bridge.received) == [b"kept"]


def test_qos_0_is_kept_too_while_the_bridge_is_away(mosquitto: Mosquitto, unique: str) -> None:
    with connected(mosquitto, f"{unique}-bridge") as bridge:
        bridge.subscribe(unique)
    with connected(mosquitto, f"{unique}-device") as device:
        device.publish(unique, [b"zero"], qos=0)
        device.publish(unique, [b"one"])  # its acknowledgement tells that the one before has arrived
    with connected(mosquitto, f"{unique}-bridge") as bridge:
        eventually_sync(lambda: len(bridge.received) == 2)
        assert bridge.received == [b"zero", b"one"]


@pytest.mark.parametrize(
    ("protocol", "receive_maximum", "expected"),
    [(MQTTv5, 500, 500), (MQTTv5, 2_500, 2_500), (MQTTv311, None, 2_000)],
)
def test_the_bridge_may_have_thousands_of_messages_in_flight(
    mosquitto: Mosquitto,
    unique: str,
    protocol: MQTTProtocolVersion,
    receive_maximum: int | None,
    expected: int,
) -> None:
    options: dict[str, Any] = {"protocol": protocol, "receive_maximum": receive_maximum, "manual_ack": True}
    with connected(mosquitto, f"{unique}-bridge", **options) as bridge:
        bridge.subscribe(unique)
        with connected(mosquitto, f"{unique}-device") as device:
            device.publish(unique, [b"x"] * MANY)
        bridge.subscribe(f"{unique}/barrier")
        assert len(bridge.received) == expected > DEFAULT_IN_FLIGHT


@pytest.mark.parametrize("protocol", [MQTTv5, MQTTv311])
def test_a_payload_over_our_limit_still_arrives_to_be_explained(
    mosquitto: Mosquitto, unique: str, protocol: MQTTProtocolVersion
) -> None:
    payload = b"x" * (LIMIT_PAYLOAD * 10)
    with connected(mosquitto, f"{unique}-bridge") as bridge:
        bridge.subscribe(unique)
        with connected(mosquitto, f"{unique}-device", protocol=protocol) as device:
            device.publish(unique, [payload])
        assert eventually_sync(lambda: bridge.received) == [payload]


@pytest.mark.parametrize("protocol", [MQTTv5, MQTTv311])
def test_a_packet_that_is_too_large_is_refused_aloud(
    mosquitto: Mosquitto, unique: str, protocol: MQTTProtocolVersion
) -> None:
    with connected(mosquitto, f"{unique}-device", protocol=protocol) as device:
        sent = device.client.publish(unique, b"x" * 1_100_000, qos=1)
        eventually_sync(lambda: device.lost)
        assert not sent.is_published()


def test_a_retained_status_survives_a_restart(own: Callable[..., Mosquitto], unique: str) -> None:
    broker = own(Mosquitto)
    with connected(broker, f"{unique}-bridge") as bridge:
        bridge.client.publish("bridge/status", b"online", qos=1, retain=True).wait_for_publish(10)
    broker.restart()
    with connected(broker, f"{unique}-reader") as reader:
        reader.subscribe("bridge/status")
        assert eventually_sync(lambda: reader.received) == [b"online"]


def test_the_log_goes_to_a_file_and_says_who_came(mosquitto: Mosquitto, unique: str) -> None:
    with connected(mosquitto, unique):
        log = mosquitto.directory / "mosquitto.log"
        eventually_sync(lambda: f"as {unique} " in log.read_text())
