"""A device that sends bytes as they are, and is told what the broker answers; MQTT 5.

No library of clients sends a topic that is malformed, and none tells every reason code.
"""

import asyncio
import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import mqtt5

from tests.parts.accounts import Account, Entrance

CLOSED = "closed"
"""Told in place of an answer where the connection ends."""
NO_MQTT = "no mqtt"
"""Told in place of an answer that is none: a TLS alert, where TLS was not spoken."""
ACCEPTED = "connack 0x00"
TAKEN = ("puback 0x00", "puback 0x10")
"""The second: nobody is subscribed (MQTT 5, 3.4.2.1)."""
ANSWER_TYPES = {2, 4, 5, 9, 14}  # MQTT 5, 2.1.2: CONNACK, PUBACK, PUBREC, SUBACK and DISCONNECT
READ_BYTES = 65_536
_PUBLISH = 0x30
_NO_PROPERTIES = b"\0"


class RawDevice:
    """A connection, encrypted or not, on which nothing has been said yet."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader, self._writer = reader, writer
        self._rest = b""

    def send(self, packets: bytes) -> None:
        """Send bytes, without waiting for room: the broker may close the connection before all are out."""
        self._writer.write(packets)

    async def answers(self, count: int) -> list[str]:
        """Return so many answers, such as ``puback 0x87``; fewer, and `CLOSED`, where the connection ends."""
        found: list[str] = []
        while len(found) < count:
            try:
                data = await self._reader.read(READ_BYTES)
            except OSError:  # the broker had not read all when it closed
                data = b""
            if not data:
                return [*found, CLOSED]
            answers, self._rest = answers_in(self._rest + data)
            found += answers
        return found


@asynccontextmanager
async def raw_device(entrance: Entrance, *, encrypted: bool = True) -> AsyncIterator[RawDevice]:
    """Open a connection.

    Raises:
        OSError: it is not accepted.
    """
    context: ssl.SSLContext | None = entrance.context if encrypted else None
    reader, writer = await asyncio.open_connection(entrance.host, entrance.port, ssl=context)
    try:
        yield RawDevice(reader, writer)
    finally:
        writer.transport.abort()  # whatever is unsent: nobody says goodbye


def answers_in(data: bytes) -> tuple[list[str], bytes]:
    """Return the broker's answers, each by its packet and its reason code, and the bytes behind the last."""
    found: list[str] = []
    view = memoryview(data)
    while True:
        if view and view[0] >> 4 not in ANSWER_TYPES:  # which the codec need not survive
            return [*found, NO_MQTT], b""
        try:
            packet, size = mqtt5.read(view)
        except IndexError:  # the codec's word for a packet whose end is missing
            return found, bytes(view)
        code = packet.reason_codes[0] if isinstance(packet, mqtt5.SubAckPacket) else packet.reason_code  # type: ignore[union-attr] # no other comes
        found.append(f"{type(packet).__name__.removesuffix('Packet').lower()} 0x{int(code):02x}")
        view = view[size:]


# --- What it sends ------------------------------------------------------------------------------------------


def connect_packet(account: Account | None, client_id: str = "", will: mqtt5.Will | None = None) -> bytes:
    """Return a CONNECT with a clean start."""
    username, password = (account.username, account.password.encode()) if account else (None, None)
    packet = mqtt5.ConnectPacket(client_id, username=username, password=password, clean_start=True, will=will)
    return packet.write()


def publish_packet(
    topic: bytes, packet_id: int, payload: bytes = b'{"value": 666}', *, qos: int = 1, retain: bool = False
) -> bytes:
    """Return a PUBLISH with whatever stands for a topic (MQTT 5, 3.3)."""
    named = len(topic).to_bytes(2) + topic + packet_id.to_bytes(2) + _NO_PROPERTIES
    body = named + payload
    return bytes([_PUBLISH | qos << 1 | retain]) + remaining_length(len(body)) + body


def subscribe_packet(topic_filter: str, packet_id: int) -> bytes:
    """Return a SUBSCRIBE."""
    return mqtt5.SubscribePacket(packet_id, [mqtt5.TopicFilter(topic_filter)]).write()


def remaining_length(length: int) -> bytes:
    """Encode a length, seven bits a byte (MQTT 5, 1.5.5, and MQTT 3.1.1, 2.2.3)."""
    digits = []
    while True:
        length, digit = divmod(length, 128)
        digits.append(digit | (0x80 if length else 0))
        if not length:
            return bytes(digits)
