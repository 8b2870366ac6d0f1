"""The MQTT transport of our own: MQTT 5 over TCP and TLS, at a seventh of what aiomqtt costs, or less.

Between the broker and `streams.ingress.flow`. Bytes and packets are the business of
``streams/mqtt/mqtt5_protocol.py``, a connection that of ``streams/mqtt/mqtt5_connection.py``; here is how one
is made. For WebSockets and MQTT 3.1.1 there is ``streams/mqtt/aiomqtt_transport.py``.
"""

import asyncio
import os
import socket
from contextlib import ExitStack

import mqtt5

from streams.counters import Statistics
from streams.errors import ConnectionLost, Outage, SpeaksNoMqtt5
from streams.mqtt.address import Address
from streams.mqtt.answers import CLOSED, NO_RETAIN, NoAnswerError, tls_hinted, unreached
from streams.mqtt.greeting import Greeting
from streams.mqtt.inbox import LIMIT_PER_RECEIVE_MAXIMUM, Inbox
from streams.mqtt.mqtt5_connection import ANSWER_TIMEOUT_S, Mqtt5Connection
from streams.mqtt.mqtt5_protocol import TOPIC_ALIASES, Mqtt5Protocol, Read
from streams.mqtt.packets import worded as code_worded
from streams.mqtt.session_state import Announces, SessionState
from streams.mqtt.transport import OFFLINE, MqttSession
from streams.settings import Settings

PROBE_TIMEOUT_S = 5.0
"""How long a broker that was never heard speaking MQTT 5 has to answer in it: amqtt 0.12, for one, waits for
more of a CONNECT that it cannot read."""


class Mqtt5Transport:
    """Connects to the broker of the settings.

    Args:
        settings: names the broker and the session.
        statistics: counts what is dropped.
        host_name: stands for `worker_id` where that is not set.
        standing: what is known of the broker, where another transport shares it.
        read: takes a packet off the bytes.
    """

    def __init__(
        self,
        settings: Settings,
        statistics: Statistics,
        host_name: str | None = None,
        standing: SessionState | None = None,
        read: Read = mqtt5.read,
    ) -> None:
        self._settings = settings
        self._statistics = statistics
        self._address = Address.of(settings)
        self._session = MqttSession.of(settings, host_name or socket.gethostname())
        self._standing = standing or SessionState(self._session, statistics)
        self._read = read
        self._speaks_v5 = False

    async def connect(self) -> "Mqtt5Connection":
        """Connect.

        Raises:
            Outage: the broker is not reached, refuses us, or offers less than we need.
            SpeaksNoMqtt5: it speaks no MQTT 5, or never did and gave no answer.
            SessionTakenOver: another client with our id came at the same time.
        """
        try:
            return await self._connect()
        except _RetainRefusedError:
            self._standing.refuse_retain("it has no retained messages")
            return await self._connect()

    async def _connect(self) -> Mqtt5Connection:
        inbox = Inbox(LIMIT_PER_RECEIVE_MAXIMUM * self._settings.mqtt_receive_maximum, self._statistics)
        protocol = Mqtt5Protocol(inbox, self._standing, self._read)
        with ExitStack() as unless_let_in:
            unless_let_in.callback(protocol.cut, ConnectionLost("given up while connecting"))
            await self._reach(protocol)
            greeting = await self._greet(protocol)
            unless_let_in.pop_all()
        return Mqtt5Connection(
            protocol,
            inbox,
            self._session,
            greeting=greeting,
            standing=self._standing,
            address=self._address,
        )

    async def _reach(self, protocol: Mqtt5Protocol) -> None:
        address = self._address
        try:
            async with asyncio.timeout(ANSWER_TIMEOUT_S):
                await asyncio.get_running_loop().create_connection(
                    lambda: protocol, address.host, address.port, ssl=address.tls_context()
                )
        except TimeoutError as error:
            raise Outage("mqtt", f"{address}: no answer in {ANSWER_TIMEOUT_S:g} s") from error
        except (OSError, UnicodeError) as error:  # the latter from a host that IDNA has no word for
            raise Outage("mqtt", f"{address}: {_worded(error, address)}") from error

    async def _greet(self, protocol: Mqtt5Protocol) -> Greeting:
        timeout_s = ANSWER_TIMEOUT_S if self._speaks_v5 else PROBE_TIMEOUT_S
        try:
            connack = await protocol.ask(self._connect_packet(), mqtt5.ConnAckPacket, timeout_s)
        except NoAnswerError as error:
            raise self._unanswered("no answer to the CONNECT") from error
        except ConnectionLost as error:
            if not error.wordless:
                raise
            self._standing.connect_unanswered()
            raise self._unanswered(tls_hinted(CLOSED, self._address)) from error
        greeting = self._check(connack)
        self._speaks_v5 = True
        self._standing.let_in(retains=greeting.retains)
        if not greeting.session_present:
            # They were the ids of a session that is gone (MQTT 5, 4.1).
            self._standing.released.clear()
        # The broker may set another one, which counts (MQTT 5, 3.2.2.3.14).
        protocol.keep_alive(connack.server_keep_alive or self._settings.mqtt_keepalive_s)
        return greeting

    def _unanswered(self, detail: str) -> Outage:
        """Take silence and a close for an older version, as some brokers have no other word for that.

        From a broker that has spoken version 5 before they mean that it is in trouble.
        """
        told = f"{self._address}: {detail}"
        return Outage("mqtt", told) if self._speaks_v5 else SpeaksNoMqtt5(told)

    def _check(self, connack: mqtt5.ConnAckPacket) -> Greeting:
        """Look whether we are let in, and on which terms.

        Raises:
            SpeaksNoMqtt5, Outage: we are not, or not on ours.
            _RetainRefusedError: not with a will that is retained.
        """
        reason = connack.reason_code
        told = f"{self._address}: {_refusal(connack)}"
        if reason == mqtt5.ConnAckReasonCode.UNSUPPORTED_PROTOCOL_VERSION:
            raise SpeaksNoMqtt5(told)
        if reason == NO_RETAIN and self._standing.retains_will:
            raise _RetainRefusedError
        if reason != mqtt5.ConnAckReasonCode.SUCCESS:
            raise Outage("mqtt", told)
        greeting = _greeting(connack)
        if obstacle := greeting.obstacle(self._session):
            raise Outage("mqtt", f"{self._address}: {obstacle}")
        if brief := greeting.brief_session(self._settings.mqtt_session_expiry_s):
            self._standing.tell_once(brief)
        return greeting

    def _connect_packet(self) -> bytes:
        """Return the CONNECT: it asks for a session that outlives the connection.

        No Maximum Packet Size is named: what is larger the broker would drop without a word (MQTT 5,
        3.1.2.11.4). It has a limit of its own, at which the device learns of it.
        """
        address, settings = self._address, self._settings
        will = mqtt5.Will(
            self._session.status_topic,
            payload=OFFLINE,
            qos=mqtt5.QoS.AT_LEAST_ONCE,
            retain=self._standing.retains_will,
        )
        return mqtt5.ConnectPacket(
            self._session.client_id,
            username=address.username,
            password=None if address.password is None else address.password.encode(),
            clean_start=False,
            will=None if self._standing.announces is Announces.NOT else will,
            keep_alive=settings.mqtt_keepalive_s,
            session_expiry_interval=settings.mqtt_session_expiry_s,
            receive_max=settings.mqtt_receive_maximum,
            topic_alias_max=TOPIC_ALIASES,
        ).write()


class _RetainRefusedError(Exception):
    """The broker does not take a will that is retained."""


def _greeting(connack: mqtt5.ConnAckPacket) -> Greeting:
    return Greeting(
        session_present=connack.session_present,
        max_qos=int(connack.max_qos),
        retains=connack.retain_available,
        wildcards=connack.wildcard_subscription_available,
        shares=connack.shared_subscription_available,
        subscription_ids=connack.subscription_id_available,
        session_expiry_s=connack.session_expiry_interval,
        max_packet_bytes=connack.max_packet_size,
    )


def _refusal(greeting: mqtt5.ConnAckPacket) -> str:
    more = [text for text in (greeting.reason_str, greeting.server_reference) if text]
    return f"the broker refuses us: {' '.join([code_worded(greeting.reason_code), *more])}"


def _worded(error: OSError | UnicodeError, address: Address) -> str:
    """Return what the system says of a refused connection, which asyncio calls a failed call alone."""
    if isinstance(error, ConnectionError) and error.errno:
        return tls_hinted(os.strerror(error.errno), address)
    return unreached(error, address)
