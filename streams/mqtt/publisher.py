"""The connection of a simulated device: publishes with many messages in flight, and tells what was refused.

Between ``streams/demo/fleet.py`` and a broker. On aiomqtt's client for connecting and the event loop, but
below its ``publish``, which makes a task of each call, walks through all pending ones for every new one, and
does not tell whether the broker refused. Read against aiomqtt 2.5.1 and paho-mqtt 2.2.
"""

import asyncio
from collections.abc import Callable
from types import TracebackType
from typing import Any, Self

import aiomqtt
from paho.mqtt.client import MQTT_ERR_SUCCESS
from paho.mqtt.client import Client as Paho
from paho.mqtt.properties import Properties
from paho.mqtt.reasoncodes import ReasonCode

from streams.errors import Outage, worded
from streams.mqtt.address import Address
from streams.mqtt.answers import unreached
from streams.mqtt.options import aiomqtt_options

UNSUPPORTED_PROTOCOL = 0x84  # MQTT 5, 3.2.2.2; paho gives it for the 0x01 of 3.1.1, too
UNNAMED_RECEIVE_MAXIMUM = 65_535  # MQTT 5, 3.2.2.3.3: what holds where the broker names none
V5, V311 = aiomqtt.ProtocolVersion.V5, aiomqtt.ProtocolVersion.V311


class _Client(aiomqtt.Client):
    """aiomqtt's client, whose publications tell what the broker answered.

    Args:
        lost: makes the error for who waits when the connection ends.
        options: those of `aiomqtt.Client`.

    Attributes:
        receive_maximum: how many publications the broker takes before it has acknowledged the first.
    """

    def __init__(self, lost: Callable[[], Outage], **options: Any) -> None:
        # The caller keeps the broker's bound; beyond a bound of its own paho would queue.
        super().__init__(**options, max_inflight_messages=UNNAMED_RECEIVE_MAXIMUM)
        self.receive_maximum = UNNAMED_RECEIVE_MAXIMUM
        self._lost = lost
        self._is_lost = False
        self._waiting: dict[int, asyncio.Future[bool]] = {}
        self._client.disable_logger()  # paho formats a line for each packet whether or not anyone listens

    async def open(self) -> Self:
        """Connect, and return this client."""
        await self.__aenter__()
        # Here shows the end that paho does not tell: an exception in its reader or writer.
        self._disconnected.add_done_callback(lambda _: self._end())
        return self

    def send(self, topic: str, payload: bytes, qos: int) -> "asyncio.Future[bool]":
        """Send a message; the future tells whether the broker has taken it."""
        answer: asyncio.Future[bool] = self._loop.create_future()
        info = None if self._is_lost else self._client.publish(topic, payload, qos)
        # paho queues where it is not connected, and sends with the next connection, which there is none of
        # here.
        if info is None or info.rc != MQTT_ERR_SUCCESS:
            answer.set_exception(self._lost())
        elif info.is_published():
            answer.set_result(True)
        else:
            self._waiting[info.mid] = answer
        return answer

    def _end(self) -> None:
        self._is_lost = True
        if self._disconnected.done() and not self._disconnected.cancelled():
            self._disconnected.exception()  # asked for, or asyncio would complain that nobody did
        for answer in self._waiting.values():
            if not answer.done():
                answer.set_exception(self._lost())
        self._waiting.clear()

    def _on_connect(
        self, client: Paho, userdata: Any, flags: Any, reason_code: Any, properties: Properties | None = None
    ) -> None:
        """Note the broker's Receive Maximum; paho would exceed it, an error by MQTT 5, 3.3.4."""
        self.receive_maximum = getattr(properties, "ReceiveMaximum", UNNAMED_RECEIVE_MAXIMUM)
        super()._on_connect(client, userdata, flags, reason_code, properties)

    def _on_disconnect(self, *arguments: Any) -> None:
        super()._on_disconnect(*arguments)
        self._end()

    def _on_publish(self, _paho: Paho, _userdata: Any, mid: int, code: ReasonCode, _properties: Any) -> None:
        answer = self._waiting.pop(mid, None)
        if answer is not None and not answer.done():
            # 0x10, "no matching subscribers", is no failure: the broker has taken it.
            answer.set_result(not code.is_failure)

    def _on_socket_register_write(self, client: Paho, userdata: Any, sock: Any) -> None:  # noqa: ARG002 - paho's
        """Watch for the socket to take more, unless it is closed by then; aiomqtt's own does not ask."""
        self._loop.call_soon_threadsafe(self._add_writer, sock)

    def _add_writer(self, asked_for: Any) -> None:
        sock = self._client.socket()
        if sock is not None and sock is asked_for:
            self._loop.add_writer(sock.fileno(), self._client.loop_write)


class MqttPublisher:
    """A connection to a broker, in MQTT 5 where it speaks that and 3.1.1 where not.

    A context manager: entering connects, and raises `Outage` if the broker is not reached or refuses.

    Args:
        address: where the broker is.
        timeout_s: seconds for connecting and for disconnecting.

    Attributes:
        in_flight_max: the broker's Receive Maximum: more may not wait for their acknowledgement.
    """

    def __init__(self, address: Address, *, timeout_s: float = 10.0) -> None:
        self.in_flight_max = UNNAMED_RECEIVE_MAXIMUM
        self._address = address
        self._timeout_s = timeout_s
        self._client: _Client | None = None

    async def __aenter__(self) -> Self:
        try:
            self._client = await self._connect()
        except aiomqtt.MqttError as error:
            raise Outage("mqtt", f"{self._address}: {unreached(error, self._address)}") from error
        self.in_flight_max = self._client.receive_maximum
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        client, self._client = self._client, None
        if client is not None:
            try:
                await client.__aexit__(kind, error, trace)
            except aiomqtt.MqttError as failure:
                raise Outage("mqtt", f"{self._address}: {worded(failure)}") from failure

    def publish(self, topic: str, payload: bytes, qos: int) -> "asyncio.Future[bool]":
        """Send a message.

        Returns:
            True once the broker has taken it (at QoS 0: once it is written), False if it refused it; raises
            `Outage` if the connection ends first.
        """
        if self._client is None:
            raise RuntimeError("publish belongs into the publisher's with-block")
        return self._client.send(topic, payload, qos)

    async def _connect(self) -> _Client:
        try:
            return await self._new_client(V5).open()
        except aiomqtt.MqttCodeError as refusal:
            # Any other refusal would be the same in MQTT 3.1.1.
            if getattr(refusal.rc, "value", None) != UNSUPPORTED_PROTOCOL:
                raise
        return await self._new_client(V311).open()

    def _new_client(self, version: aiomqtt.ProtocolVersion) -> _Client:
        return _Client(
            self._lost,
            protocol=version,
            timeout=self._timeout_s,
            **aiomqtt_options(self._address),
        )

    def _lost(self) -> Outage:
        return Outage("mqtt", f"{self._address}: the connection is lost")
