"""MQTT 3.1.1 packets by the hundred: PUBLISH packets that are stamped in place, and PUBACKs that are counted.

A packet that is put together one at a time costs a microsecond or two in Python; a byte that is written into
256 packets of one size at once costs a nanosecond in each.
"""

import random
import struct
import time
from collections.abc import Iterator

from benchmarks.material import NO_NUMBER, Mix, Sample, sample
from tests.parts.raw_mqtt import remaining_length

BLOCK = 256
_CONNECT, _CONNACK, _PUBLISH_QOS_1, _PUBACK = 0x10, 0x20, 0x32, 0x40  # MQTT 3.1.1, 2.2.1
_CLEAN_SESSION, _USERNAME, _PASSWORD, _NO_KEEPALIVE = 0x02, 0x80, 0x40, 0  # 3.1.2.3
_IDS = 255  # a packet's id is the block's number within these, not 0, and the place in the block
_NO_TIME, _NO_BLOCK = "0000-00-00T00:00:00.000000Z", "00000000"
_RUNS = [bytes([byte]) * BLOCK for byte in range(256)]
PUBACK_BYTES = 4
CONNACK_BYTES = 4


def connect(client_id: str, *login: str) -> bytes:
    """Return a CONNECT of a client that wants no session and sends no pings (3.1).

    Args:
        client_id: who it is.
        login: user name and password, if the broker asks for them.
    """
    flags = _CLEAN_SESSION | (_USERNAME | _PASSWORD if login else 0)
    head = _text("MQTT") + struct.pack(">BBH", 4, flags, _NO_KEEPALIVE)
    return _packet(_CONNECT, head + b"".join(map(_text, (client_id, *login))))


def is_accepted(connack: bytes) -> bool:
    """Tell whether a CONNACK lets us in (3.2)."""
    return connack == bytes([_CONNACK, 2, 0, 0])


def publish(topic: str, payload: bytes, packet_id: int) -> bytes:
    """Return a PUBLISH at QoS 1 (3.3)."""
    return _packet(_PUBLISH_QOS_1, _text(topic) + struct.pack(">H", packet_id) + payload)


def rfc3339(unix_us: int) -> str:
    """Return a Unix time in microseconds as devices write it."""
    seconds, us = divmod(unix_us, 1_000_000)
    return time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(seconds)) + f".{us:06d}Z"


class Block:
    """256 packets of one connection. Sent again and again, with other numbers and other times.

    Args:
        mix: what they are; a copy has the same number and time as the packet before.
        connection: stands in each dedupe_id, as does `run`.
        run: keeps the ids of two runs apart.
    """

    def __init__(self, mix: Mix, connection: int, run: str = "0") -> None:
        chance = random.Random(connection)  # noqa: S311 - not for secrets
        self._name = f"{run}-{connection:02d}"
        self._plan = list(_plan(mix, chance))
        packets = [self._packet(place) for place in range(BLOCK)]
        self.size = len(packets[0])
        self._bytes = bytearray().join(packets)
        self._view = memoryview(self._bytes)
        first = packets[0]
        self._time_at, self._block_at = first.index(_NO_TIME.encode()), first.index(_NO_BLOCK.encode())
        self._id_at = first.index(b'{"value"') - 2
        self._numbered = -1

    def stamped(self, number: int, count: int, unix_us: int) -> memoryview:
        """Return the packets of the next publications, valid until this is called again.

        Args:
            number: how many publications of this connection came before.
            count: how many are wanted; one call's lie in one block.
            unix_us: the time of publication, Unix time in microseconds.
        """
        block, first = divmod(number, BLOCK)
        if block != self._numbered:
            self._numbered = block
            self._write(self._block_at, f"{block:08d}".encode(), 0, BLOCK)
            self._write(self._id_at, bytes([block % _IDS + 1]), 0, BLOCK)
        self._write(self._time_at, rfc3339(unix_us).encode(), first, count)
        return self._view[first * self.size : (first + count) * self.size]

    def rows(self, number: int, count: int) -> int:
        """Return how many rows must come of publications that were stamped together.

        A copy that was stamped apart from its original has another time, and is a correction.
        """
        first = number % BLOCK
        together = self._plan[first : first + count]
        return len({original for one, original in together if one.value != NO_NUMBER})

    def _write(self, at: int, text: bytes, first: int, count: int) -> None:
        """Write a text into packets, at the same place in each."""
        begin, end, size, packets = (
            first * self.size + at,
            (first + count) * self.size,
            self.size,
            self._bytes,
        )
        for place, byte in enumerate(text, begin):
            packets[place:end:size] = _RUNS[byte][:count]

    def _packet(self, place: int) -> bytes:
        one, original = self._plan[place]
        payload = one.payload(_NO_TIME, f"{self._name}-{_NO_BLOCK}-{original:03d}")
        return publish(one.topic, payload, place)


def _plan(mix: Mix, chance: random.Random) -> Iterator[tuple[Sample, int]]:
    """Yield each place's message, and the place that it copies, or its own."""
    one, original = sample(chance, mix), 0
    for place in range(BLOCK):
        if place and chance.random() >= mix.duplicates:
            one, original = sample(chance, mix), place
        yield one, original


class Pubacks:
    """Counts the PUBACKs in a stream of bytes; on a connection that only publishes nothing else comes."""

    def __init__(self) -> None:
        self.count = 0
        self._rest = b""

    def feed(self, data: bytes) -> None:
        """Take bytes as they came.

        Raises:
            ValueError: there is another packet among them.
        """
        data = self._rest + data
        whole = len(data) // PUBACK_BYTES
        end = whole * PUBACK_BYTES
        # Fixed header and length (3.4), looked at in all packets at once; two bytes of id follow.
        if data[0:end:PUBACK_BYTES].count(_PUBACK) != whole or data[1:end:PUBACK_BYTES].count(2) != whole:
            raise ValueError(f"not PUBACKs alone: {data[:16].hex()}")
        self.count += whole
        self._rest = data[end:]


def _text(text: str) -> bytes:
    encoded = text.encode()
    return struct.pack(">H", len(encoded)) + encoded


def _packet(kind: int, body: bytes) -> bytes:
    return bytes([kind]) + remaining_length(len(body)) + body
