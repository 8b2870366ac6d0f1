"""An MQTT broker that says what a test tells it to: for what no real broker can be brought to say."""

import asyncio
import contextlib
from collections.abc import Callable
from dataclasses import dataclass, field
from types import TracebackType
from typing import Self

CONNECT, PUBLISH, PUBACK, SUBSCRIBE, UNSUBSCRIBE, PINGREQ, DISCONNECT = 1, 3, 4, 8, 10, 12, 14
V5 = 5


@dataclass
class ScriptedBroker:
    """A listener on 127.0.0.1 that answers each CONNECT, SUBSCRIBE and PUBLISH.

    Attributes:
        versions: the protocol levels (4 is 3.1.1, 5 is 5) that it speaks.
        session_present: what its CONNACK says of a session.
        refuses_wordlessly: to close, instead of a CONNACK, on another level.
        stays_silent: to say nothing at all on another level.
        suback: the reason code of each subscription.
        connack: the body of its CONNACK in MQTT 5.
        closes_at: a type of packet at which it closes instead of answering.
        sends_first: packets that it sends before it answers a SUBSCRIBE.
        sends_more: packets that it sends behind its CONNACK.
        puback: the reason code of its PUBACKs; None for the short form.
        closes_on: told a packet's first byte and body; returns whether to close instead of answering.
        silent_at: a type of packet that it does not answer.
        packets: what it received, as (type, body).
    """

    versions: tuple[int, ...] = (4, V5)
    session_present: bool = False
    refuses_wordlessly: bool = False
    stays_silent: bool = False
    suback: int = 1
    connack: bytes = b"\0\0\0"
    closes_at: int | None = None
    sends_first: list[bytes] = field(default_factory=list)
    sends_more: list[bytes] = field(default_factory=list)
    puback: int | None = None
    closes_on: Callable[[int, bytes], bool] | None = None
    silent_at: int | None = None
    packets: list[tuple[int, bytes]] = field(default_factory=list)
    _level: int = 0
    _writers: list[asyncio.StreamWriter] = field(default_factory=list)
    _server: asyncio.Server | None = None

    @property
    def url(self) -> str:
        """Where it listens."""
        assert self._server is not None
        return f"mqtt://127.0.0.1:{self._server.sockets[0].getsockname()[1]}"

    def of_type(self, kind: int) -> list[bytes]:
        """Return the bodies of the packets of one type."""
        return [body for type_, body in self.packets if type_ == kind]

    def send(self, first: int, body: bytes) -> None:
        """Send a packet to the client that connected last."""
        self._writers[-1].write(bytes([first]) + _length(len(body)) + body)

    def publish(self, topic: bytes, payload: bytes, packet_id: int) -> None:
        """Send a message at QoS 1, with a topic that need not be UTF-8."""
        properties = b"\0" if self._level == V5 else b""
        head = len(topic).to_bytes(2) + topic + packet_id.to_bytes(2)
        self.send(PUBLISH << 4 | 2, head + properties + payload)

    @property
    def unsent_bytes(self) -> int:
        """How much the client that connected last has not taken."""
        return self._writers[-1].transport.get_write_buffer_size()

    def hang_up(self) -> None:
        """Close the connection without a word."""
        self._writers[-1].close()

    async def __aenter__(self) -> Self:
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", 0)
        return self

    async def __aexit__(
        self,
        _type: type[BaseException] | None,
        _error: BaseException | None,
        _traceback: TracebackType | None,
    ) -> None:
        assert self._server is not None
        self._server.close()
        for writer in self._writers:
            writer.close()
            with contextlib.suppress(ConnectionError):
                await writer.wait_closed()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._writers.append(writer)
        with contextlib.suppress(asyncio.IncompleteReadError, ConnectionError):
            while True:
                (first,) = await reader.readexactly(1)
                body = await reader.readexactly(await _read_length(reader))
                self.packets.append((first >> 4, body))
                self._answer(first, body)

    def _answer(self, first: int, body: bytes) -> None:
        closes = self.closes_on is not None and self.closes_on(first, body)
        if first >> 4 == self.closes_at or closes:
            self.hang_up()
        elif first >> 4 == self.silent_at:
            return
        elif first >> 4 == CONNECT:
            self._answer_connect(body[6])
        elif first >> 4 == SUBSCRIBE:
            for packet in self.sends_first:
                self._writers[-1].write(packet)
            properties = b"\0" if self._level == V5 else b""
            self.send(0x90, body[:2] + properties + bytes([self.suback]))
        elif first >> 4 == PUBLISH:
            end = 2 + int.from_bytes(body[:2])
            code = b"" if self.puback is None else bytes([self.puback])
            self.send(PUBACK << 4, body[end : end + 2] + code)
        elif first >> 4 == UNSUBSCRIBE:
            self._answer_unsubscribe(body)

    def _answer_unsubscribe(self, body: bytes) -> None:
        """Answer that there was a subscription for each filter."""
        at, count = (3 if self._level == V5 else 2), 0
        while at < len(body):
            at, count = at + 2 + int.from_bytes(body[at : at + 2]), count + 1
        codes = b"\0" * (count + 1) if self._level == V5 else b""
        self.send(0xB0, body[:2] + codes)

    def _answer_connect(self, level: int) -> None:
        self._level = level
        if level in self.versions:
            present = b"\1" if self.session_present else b"\0"
            self.send(0x20, present + (self.connack[1:] if level == V5 else b"\0"))
            for packet in self.sends_more:
                self._writers[-1].write(packet)
        elif self.refuses_wordlessly:
            self.hang_up()
        elif self.stays_silent:
            return
        else:
            self.send(0x20, b"\0\x01")  # 3.1.1, 3.2.2.3: unacceptable protocol version


def _length(size: int) -> bytes:
    """Encode a variable byte integer (MQTT 5, 1.5.5)."""
    encoded = bytearray()
    while True:
        size, low = divmod(size, 128)
        encoded.append(low | (0x80 if size else 0))
        if not size:
            return bytes(encoded)


async def _read_length(reader: asyncio.StreamReader) -> int:
    size, shift = 0, 0
    while True:
        (byte,) = await reader.readexactly(1)
        size |= (byte & 0x7F) << shift
        shift += 7
        if byte < 0x80:
            return size
