"""One connection's bytes, to and from: MQTT 5 (OASIS, 7 March 2019) on asyncio and the codec mqtt5.

Between the event loop and ``streams/mqtt/mqtt5_transport.py``. What a read has brought is taken apart at once
and put into the `Inbox` as a whole, so that a message costs no task, no future and no call of the event loop.
"""

import asyncio
import os
import socket
import time
from collections.abc import Callable, Sequence
from typing import Any, TypeAlias, TypeVar, cast

import mqtt5

from streams.errors import ConnectionLost, MetricStreamsError, SessionTakenOver, SpeaksNoMqtt5
from streams.mqtt.answers import NoAnswerError, answered
from streams.mqtt.inbox import Inbox
from streams.mqtt.packets import (
    PUBLISH_TYPE,
    LaxDisconnect,
    MalformedPacketError,
    OlderProtocolError,
    Readable,
    read_laxly,
    size_of,
    worded,
)
from streams.mqtt.session_state import SessionState
from streams.mqtt.transport import PUBACK, PUBREC, Publication, Token, packet_id_of, packets_of
from streams.tls import MQTT, tls_fault

T = TypeVar("T")
Read: TypeAlias = Callable[[memoryview], tuple[Any, int]]

TOPIC_ALIASES = 0
"""So many topics the broker may name by a number instead (MQTT 5, 3.1.2.11.5). An alias ends with its
connection, but what mochi-mqtt 2.7.9, for one, sends again on the next one has the alias of the last."""
PINGS_PER_KEEPALIVE = 2
RETAIN_FLAG = 0x01  # MQTT 5, 3.3.1.3
DUP_BIT = 0x08  # MQTT 5, 3.3.1.1
TAKEN_OVER = 0x8E  # MQTT 5, 3.14.2.1
QUICKACK: int | None = getattr(socket, "TCP_QUICKACK", None)
"""Linux's alone (tcp(7))."""
PINGREQ = mqtt5.PingReqPacket().write()
MALFORMED = mqtt5.DisconnectPacket(reason_code=mqtt5.DisconnectReasonCode.MALFORMED_PACKET).write()
ANSWERS = (mqtt5.ConnAckPacket, mqtt5.SubAckPacket, mqtt5.UnsubAckPacket, mqtt5.PubAckPacket)
__all__ = ["Mqtt5Protocol", "NoAnswerError"]


class Mqtt5Protocol(asyncio.Protocol):
    """Takes packets apart, answers those that want no decision, and keeps the connection alive.

    Args:
        inbox: takes what arrives.
        read: takes a packet off the bytes; the codec, or what notes something beside it.
        standing: what is handed on from one connection to the next. Among it are the packet ids at QoS 2 for
            which a PUBREC was sent and no PUBREL has come, the session's state (MQTT 5, 4.1).

    Attributes:
        ended: done when the connection is over; says why.
        last_acknowledged: the packet id of the broker's that was acknowledged last, 0 before the first.
        subscription_ids: those of the last message of the last read (MQTT 5, 3.3.2.3.8).
    """

    def __init__(self, inbox: Inbox, standing: SessionState, read: Read = mqtt5.read) -> None:
        self.ended: asyncio.Future[MetricStreamsError] = asyncio.get_running_loop().create_future()
        self._inbox = inbox
        self._codec = read
        self.last_acknowledged = 0
        self.subscription_ids: list[int] = []
        self._standing = standing
        self._released = standing.released
        self._retain_bit = RETAIN_FLAG
        self._unacknowledged_qos2: set[int] = set()
        self._transport: asyncio.Transport | None = None
        self._socket: socket.socket | None = None
        self._rest = bytearray()
        """The beginning of a packet whose end has not come yet."""
        self._rest_size = 0
        """How many bytes that packet has, 0 while its length is not known."""
        self._aliases: dict[int, str] = {}
        self._answers: dict[type, asyncio.Future[Any]] = {}
        self._is_choked = self._is_paused = self._is_leaving = False
        self._is_pinged = self._was_heard = False
        self._ticking: asyncio.TimerHandle | None = None

    # --- What the connection asks of us

    async def ask(
        self, packet: bytes, answer_type: type[T], timeout_s: float, *, behind_messages: bool = False
    ) -> T:
        """Send a packet and wait for the one that answers it; one of a type is waited for at a time.

        Args:
            packet: to send.
            answer_type: of the one that answers it.
            timeout_s: how long to wait.
            behind_messages: not to count the time while messages come (`streams.mqtt.answers.answered`).

        Raises:
            MetricStreamsError: the connection has ended; this is why.
            NoAnswerError: nothing came in time.
        """
        answer: asyncio.Future[T] = asyncio.get_running_loop().create_future()
        self._answers[answer_type] = answer
        self.send(packet)
        inbox = self._inbox if behind_messages else None
        return await answered(answer, self.ended, timeout_s, _name(answer_type), inbox)

    def send(self, data: bytes) -> None:
        """Write to the broker; does nothing once the connection is over."""
        if self._transport is not None and not self._transport.is_closing():
            self._transport.write(data)

    def acknowledge(self, tokens: Sequence[Token]) -> None:
        """Send acknowledgements, in the order given, in one write."""
        if self._unacknowledged_qos2:
            # From its PUBREC on an id belongs to the session, until its PUBREL comes (MQTT 5, 4.3.3): it
            # outlives the connection.
            recorded = {packet_id_of(token) for token in tokens if token & PUBREC == PUBREC}
            self._unacknowledged_qos2 -= recorded
            self._released |= recorded
        if tokens:
            self.last_acknowledged = packet_id_of(tokens[-1])
        self.send(packets_of(tokens))

    def keep_alive(self, keepalive_s: float) -> None:
        """Ping from now on, and take a broker for lost that answers nothing for half of this time."""
        self._tick_later(keepalive_s / PINGS_PER_KEEPALIVE)

    def look_at_the_inbox(self) -> None:
        """Read on, or no further, as the inbox has room and the broker takes what we write.

        What is not read is left to TCP. A full inbox needs that where the broker does not keep to the Receive
        Maximum. Where it takes nothing itself, all that is read would only add to what waits to be written.
        """
        wanted = not self._is_leaving and (self._inbox.is_full or self._is_choked)
        if wanted is self._is_paused or self._transport is None or self._transport.is_closing():
            return
        self._is_paused = wanted
        if wanted:
            self._transport.pause_reading()
        else:
            self._was_heard = True  # An answer may be among what was not read; the time for it begins anew.
            self._transport.resume_reading()

    def leave(self) -> None:
        """From now on read whatever comes, for the answers in it, and take no more messages."""
        self._is_leaving = True
        self.look_at_the_inbox()

    def close(self, reason: MetricStreamsError) -> None:
        """Close in good order: what was written is sent first."""
        self._end(reason)
        if self._transport is not None:
            self._transport.close()

    def cut(self, reason: MetricStreamsError) -> None:
        """Close at once, without a DISCONNECT, so that the broker publishes the will."""
        # First, so that `connection_lost` does not call it a close from afar.
        self._end(reason)
        if self._transport is not None and not self._transport.is_closing():
            self._transport.abort()

    # --- What the event loop tells

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Keep the transport."""
        self._transport = cast("asyncio.Transport", transport)
        if QUICKACK is not None and transport.get_extra_info("socket") is not None:
            # A duplicate: the loop's own stand-in makes a socket anew for each option that is set.
            self._socket = socket.socket(fileno=os.dup(transport.get_extra_info("socket").fileno()))
        # Given up while TCP, or TLS, was still connecting.
        if self.ended.done():
            self._transport.abort()

    def connection_lost(self, exc: Exception | None) -> None:
        """Note the end."""
        if self._socket is not None:
            self._socket.close()
            self._socket = None
        if exc is None or isinstance(exc, ConnectionError):
            self._end(ConnectionLost("the connection was closed from afar, without a reason", wordless=True))
        else:
            self._end(ConnectionLost(f"the connection broke: {tls_fault(exc, MQTT) or repr(exc)}"))

    def pause_writing(self) -> None:
        """Read no further until the broker has taken what waits to be written."""
        self._is_choked = True
        self.look_at_the_inbox()

    def resume_writing(self) -> None:
        """Read on."""
        self._is_choked = False
        self.look_at_the_inbox()

    def data_received(self, data: bytes) -> None:
        """Take apart what a read has brought."""
        if self.ended.done():
            return
        self._was_heard = True
        self._confirm_at_once()
        if self._rest:
            self._rest += data
            # A large packet comes in many reads: to parse it anew with each would cost the square of its
            # size.
            if len(self._rest) < self._rest_size:
                return
            data = bytes(self._rest)
        arrived: list[Publication] = []
        try:
            rest = self._read(data, arrived)
        except (MalformedPacketError, OlderProtocolError) as error:
            self._refuse(error)
            return
        self._rest[:] = rest
        self._rest_size = size_of(rest) if rest else 0
        if arrived and not self._is_leaving:
            self._inbox.put_all(arrived, len(data) - len(rest))
            self.look_at_the_inbox()

    def _confirm_at_once(self) -> None:
        """Let TCP confirm what has come, for which it else waits up to 40 ms to have something to send along.

        A broker that gathers small packets (Nagle's algorithm) holds the next one back until then. Gathered,
        they cost Mosquitto a quarter less, and at 1,000 messages a second half of them wait 17 ms, not 27.
        The kernel forgets this after a while, so it is told again with each read.
        """
        if self._socket is not None and QUICKACK is not None:
            self._socket.setsockopt(socket.IPPROTO_TCP, QUICKACK, 1)

    # --- Packets

    def _read(self, data: bytes, arrived: list[Publication]) -> memoryview:
        """Read packets; append messages; return what is left of a packet whose end has not come yet.

        The loop is flat because a message costs most here: 0.9 µs of some 3 in all, half of it in the codec.

        Raises:
            MalformedPacketError, OlderProtocolError: the bytes are not MQTT 5.
        """
        view, at, end = memoryview(data), 0, len(data)
        read, now_ns, retain_bit = self._codec, time.time_ns(), self._retain_bit
        unreadable = self._standing.unreadable if self._standing.lenient else None
        packet: Any = None  # A cast to the packet's class, once its type is known, would be a call.
        while at < end:
            try:
                packet, size = read(view[at:])
            except BaseException as refusal:  # noqa: BLE001 - a panic is none of Exception; others are raised again
                found = read_laxly(view[at:], refusal, unreadable)
                if found is None:
                    break
                packet, size = found
            first = data[at]
            at += size
            if first >> 4 == PUBLISH_TYPE:
                # Whoever reads the QoS from the codec gets an enum, which is slower than the bits.
                qos, packet_id, topic = first >> 1 & 3, packet.packet_id, packet.topic
                if packet.topic_alias is not None:
                    topic = self._aliased(topic, packet.topic_alias, packet.payload)
                token: Token | None
                if packet_id is None:
                    token = None
                elif qos == 1:
                    token = PUBACK | packet_id
                elif self._is_new(packet_id):
                    token = PUBREC | packet_id
                else:
                    continue
                retained, again = bool(first & retain_bit), bool(first & DUP_BIT)
                arrived.append(Publication(topic, packet.payload, now_ns, qos, token, retained, again))
            else:
                self._on_other(packet)
                # The CONNACK may have come in the same read as the first messages.
                retain_bit = self._retain_bit
        self.subscription_ids = getattr(packet, "subscription_ids", self.subscription_ids)
        return view[at:]

    def _aliased(self, topic: str, alias: int, payload: bytes) -> str:
        """Return the topic that an alias stands for, or note it (MQTT 5, 3.3.2.3.4)."""
        if topic:
            self._aliases[alias] = topic
        elif alias not in self._aliases:
            why = f"topic alias {alias}, which stands for nothing"
            if not self._standing.lenient:
                raise MalformedPacketError(why)
            self._standing.unreadable(payload, why)
            return ""
        return self._aliases[alias]

    def _is_new(self, packet_id: int) -> bool:
        """Tell whether a message at QoS 2 is none that the broker sends again (MQTT 5, 4.3.3)."""
        if packet_id in self._released:
            # Its PUBREC was lost with a connection, and the message was carried then.
            self.send(packets_of([PUBREC | packet_id]))
            return False
        if packet_id in self._unacknowledged_qos2:
            return False
        self._unacknowledged_qos2.add(packet_id)
        return True

    def _on_other(self, packet: Readable) -> None:
        """Take a packet that is no PUBLISH."""
        if isinstance(packet, ANSWERS):
            if isinstance(packet, mqtt5.ConnAckPacket) and packet.session_present:
                self._retain_bit = 0  # see `Publication.retained`
            # An answer that comes when nobody waits any more is passed over: its question has timed out.
            answer = self._answers.pop(type(packet), None)
            if answer is not None and not answer.done():
                answer.set_result(packet)
        elif isinstance(packet, mqtt5.PubRelPacket):
            self._on_pubrel(packet.packet_id)
        elif isinstance(packet, mqtt5.DisconnectPacket | LaxDisconnect):
            self.cut(_reason_of(packet))
        elif not isinstance(packet, mqtt5.PingRespPacket):
            raise MalformedPacketError(f"a {type(packet).__name__}, which a broker does not send")

    def _on_pubrel(self, packet_id: int) -> None:
        known = packet_id in self._released
        self._released.discard(packet_id)
        codes = mqtt5.PubCompReasonCode
        # Answered in any case, since the broker sends a PUBREL until it has the PUBCOMP (MQTT 5, 4.4).
        code = codes.SUCCESS if known else codes.PACKET_ID_NOT_FOUND
        self.send(mqtt5.PubCompPacket(packet_id, reason_code=code).write())

    # --- The end

    def _refuse(self, error: MalformedPacketError | OlderProtocolError) -> None:
        if isinstance(error, OlderProtocolError):
            self.cut(SpeaksNoMqtt5(str(error)))
            return
        # From the next connection on: there it may be readable, and if not, it is carried as it is.
        self._standing.lenient = True
        self.send(MALFORMED)
        self.cut(ConnectionLost(f"the broker sent what is not MQTT 5: {error}"))

    def _tick_later(self, interval_s: float) -> None:
        if not self.ended.done():
            self._ticking = asyncio.get_running_loop().call_later(interval_s, self._tick, interval_s)

    def _tick(self, interval_s: float) -> None:
        """Ping; the last ping must have been answered, unless a full inbox keeps us from reading it."""
        if self._is_pinged and not self._was_heard and not self._inbox.is_full:
            self.cut(ConnectionLost("the broker does not answer pings"))
            return
        # Anything that comes counts as an answer: behind many messages a PINGRESP comes late.
        self._is_pinged, self._was_heard = True, False
        self.send(PINGREQ)
        self._tick_later(interval_s)

    def _end(self, reason: MetricStreamsError) -> None:
        if self._ticking is not None:
            self._ticking.cancel()
        if not self.ended.done():
            self.ended.set_result(reason)


def _reason_of(packet: mqtt5.DisconnectPacket | LaxDisconnect) -> MetricStreamsError:
    if packet.reason_code == TAKEN_OVER:
        return SessionTakenOver("the broker says that another client has connected with our client id")
    told = f" ({packet.reason_str})" if packet.reason_str else ""
    return ConnectionLost(f"the broker closed the connection: {worded(packet.reason_code)}{told}")


def _name(packet_type: type) -> str:
    """Return a packet's name as the specification has it, such as SUBACK."""
    return packet_type.__name__.removesuffix("Packet").upper()
