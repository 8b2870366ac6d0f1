"""Chooses the MQTT transport: our own where it goes, aiomqtt for WebSockets and brokers without MQTT 5."""

import logging
import socket

import mqtt5

from streams.counters import Statistics
from streams.errors import SpeaksNoMqtt5
from streams.mqtt.address import Address
from streams.mqtt.aiomqtt_transport import AiomqttTransport
from streams.mqtt.mqtt5_protocol import Read
from streams.mqtt.mqtt5_transport import Mqtt5Transport
from streams.mqtt.session_state import SessionState
from streams.mqtt.transport import Connection, MqttSession, Transport
from streams.settings import Settings

log = logging.getLogger(__name__)


def transport_of(
    settings: Settings, statistics: Statistics, host_name: str | None = None, read: Read = mqtt5.read
) -> Transport:
    """Return the transport that MQTT_TRANSPORT names; ``auto`` is the quickest that gets through.

    Args:
        settings: names the broker, the session and the transport.
        statistics: counts what is dropped.
        host_name: stands for `worker_id` where that is not set.
        read: takes a packet of MQTT 5 off the bytes, for our own transport.
    """
    over_websocket = bool(Address.of(settings).path)
    if settings.mqtt_transport == "aiomqtt" or over_websocket:
        return AiomqttTransport(settings, statistics, host_name)
    standing = SessionState(MqttSession.of(settings, host_name or socket.gethostname()), statistics)
    quick = Mqtt5Transport(settings, statistics, host_name, standing, read)
    if settings.mqtt_transport == "mqtt5":
        return quick
    return FallbackTransport(
        quick, AiomqttTransport(settings, statistics, host_name, try_v5=False, standing=standing)
    )


class FallbackTransport:
    """Speaks MQTT 5 by our own transport, and 3.1.1 by aiomqtt to a broker that has nothing newer.

    Each connection is tried in MQTT 5 first: a broker that gave no answer may have been in trouble.
    """

    def __init__(self, quick: Mqtt5Transport, fallback: AiomqttTransport) -> None:
        self._quick = quick
        self._fallback = fallback
        self._told = False

    async def connect(self) -> Connection:
        """Make a connection.

        Raises:
            Outage: the broker is not reached, refuses us, or offers less than we need.
            SessionTakenOver: another client with our id came at the same time.
        """
        try:
            connection: Connection = await self._quick.connect()
        except SpeaksNoMqtt5 as refusal:
            connection = await self._fallback.connect()
            self._tell(refusal)
            return connection
        self._told = False
        return connection

    def _tell(self, refusal: SpeaksNoMqtt5) -> None:
        if not self._told:
            log.warning("%s. Using MQTT 3.1.1, by aiomqtt, instead", refusal)
        self._told = True
