"""The MQTT transport on aiomqtt: MQTT 5, or 3.1.1 where the broker speaks no 5; TCP, TLS and WebSockets.

Between the broker and the carrier (``streams/mqtt/carrier.py``). What it adds to aiomqtt is in
``streams/mqtt/paho_client.py``.
"""

import asyncio
import contextlib
import socket
import ssl
from collections.abc import Coroutine, Sequence
from typing import Any, TypeVar

import aiomqtt
from paho.mqtt.packettypes import PacketTypes
from paho.mqtt.properties import Properties
from paho.mqtt.reasoncodes import ReasonCode
from paho.mqtt.subscribeoptions import SubscribeOptions

from streams.errors import ConnectionLost, MetricStreamsError, Outage, SessionTakenOver, worded
from streams.mqtt.address import Address
from streams.mqtt.inbox import LIMIT_PER_RECEIVE_MAXIMUM, Inbox
from streams.mqtt.paho_client import NoConnackError, PahoClient
from streams.mqtt.transport import OFFLINE, ONLINE, Publication, Session, Token
from streams.settings import Settings
from streams.statistics import Statistics

T = TypeVar("T")

V5, V311 = aiomqtt.ProtocolVersion.V5, aiomqtt.ProtocolVersion.V311
PROTOCOLS = {V5: "5", V311: "3.1.1"}
TAKEN_OVER = 0x8E  # MQTT 5, 3.14.2.1
UNSUPPORTED_PROTOCOL = 0x84  # MQTT 5, 3.2.2.2; paho gives it for the 0x01 of 3.1.1, too
GRANTED_QOS_1 = 1  # MQTT 5 and 3.1.1, 3.9.3
KEEPALIVE_TIMEOUT = 0x8D  # paho's own, where no PINGRESP came
UNSPECIFIED = 0x80  # paho's own, where the connection just broke
ANSWER_TIMEOUT_S = 10.0
PROBE_TIMEOUT_S = 5.0
"""How long a broker that was never heard speaking MQTT 5 has to answer in it: amqtt 0.12, for one, waits for
more of a CONNECT that it cannot read."""
LEAVE_TIMEOUT_S = 3.0


class AiomqttTransport:
    """Connects to the broker of the settings.

    Args:
        settings: names the broker and the session.
        statistics: counts what is dropped.
        host_name: stands for `worker_id` where that is not set.
        try_v5: begin in MQTT 5; False where the broker is known to speak none.
    """

    def __init__(
        self,
        settings: Settings,
        statistics: Statistics,
        host_name: str | None = None,
        *,
        try_v5: bool = True,
    ) -> None:
        self._settings = settings
        self._statistics = statistics
        self._address = Address.parse(settings.mqtt_url.get_secret_value())
        self._session = Session.of(settings, host_name or socket.gethostname())
        self._try_v5 = try_v5
        self._speaks_v5 = False

    async def connect(self) -> "AiomqttConnection":
        """Connect, subscribe, and announce that we are online.

        Raises:
            Outage: the broker is not reached, refuses us, or does not grant what we need.
            SessionTakenOver: another client with our id came at the same time.
        """
        try:
            return await self._connect_as_it_speaks()
        except aiomqtt.MqttError as error:
            raise Outage("mqtt", f"{self._address}: {worded(error)}") from error

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
        return wordless or _code(error) == UNSUPPORTED_PROTOCOL

    async def _connect(self, version: aiomqtt.ProtocolVersion) -> "AiomqttConnection":
        settings = self._settings
        inbox = Inbox(LIMIT_PER_RECEIVE_MAXIMUM * settings.mqtt_receive_maximum, self._statistics)
        client = PahoClient(inbox, **self._options(version))
        connection = AiomqttConnection(client, inbox, self._session, version)
        try:
            await connection.open()
        except BaseException:
            client.cut()
            raise
        return connection

    def _options(self, version: aiomqtt.ProtocolVersion) -> dict[str, Any]:
        """Return the options of `aiomqtt.Client`; it is asked for a session that outlives the connection."""
        address, settings = self._address, self._settings
        options: dict[str, Any] = {
            "hostname": address.host,
            "port": address.port,
            "username": address.username,
            "password": address.password,
            "identifier": self._session.client_id,
            "protocol": version,
            "keepalive": settings.mqtt_keepalive_s,
            "timeout": PROBE_TIMEOUT_S if version is V5 and not self._speaks_v5 else ANSWER_TIMEOUT_S,
            "will": aiomqtt.Will(self._session.status_topic, OFFLINE, qos=1, retain=True),
            "tls_context": ssl.create_default_context() if address.tls else None,
        }
        if address.path:
            options |= {
                "transport": "websockets",
                "websocket_path": address.path,
                "websocket_headers": {"Host": address.host_header},
            }
        if version is V5:
            return options | {"clean_start": False, "properties": self._connect_properties()}
        return options | {"clean_session": False}

    def _connect_properties(self) -> Properties:
        properties = Properties(PacketTypes.CONNECT)  # type: ignore[no-untyped-call]
        properties.SessionExpiryInterval = self._settings.mqtt_session_expiry_s
        properties.ReceiveMaximum = self._settings.mqtt_receive_maximum
        return properties


class AiomqttConnection:
    """One connection (`streams.mqtt.transport.Connection`)."""

    def __init__(
        self, client: PahoClient, inbox: Inbox, session: Session, version: aiomqtt.ProtocolVersion
    ) -> None:
        self.protocol = PROTOCOLS[version]
        self.closed: asyncio.Future[MetricStreamsError] = asyncio.get_running_loop().create_future()
        self._client = client
        self._inbox = inbox
        self._session = session

    @property
    def session_present(self) -> bool:
        """Whether the broker had kept our session."""
        return self._client.session_present

    async def open(self) -> None:
        """Connect, subscribe and announce; called once, by the transport.

        Raises:
            aiomqtt.MqttError: the broker is not reached, refuses us, or does not grant what we need.
            ConnectionLost, SessionTakenOver: it let us in, but not for long.
        """
        await self._client.open()
        self._client.ended.add_done_callback(self._on_ended)
        await self._subscribe()
        await self._announce(ONLINE, ANSWER_TIMEOUT_S)

    async def receive(self, timeout_s: float | None) -> list[Publication]:
        """Take all that has arrived."""
        taken = await self._inbox.take(timeout_s)
        self._client.resume_reading()
        return taken

    def acknowledge(self, tokens: Sequence[Token]) -> None:
        """Send a PUBACK for each."""
        if not self.closed.done():
            self._client.acknowledge(tokens)

    def drop(self, reason: MetricStreamsError) -> None:
        """Cut the connection."""
        self._close(reason)
        self._client.cut()

    async def close(self) -> None:
        """Say that we are offline and take leave, if the broker still listens."""
        with contextlib.suppress(aiomqtt.MqttError, ConnectionLost, SessionTakenOver):
            await self._announce(OFFLINE, LEAVE_TIMEOUT_S)
            await self._client.__aexit__(None, None, None)
        self.drop(ConnectionLost("closed"))

    def waiting_qos0(self) -> int:
        """Count the messages at QoS 0 that were not taken."""
        return self._inbox.waiting_qos0()

    async def _subscribe(self) -> None:
        options: dict[str, Any] = {"qos": 1}
        if self.protocol == PROTOCOLS[V5]:
            options = {"options": SubscribeOptions(qos=1, retainHandling=SubscribeOptions.RETAIN_DO_NOT_SEND)}
        codes = await self._answered(self._client.subscribe(self._session.subscription, **options))
        if _code(codes[0]) != GRANTED_QOS_1:
            raise aiomqtt.MqttError(
                f"subscribing to {self._session.subscription} at QoS 1 was answered with {codes[0]}; "
                "check the broker's access control list"
            )

    async def _announce(self, status: bytes, timeout_s: float) -> None:
        topic = self._session.status_topic
        await self._answered(self._client.publish(topic, status, qos=1, retain=True, timeout=timeout_s))

    async def _answered(self, asking: Coroutine[Any, Any, T]) -> T:
        """Wait for the broker's answer, but not for one that cannot come any more, as aiomqtt does.

        Raises:
            MetricStreamsError: the connection has ended; this is why.
        """
        answer, ended = asyncio.ensure_future(asking), self._client.ended
        either: set[asyncio.Future[Any]] = {answer, ended}
        try:
            await asyncio.wait(either, return_when=asyncio.FIRST_COMPLETED)
            if answer.done() and not (answer.exception() and ended.done()):
                return answer.result()
            raise _reason(ended.result())
        finally:
            answer.cancel()

    def _on_ended(self, ended: "asyncio.Future[object]") -> None:
        self._close(_reason(ended.result()))

    def _close(self, reason: MetricStreamsError) -> None:
        if not self.closed.done():
            self.closed.set_result(reason)


def _reason(why: object) -> MetricStreamsError:
    """Translate what paho (a reason code) or aiomqtt (an exception) says of a connection's end."""
    code = _code(why)
    if code == TAKEN_OVER:
        return SessionTakenOver("the broker says that another client has connected with our client id")
    if code == KEEPALIVE_TIMEOUT:
        return ConnectionLost("the broker does not answer pings")
    if code == UNSPECIFIED:
        return ConnectionLost("the connection was closed from afar, without a reason", wordless=True)
    if code is not None:
        return ConnectionLost(f"the broker closed the connection: {why}")
    return ConnectionLost(f"the connection broke: {why!r}")


def _code(why: object) -> int | None:
    """Return the number of a reason code, or of the one that an exception carries."""
    code = getattr(why, "rc", why)
    return code.value if isinstance(code, ReasonCode) else None
