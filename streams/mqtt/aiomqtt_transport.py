"""The MQTT transport on aiomqtt: MQTT 5, or 3.1.1 where the broker speaks no 5; TCP, TLS and WebSockets.

Between the broker and `streams.ingress.flow`. What it adds to aiomqtt is in
``streams/mqtt/paho_client.py``, a connection in ``streams/mqtt/aiomqtt_connection.py``.
"""

import socket
from contextlib import ExitStack
from typing import Any

import aiomqtt
from paho.mqtt.packettypes import PacketTypes
from paho.mqtt.properties import Properties

from streams.counters import Statistics
from streams.errors import Outage
from streams.mqtt.address import Address
from streams.mqtt.aiomqtt_connection import (
    ANSWER_TIMEOUT_S,
    V5,
    V311,
    AiomqttConnection,
    code_of,
    greeting_of,
)
from streams.mqtt.answers import NO_RETAIN, unreached
from streams.mqtt.greeting import Greeting
from streams.mqtt.inbox import LIMIT_PER_RECEIVE_MAXIMUM, Inbox
from streams.mqtt.options import aiomqtt_options
from streams.mqtt.paho_client import NoConnackError, PahoClient
from streams.mqtt.session_state import Announces, SessionState
from streams.mqtt.transport import OFFLINE, MqttSession
from streams.settings import Settings

UNSUPPORTED_PROTOCOL = 0x84  # MQTT 5, 3.2.2.2; paho gives it for the 0x01 of 3.1.1, too
PROBE_TIMEOUT_S = 5.0
"""How long a broker that was never heard speaking MQTT 5 has to answer in it: amqtt 0.12, for one, waits for
more of a CONNECT that it cannot read."""


class AiomqttTransport:
    """Connects to the broker of the settings.

    Args:
        settings: names the broker and the session.
        statistics: counts what is dropped.
        host_name: stands for `worker_id` where that is not set.
        try_v5: begin in MQTT 5; False where the broker is known to speak none.
        standing: what is known of the broker, where another transport shares it.
    """

    def __init__(
        self,
        settings: Settings,
        statistics: Statistics,
        host_name: str | None = None,
        *,
        try_v5: bool = True,
        standing: SessionState | None = None,
    ) -> None:
        self._settings = settings
        self._statistics = statistics
        self._address = Address.of(settings)
        self._session = MqttSession.of(settings, host_name or socket.gethostname())
        self._standing = standing or SessionState(self._session, statistics)
        self._try_v5 = try_v5
        self._speaks_v5 = False

    async def connect(self) -> "AiomqttConnection":
        """Connect.

        Raises:
            Outage: the broker is not reached, refuses us, or offers less than we need.
            SessionTakenOver: another client with our id came at the same time.
        """
        try:
            return await self._connect_as_it_speaks()
        except aiomqtt.MqttError as error:
            # Asked again without it at once: a status that is not retained is better than no connection.
            if code_of(error) == NO_RETAIN and self._standing.retains_will:
                self._standing.refuse_retain("it has no retained messages")
                return await self.connect()
            raise Outage("mqtt", f"{self._address}: {unreached(error, self._address)}") from error

    async def _connect_as_it_speaks(self) -> "AiomqttConnection":
        if not self._try_v5:
            return await self._connect(V311)
        try:
            connection = await self._connect(V5)
        except aiomqtt.MqttError as error:
            if not self._wants_an_older_version(error):
                raise
        else:
            self._speaks_v5 = True
            return connection
        return await self._connect(V311)

    def _wants_an_older_version(self, error: aiomqtt.MqttError) -> bool:
        """Tell whether a CONNECT of version 5 failed for its version; some brokers have no word for that.

        From a broker that has spoken version 5 before, silence and a close mean that it is in trouble: a
        connection without Receive Maximum would be a poor answer.
        """
        wordless = isinstance(error, NoConnackError) and not self._speaks_v5
        return wordless or code_of(error) == UNSUPPORTED_PROTOCOL

    async def _connect(self, version: aiomqtt.ProtocolVersion) -> "AiomqttConnection":
        settings = self._settings
        inbox = Inbox(LIMIT_PER_RECEIVE_MAXIMUM * settings.mqtt_receive_maximum, self._statistics)
        client = PahoClient(inbox, self._standing, **self._options(version))
        with ExitStack() as unless_let_in:
            unless_let_in.callback(client.cut)
            try:
                await client.open()
            except NoConnackError:
                self._standing.connect_unanswered()
                raise
            greeting = self._greeting(client)
            unless_let_in.pop_all()
        return AiomqttConnection(
            client,
            inbox,
            self._session,
            greeting=greeting,
            standing=self._standing,
            address=self._address,
            version=version,
        )

    def _greeting(self, client: PahoClient) -> Greeting:
        """Look on which terms we are let in.

        Raises:
            Outage: not on ours.
        """
        greeting = greeting_of(client)
        self._standing.let_in(retains=greeting.retains)
        if obstacle := greeting.obstacle(self._session):
            raise Outage("mqtt", f"{self._address}: {obstacle}")
        if brief := greeting.brief_session(self._settings.mqtt_session_expiry_s):
            self._standing.tell_once(brief)
        return greeting

    def _options(self, version: aiomqtt.ProtocolVersion) -> dict[str, Any]:
        """Return the options of `aiomqtt.Client`; it is asked for a session that outlives the connection."""
        settings = self._settings
        will = aiomqtt.Will(self._session.status_topic, OFFLINE, qos=1, retain=self._standing.retains_will)
        options: dict[str, Any] = {
            **aiomqtt_options(self._address),
            "identifier": self._session.client_id,
            "protocol": version,
            "keepalive": settings.mqtt_keepalive_s,
            "timeout": PROBE_TIMEOUT_S if version is V5 and not self._speaks_v5 else ANSWER_TIMEOUT_S,
            "will": None if self._standing.announces is Announces.NOT else will,
        }
        if version is V5:
            return options | {"clean_start": False, "properties": self._connect_properties()}
        return options | {"clean_session": False}

    def _connect_properties(self) -> Properties:
        properties = Properties(PacketTypes.CONNECT)  # type: ignore[no-untyped-call]
        properties.SessionExpiryInterval = self._settings.mqtt_session_expiry_s
        properties.ReceiveMaximum = self._settings.mqtt_receive_maximum
        return properties
