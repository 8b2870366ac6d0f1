"""The connection of a simulated device: publishes with many messages in flight, and tells what was refused.

Between ``streams/devices.py`` and a broker. On aiomqtt's client for connecting and the event loop, but below
its ``publish``, which makes a task of each call, walks through all pending ones for every new one, and does
not tell whether the broker refused. Read against aiomqtt 2.5.1 and paho-mqtt 2.2.
"""

import asyncio
import ssl
from types import TracebackType
from typing import Any, Self

import aiomqtt
from paho.mqtt.client import MQTT_ERR_SUCCESS
from paho.mqtt.properties import Properties
from paho.mqtt.reasoncodes import ReasonCode

from streams.errors import Outage
from streams.mqtt.address import Address

UNSUPPORTED_PROTOCOL = 0x84  # MQTT 5, 3.2.2.2; paho gives it for the 0x01 of 3.1.1, too
UNNAMED_RECEIVE_MAXIMUM = 65_535  # MQTT 5, 3.2.2.3.3: what holds where the broker names none
V5, V311 = aiomqtt.ProtocolVersion.V5, aiomqtt.ProtocolVersion.V311


class MqttPublisher:
    """A connection to a broker, in MQTT 5 where it speaks that and 3.1.1 where not.

    A context manager: entering connects, and raises `Outage` if the broker is not reached or refuses.

    Args:
        address: where the broker is.
        timeout_s: seconds for connecting and for taking leave.

    Attributes:
        in_flight_max: the broker's Receive Maximum: more may not wait for their acknowledgement.
    """

    def __init__(self, address: Address, *, timeout_s: float = 10.0) -> None:
        self.in_flight_max = UNNAMED_RECEIVE_MAXIMUM
        self._address = address
        self._timeout_s = timeout_s
        self._waiting: dict[int, asyncio.Future[bool]] = {}
        self._client: aiomqtt.Client | None = None

    async def __aenter__(self) -> Self:
        try:
            self._client = await self._connect()
        except aiomqtt.MqttError as error:
            raise Outage("mqtt", f"{self._address}: {error}") from error
        self._client._client.on_publish = self._on_publish
        self._client._disconnected.add_done_callback(self._on_disconnected)
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        client, self._client = self._client, None
        if client is not None:
            try:
                await client.__aexit__(kind, error, trace)
            except aiomqtt.MqttError as failure:
                raise Outage("mqtt", f"{self._address}: {failure}") from failure

    def publish(self, topic: str, payload: bytes, qos: int) -> "asyncio.Future[bool]":
        """Send a message.

        Returns:
            True once the broker has taken it (at QoS 0: once it is written), False if it refused it; raises
            `Outage` if the connection ends first.
        """
        answer: asyncio.Future[bool] = asyncio.get_running_loop().create_future()
        if self._client is None or self._client._disconnected.done():
            answer.set_exception(self._lost())
            return answer
        info = self._client._client.publish(topic, payload, qos)
        if info.rc != MQTT_ERR_SUCCESS:
            answer.set_exception(self._lost())
        elif info.is_published():
            answer.set_result(True)
        else:
            self._waiting[info.mid] = answer
        return answer

    async def _connect(self) -> aiomqtt.Client:
        try:
            return await self._new_client(V5).__aenter__()
        except aiomqtt.MqttCodeError as refusal:
            if getattr(refusal.rc, "value", None) != UNSUPPORTED_PROTOCOL:
                raise
        return await self._new_client(V311).__aenter__()

    def _new_client(self, version: aiomqtt.ProtocolVersion) -> aiomqtt.Client:
        address = self._address
        options: dict[str, Any] = {}
        if address.path:
            options = {
                "transport": "websockets",
                "websocket_path": address.path,
                "websocket_headers": {"Host": address.host_header},
            }
        client = aiomqtt.Client(
            address.host,
            address.port,
            username=address.username,
            password=address.password,
            protocol=version,
            tls_context=ssl.create_default_context() if address.tls else None,
            timeout=self._timeout_s,
            max_inflight_messages=UNNAMED_RECEIVE_MAXIMUM,  # the caller keeps the bound; paho would queue
            **options,
        )
        client._client.disable_logger()  # paho formats a line for each packet whether or not anyone listens
        self._read_limits(client)
        return client

    def _read_limits(self, client: aiomqtt.Client) -> None:
        """Note the broker's Receive Maximum; paho would exceed it, an error by MQTT 5, 3.3.4."""
        on_connect = client._on_connect

        def noting(
            paho: Any, userdata: Any, flags: Any, code: ReasonCode, properties: Properties | None
        ) -> None:
            self.in_flight_max = getattr(properties, "ReceiveMaximum", UNNAMED_RECEIVE_MAXIMUM)
            on_connect(paho, userdata, flags, code, properties)

        client._client.on_connect = noting

    def _on_publish(self, _paho: Any, _userdata: Any, mid: int, code: ReasonCode, _properties: Any) -> None:
        answer = self._waiting.pop(mid, None)
        if answer is not None and not answer.done():
            # 0x10, "no matching subscribers", is no failure: the broker has taken it.
            answer.set_result(not code.is_failure)

    def _on_disconnected(self, disconnected: "asyncio.Future[None]") -> None:
        if not disconnected.cancelled():
            disconnected.exception()  # asked for, or asyncio would complain that nobody did
        for answer in self._waiting.values():
            if not answer.done():
                answer.set_exception(self._lost())
        self._waiting.clear()

    def _lost(self) -> Outage:
        return Outage("mqtt", f"{self._address}: the connection is lost")
