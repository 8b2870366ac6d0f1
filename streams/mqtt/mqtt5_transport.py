"""The MQTT transport of our own: MQTT 5 over TCP and TLS, at a seventh of what aiomqtt costs, or less.

Between the broker and the carrier (``streams/mqtt/carrier.py``). Bytes and packets are the business of
``streams/mqtt/mqtt5_protocol.py``; here is what a session needs: who we are, what we subscribe to, and what
we say of ourselves. For WebSockets and MQTT 3.1.1 there is ``streams/mqtt/aiomqtt_transport.py``.
"""

import asyncio
import contextlib
import logging
import os
import socket
import ssl
from collections.abc import Sequence

import mqtt5

from streams.errors import (
    ConnectionLost,
    MetricStreamsError,
    Outage,
    SessionTakenOver,
    SpeaksNoMqtt5,
    worded,
)
from streams.mqtt.address import Address
from streams.mqtt.inbox import LIMIT_PER_RECEIVE_MAXIMUM, Inbox
from streams.mqtt.mqtt5_protocol import TOPIC_ALIASES, Mqtt5Protocol, NoAnswerError
from streams.mqtt.packets import worded as code_worded
from streams.mqtt.transport import OFFLINE, ONLINE, Publication, Session, Token
from streams.settings import Settings
from streams.statistics import Statistics

log = logging.getLogger(__name__)

ANSWER_TIMEOUT_S = 10.0
PROBE_TIMEOUT_S = 5.0
"""How long a broker that was never heard speaking MQTT 5 has to answer in it: amqtt 0.12, for one, waits for
more of a CONNECT that it cannot read."""
LEAVE_TIMEOUT_S = 3.0
ONLY_PACKET_ID = 1
"""Of ours: what we ask is asked one after the other."""
GOODBYE = mqtt5.DisconnectPacket().write()


class Mqtt5Transport:
    """Connects to the broker of the settings.

    Args:
        settings: names the broker and the session.
        statistics: counts what is dropped.
        host_name: stands for `worker_id` where that is not set.
    """

    def __init__(self, settings: Settings, statistics: Statistics, host_name: str | None = None) -> None:
        self._settings = settings
        self._statistics = statistics
        self._address = Address.parse(settings.mqtt_url.get_secret_value())
        self._session = Session.of(settings, host_name or socket.gethostname())
        self._speaks_v5 = False
        self._released: set[int] = set()
        """What the session has at QoS 2 (`Mqtt5Protocol`)."""

    async def connect(self) -> "Mqtt5Connection":
        """Connect, subscribe, and announce that we are online.

        Raises:
            Outage: the broker is not reached, refuses us, or does not grant what we need.
            SpeaksNoMqtt5: it speaks no MQTT 5, or never did and gave no answer.
            SessionTakenOver: another client with our id came at the same time.
        """
        inbox = Inbox(LIMIT_PER_RECEIVE_MAXIMUM * self._settings.mqtt_receive_maximum, self._statistics)
        protocol = Mqtt5Protocol(inbox, self._released)
        try:
            await self._reach(protocol)
            greeting = await self._greet(protocol)
            connection = Mqtt5Connection(protocol, inbox, self._session, greeting)
            await connection.open()
        except BaseException as error:
            protocol.cut(ConnectionLost("given up while connecting"))
            if isinstance(error, _NotGrantedError | NoAnswerError):
                raise Outage("mqtt", f"{self._address}: {worded(error)}") from error
            raise
        return connection

    async def _reach(self, protocol: Mqtt5Protocol) -> None:
        address = self._address
        tls = ssl.create_default_context() if address.tls else None
        try:
            async with asyncio.timeout(ANSWER_TIMEOUT_S):
                await asyncio.get_running_loop().create_connection(
                    lambda: protocol, address.host, address.port, ssl=tls
                )
        except TimeoutError as error:
            raise Outage("mqtt", f"{address}: no answer in {ANSWER_TIMEOUT_S:g} s") from error
        except (OSError, UnicodeError) as error:  # the latter from a host that IDNA has no word for
            raise Outage("mqtt", f"{address}: {_worded(error)}") from error

    async def _greet(self, protocol: Mqtt5Protocol) -> mqtt5.ConnAckPacket:
        timeout_s = ANSWER_TIMEOUT_S if self._speaks_v5 else PROBE_TIMEOUT_S
        try:
            greeting = await protocol.ask(self._connect_packet(), mqtt5.ConnAckPacket, timeout_s)
        except NoAnswerError as error:
            raise self._unanswered("no answer to the CONNECT") from error
        except ConnectionLost as error:
            if not error.wordless:
                raise
            raise self._unanswered("the broker closed the connection without an answer") from error
        self._check(greeting)
        self._speaks_v5 = True
        if not greeting.session_present:
            self._released.clear()
        protocol.keep_alive(greeting.server_keep_alive or self._settings.mqtt_keepalive_s)
        return greeting

    def _unanswered(self, detail: str) -> Outage:
        """Take silence and a close for an older version, as some brokers have no other word for that.

        From a broker that has spoken version 5 before they mean that it is in trouble.
        """
        told = f"{self._address}: {detail}"
        return Outage("mqtt", told) if self._speaks_v5 else SpeaksNoMqtt5(told)

    def _check(self, greeting: mqtt5.ConnAckPacket) -> None:
        """Look whether we are let in, and on which terms.

        Raises:
            SpeaksNoMqtt5, Outage: we are not, or not on ours.
        """
        reason = greeting.reason_code
        told = f"{self._address}: {_refusal(greeting)}"
        if reason == mqtt5.ConnAckReasonCode.UNSUPPORTED_PROTOCOL_VERSION:
            raise SpeaksNoMqtt5(told)
        if reason != mqtt5.ConnAckReasonCode.SUCCESS:
            raise Outage("mqtt", told)
        if greeting.max_qos == mqtt5.QoS.AT_MOST_ONCE:
            raise Outage("mqtt", f"{self._address}: the broker offers QoS 0 alone, which may lose messages")
        kept_s = greeting.session_expiry_interval
        if kept_s is not None and kept_s < self._settings.mqtt_session_expiry_s:
            log.warning(
                "the MQTT broker keeps our session for %d s while we are away, not for the %d s of "
                "MQTT_SESSION_EXPIRY_S",
                kept_s,
                self._settings.mqtt_session_expiry_s,
            )

    def _connect_packet(self) -> bytes:
        """Return the CONNECT: it asks for a session that outlives the connection.

        No Maximum Packet Size is named: what is larger the broker would drop without a word (MQTT 5,
        3.1.2.11.4). It has a limit of its own, at which the device learns of it.
        """
        address, settings = self._address, self._settings
        will = mqtt5.Will(
            self._session.status_topic, payload=OFFLINE, qos=mqtt5.QoS.AT_LEAST_ONCE, retain=True
        )
        return mqtt5.ConnectPacket(
            self._session.client_id,
            username=address.username,
            password=None if address.password is None else address.password.encode(),
            clean_start=False,
            will=will,
            keep_alive=settings.mqtt_keepalive_s,
            session_expiry_interval=settings.mqtt_session_expiry_s,
            receive_max=settings.mqtt_receive_maximum,
            topic_alias_max=TOPIC_ALIASES,
        ).write()


class Mqtt5Connection:
    """One connection (`streams.mqtt.transport.Connection`)."""

    protocol = "5"

    def __init__(
        self, protocol: Mqtt5Protocol, inbox: Inbox, session: Session, greeting: mqtt5.ConnAckPacket
    ) -> None:
        self.closed: asyncio.Future[MetricStreamsError] = protocol.ended
        self.session_present = greeting.session_present
        self._protocol = protocol
        self._inbox = inbox
        self._session = session

    async def open(self) -> None:
        """Subscribe and announce; called once, by the transport.

        Raises:
            _NotGrantedError: the broker does not grant what we need.
            NoAnswerError: it said nothing.
            ConnectionLost, SessionTakenOver: it let us in, but not for long.
        """
        await self._subscribe()
        await self._announce(ONLINE, ANSWER_TIMEOUT_S)

    async def receive(self, timeout_s: float | None) -> list[Publication]:
        """Take all that has arrived."""
        taken = await self._inbox.take(timeout_s)
        self._protocol.look_at_the_inbox()
        return taken

    def acknowledge(self, tokens: Sequence[Token]) -> None:
        """Send a PUBACK for each, all in one write."""
        if not self.closed.done():
            self._protocol.acknowledge(tokens)

    def drop(self, reason: MetricStreamsError) -> None:
        """Cut the connection."""
        self._protocol.cut(reason)

    async def close(self) -> None:
        """Say that we are offline and take leave, if the broker still listens."""
        self._protocol.leave()
        with contextlib.suppress(NoAnswerError, _NotGrantedError, ConnectionLost, SessionTakenOver):
            await self._announce(OFFLINE, LEAVE_TIMEOUT_S)
            self._protocol.send(GOODBYE)
            self._protocol.close(ConnectionLost("closed"))
            return
        self.drop(ConnectionLost("closed"))

    def waiting_qos0(self) -> int:
        """Count the messages at QoS 0 that were not taken."""
        return self._inbox.waiting_qos0()

    async def _subscribe(self) -> None:
        topic_filter = mqtt5.TopicFilter(
            self._session.subscription,
            max_qos=mqtt5.QoS.AT_LEAST_ONCE,
            retain_as_published=False,
            retain_handling=mqtt5.RetainHandling.SEND_NEVER,
        )
        packet = mqtt5.SubscribePacket(ONLY_PACKET_ID, [topic_filter]).write()
        answer = await self._protocol.ask(packet, mqtt5.SubAckPacket, ANSWER_TIMEOUT_S)
        granted = answer.reason_codes[0]
        if granted != mqtt5.SubAckReasonCode.GRANTED_QOS_AT_LEAST_ONCE:
            raise _NotGrantedError(
                f"subscribing to {self._session.subscription} at QoS 1 was answered with "
                f"{code_worded(granted)}; check the broker's access control list"
            )

    async def _announce(self, status: bytes, timeout_s: float) -> None:
        packet = mqtt5.PublishPacket(
            self._session.status_topic,
            status,
            qos=mqtt5.QoS.AT_LEAST_ONCE,
            retain=True,
            packet_id=ONLY_PACKET_ID,
        ).write()
        await self._protocol.ask(packet, mqtt5.PubAckPacket, timeout_s)


class _NotGrantedError(Exception):
    """The broker does not grant what we need."""


def _refusal(greeting: mqtt5.ConnAckPacket) -> str:
    more = [text for text in (greeting.reason_str, greeting.server_reference) if text]
    return f"the broker refuses us: {' '.join([code_worded(greeting.reason_code), *more])}"


def _worded(error: OSError | UnicodeError) -> str:
    """Return what the system says of a refused connection, which asyncio calls a failed call alone."""
    if isinstance(error, ConnectionError) and error.errno:
        return os.strerror(error.errno)
    return worded(error)
