"""aiomqtt's client, bent where the guarantees of ingress need it. Read against aiomqtt 2.5.1 and paho 2.2.

Only ``streams/mqtt/aiomqtt_transport.py`` uses it.
"""

# ruff: noqa: SLF001 - aiomqtt and paho have no public way to what is bent here; each place says why

import asyncio
import time
from collections.abc import Sequence
from typing import Any

import aiomqtt
from paho.mqtt.client import PUBACK as PUBACK_TYPE
from paho.mqtt.client import Client as Paho
from paho.mqtt.client import ConnectFlags, DisconnectFlags, MQTTMessage
from paho.mqtt.enums import MQTTErrorCode
from paho.mqtt.properties import Properties
from paho.mqtt.reasoncodes import ReasonCode

from streams.mqtt.answers import CLOSED, own_id
from streams.mqtt.inbox import Inbox
from streams.mqtt.packets import packet_id_in
from streams.mqtt.session_state import SessionState
from streams.mqtt.transport import PUBACK, PUBCOMP, Publication, Token, packet_id_of, packets_of

PACKETS_AT_ONCE = 100
"""A bound, so that a flood does not keep the event loop from all else."""


class NoConnackError(aiomqtt.MqttError):
    """The broker closed the connection instead of answering the CONNECT, or said nothing at all."""


class PahoClient(aiomqtt.Client):
    """One connection with manual acknowledgements, whose end is always noticed and whose socket never leaks.

    Args:
        inbox: takes what arrives.
        standing: what is known of the broker from connections before.
        options: those of `aiomqtt.Client`.

    Attributes:
        ended: done when the connection is over; its result is what ended it.
        session_present: whether the broker had kept the session.
        connack: the properties of the CONNACK; None in MQTT 3.1.1.
        subscription_ids: those of the last message (MQTT 5, 3.3.2.3.8).
        unsubscribed: the reason codes of the last UNSUBACK; none in MQTT 3.1.1.
        puback: the reason code of the last PUBACK.
    """

    def __init__(self, inbox: Inbox, standing: SessionState, **options: Any) -> None:
        # queue_type is called to make the queue, of which aiomqtt uses put_nowait alone.
        super().__init__(**options, queue_type=lambda maxsize: inbox)  # type: ignore[arg-type]  # noqa: ARG005
        self.ended: asyncio.Future[object] = asyncio.get_running_loop().create_future()
        self.session_present = False
        self.connack: Properties | None = None
        self.subscription_ids: list[int] = []
        self.unsubscribed: list[ReasonCode] = []
        self.puback: ReasonCode | None = None
        self._last_acknowledged = 0
        self._inbox = inbox
        self._standing = standing
        self._is_cut = self._is_paused = False
        self._client.manual_ack_set(on=True)  # aiomqtt has no option for it
        self._client.loop_read = self._read  # type: ignore[assignment]  # which aiomqtt's reader calls
        # paho has no option for either.
        self._client._mid_generate = self._own_id  # type: ignore[method-assign]
        self._client._handle_publish = self._handle_publish  # type: ignore[method-assign]
        # paho hands a line to it for each packet, wanted or not. Why a connection ends is in `ended`.
        self._client.disable_logger()

    async def open(self) -> None:
        """Connect and wait for the CONNACK.

        Raises:
            aiomqtt.MqttError: the broker is not reached or refuses.
        """
        try:
            await self.__aenter__()
        except aiomqtt.MqttError as error:
            if isinstance(error.__context__, TimeoutError):  # how aiomqtt's own deadline shows
                raise NoConnackError("no answer to the CONNECT") from error
            raise
        # It may have replaced this future, and with it the news that the connection is over already.
        self._disconnected.add_done_callback(self._on_disconnected)

    def acknowledge(self, tokens: Sequence[Token]) -> None:
        """Queue acknowledgements, in the order given."""
        if tokens:
            self._last_acknowledged = packet_id_of(tokens[-1])
        # paho's ack() makes a write to the socket of each; TCP and WebSockets may carry many at once.
        self._client._packet_queue(PUBACK_TYPE, packets_of(tokens), 0, 1)

    def cut(self) -> None:
        """Close the socket without a DISCONNECT, which lets the broker publish the will."""
        self._is_cut = True
        # Not at once: what aiomqtt has scheduled before (add_reader, add_writer) would be done to a closed
        # socket, or to the next one that is given its number.
        self._loop.call_soon_threadsafe(self._close_socket)

    def resume_reading(self) -> None:
        """Read on, if reading was paused because the inbox was full."""
        sock = self._client.socket()
        if self._is_paused and sock is not None and self._misc_task is not None:
            self._is_paused = False
            self._misc_task.cancel()  # aiomqtt starts another, and makes the reader that we have removed
            self._on_socket_open(self._client, None, sock)

    def _pause_reading(self) -> None:
        """Leave what comes to TCP; if it lasts beyond the keepalive, pings are missed, and we reconnect."""
        sock = self._client.socket()
        if sock is not None:
            self._is_paused = True
            self._loop.remove_reader(sock.fileno())

    def _close_socket(self) -> None:
        self._client._sock_close()  # paho's disconnect() would send a DISCONNECT

    def _client_connect(self) -> None:
        """Connect, in a thread of its own that outlives a cancelled `open`."""
        # A cancellation ends who waits for the thread, not the thread: it may connect after the cut.
        super()._client_connect()
        if self._is_cut:
            self._loop.call_soon_threadsafe(self._close_socket)

    def _on_connect(
        self,
        client: Paho,
        userdata: Any,
        flags: ConnectFlags,
        reason_code: ReasonCode,
        properties: Properties | None = None,
    ) -> None:
        self.session_present, self.connack = flags.session_present, properties
        super()._on_connect(client, userdata, flags, reason_code, properties)

    def _on_disconnect(
        self,
        client: Paho,
        userdata: Any,
        flags: DisconnectFlags,
        reason_code: ReasonCode,
        properties: Properties | None = None,
    ) -> None:
        """Note the end also where aiomqtt forgets it: before, and just after, the CONNACK."""
        if not self._connected.done():
            # aiomqtt itself would wait for the CONNACK until its deadline, and then name a timeout.
            self._connected.set_exception(NoConnackError(CLOSED))
        super()._on_disconnect(client, userdata, flags, reason_code, properties)
        if self._disconnected.done():
            self._disconnected.exception()  # else asyncio complains where aiomqtt replaces the future
        self._end(reason_code)

    def _on_disconnected(self, disconnected: "asyncio.Future[None]") -> None:
        """Note an end that paho has not told: an exception in its reader or writer."""
        # It is cancelled where the connection was left in good order.
        if not disconnected.cancelled():
            self._end(disconnected.exception())

    def _end(self, why: object) -> None:
        if not self.ended.done():
            self.ended.set_result(why)

    def _on_message(self, client: Paho, userdata: Any, message: MQTTMessage) -> None:  # noqa: ARG002 - paho's
        """Take a message as it is.

        aiomqtt's own raises on a topic that is not UTF-8 or that holds a wildcard. That ends the connection,
        and once more with each redelivery.
        """
        self._inbox.put_nowait(
            Publication(
                topic=message._topic.decode("utf-8", "surrogateescape"),  # message.topic decodes strictly
                payload=bytes(message.payload),
                arrived_ns=time.time_ns(),
                qos=message.qos,
                token=_acknowledgement(message.mid, message.qos),
                retained=message.retain and not self.session_present,
                redelivered=bool(message.dup),
            )
        )
        self.subscription_ids = getattr(message.properties, "SubscriptionIdentifier", [])
        if message.qos and self._inbox.is_full:
            self._pause_reading()

    def _handle_publish(self) -> MQTTErrorCode:
        """Take a PUBLISH, also one of which paho makes no message, if a connection has ended on it before."""
        packet = self._client._in_packet
        try:
            code = Paho._handle_publish(self._client)
        except Exception as error:  # what struct and paho raise on malformed bytes is of many kinds
            if not self._standing.lenient:
                self._standing.lenient = True
                raise
            self._put_unreadable(packet["command"], bytes(packet["packet"]), repr(error))
            code = MQTTErrorCode.MQTT_ERR_SUCCESS
        return code

    def _put_unreadable(self, first: int, body: bytes, why: str) -> None:
        """Take a message without a topic, which no rule lets through, and the packet as its payload."""
        self._standing.unreadable(body, why)
        packet_id = packet_id_in(first, body)
        token = None if packet_id is None else PUBACK | packet_id
        self._inbox.put_nowait(Publication("", body, time.time_ns(), 0 if token is None else 1, token))

    def _own_id(self) -> int:
        """Return a packet id that the broker does not use itself."""
        self._client._last_mid = own_id(self._last_acknowledged)
        return self._client._last_mid

    def _on_unsubscribe(self, *arguments: Any) -> None:
        self.unsubscribed = arguments[3]
        super()._on_unsubscribe(*arguments)

    def _on_publish(self, *arguments: Any) -> None:
        self.puback = arguments[3]
        super()._on_publish(*arguments)

    def _read(self) -> MQTTErrorCode:
        """Read while each packet brings a message; aiomqtt would ask the event loop before each."""
        for _ in range(PACKETS_AT_ONCE):
            before = len(self._inbox)
            code = Paho.loop_read(self._client)
            # A read that brings no message has most likely emptied the socket; the event loop tells of the
            # next bytes.
            if len(self._inbox) == before or self._is_paused:
                break
        return code

    def _on_socket_register_write(self, client: Paho, userdata: Any, sock: Any) -> None:  # noqa: ARG002 - paho's
        """Watch for the socket to take more, unless it is closed by then; aiomqtt's own does not ask."""
        self._loop.call_soon_threadsafe(self._add_writer, sock)

    def _add_writer(self, sock: Any) -> None:
        current = self._client.socket()
        # Another one may have its file number by now, and the old one be closed.
        if current is not None and current is sock:
            self._loop.add_writer(current.fileno(), self._client.loop_write)


def _acknowledgement(packet_id: int, qos: int) -> Token | None:
    """Return a PUBACK, or the PUBCOMP that ends QoS 2: paho itself has sent the PUBREC."""
    return None if qos == 0 else packet_id | (PUBACK if qos == 1 else PUBCOMP)
