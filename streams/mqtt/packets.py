"""Reads and words what a broker sends in MQTT 5, on the codec mqtt5. Pure: bytes in, packets out.

Used by ``streams/mqtt/mqtt5_protocol.py``. What the codec refuses is looked at here once more: it is strict
even where a message could be carried, and panics (with three lines on stderr) on text that is not UTF-8.
"""

import re
from collections.abc import Callable
from typing import NamedTuple, TypeAlias

import mqtt5

CONNACK_TYPE, PUBLISH_TYPE, DISCONNECT_TYPE = 2, 3, 14
QOS_BITS = 0x06  # MQTT 5, 3.3.1.2
LONGEST_HEADER_BYTES = 5  # MQTT 5, 1.5.5: the length takes four bytes at most, behind the type
TOPIC_ALIAS = 0x23  # MQTT 5, 3.3.2.3.4
SUBSCRIPTION_ID = 0x0B  # MQTT 5, 3.3.2.3.8: the one property of a PUBLISH whose length varies by bits
# MQTT 5, 2.2.2.2: the bytes that the fixed ones of a PUBLISH take, and those whose length comes first.
_FIXED_BYTES = {0x01: 1, 0x02: 4, TOPIC_ALIAS: 2}
_TEXTS = {0x03: 1, 0x08: 1, 0x09: 1, 0x26: 2}

_NAME = re.compile(r"\.(\w+):")
"""A reason code's name in its representation: whatever the codec's stubs say, it is no enum of Python."""


class MalformedPacketError(Exception):
    """Bytes from the broker are no packet of MQTT 5."""


class OlderProtocolError(Exception):
    """The broker answers as MQTT 3.1.1 does."""


class LaxPublish(NamedTuple):
    """A PUBLISH that the codec refuses, as far as a message can be made of it."""

    topic: str
    payload: bytes
    packet_id: int | None
    topic_alias: int | None


class LaxDisconnect(NamedTuple):
    """A DISCONNECT that the codec refuses."""

    reason_code: int
    reason_str: None = None


Readable: TypeAlias = mqtt5.Packet | LaxPublish | LaxDisconnect


def read_laxly(
    view: memoryview, refusal: BaseException, unreadable: Callable[[bytes, str], None] | None = None
) -> tuple[Readable, int] | None:
    """Look again at what `mqtt5.read` has refused.

    Args:
        view: as handed to it.
        refusal: what it has raised.
        unreadable: told of the body of a PUBLISH that cannot be read and why; it is then returned as one
            without a topic, whose payload is that body. None to raise.

    Returns:
        A packet and the bytes it takes; None if its end has not come yet.

    Raises:
        MalformedPacketError: it is no packet.
        OlderProtocolError: it is the CONNACK of MQTT 3.1.1.
    """
    is_panic = type(refusal).__module__ == "pyo3_runtime"  # there is no way to import the class
    # Any other is no refusal of the codec, but a bug or a cancellation.
    if not (is_panic or isinstance(refusal, IndexError | ValueError)):
        raise refusal
    header = _fixed_header(view)
    # The codec may refuse a packet whose end has not come yet.
    if header is None or len(view) < sum(header):
        return None
    start, size = header
    body = bytes(view[start : start + size])
    try:
        return _read_body(view[0], body, refusal), start + size
    except MalformedPacketError as error:
        if unreadable is None or view[0] >> 4 != PUBLISH_TYPE:
            raise
        unreadable(body, str(error))
        return LaxPublish("", body, packet_id_in(view[0], body), None), start + size


def packet_id_in(first: int, body: bytes) -> int | None:
    """Return the packet id of a PUBLISH, of MQTT 5 or 3.1.1; None where none can be found."""
    at = 2 + int.from_bytes(body[:2])
    if not first & QOS_BITS or len(body) < at + 2:
        return None
    return int.from_bytes(body[at : at + 2]) or None


def size_of(view: memoryview) -> int:
    """Return how many bytes the packet takes that begins here; 0 if its length is not there yet."""
    return sum(_fixed_header(view) or ())


def worded(reason: int) -> str:
    """Return a reason code in words, ``Not authorized``, or its number if there are none."""
    named = _NAME.search(repr(reason))
    if named is None:
        return f"reason 0x{int(reason):02X}"
    return named[1].replace("_", " ").capitalize().replace("qos", "QoS")


def _read_body(first: int, body: bytes, refusal: BaseException) -> Readable:
    kind = first >> 4
    # Moquette 0.17 puts the code of 3.1.1 into a CONNACK of MQTT 5's shape.
    if kind == CONNACK_TYPE and (len(body) == len(b"\0\1") or body[1:2] == b"\1"):
        raise OlderProtocolError(f"the CONNACK is one of MQTT 3.1.1, with return code {body[1]}")
    if kind == DISCONNECT_TYPE and body:
        return LaxDisconnect(body[0])
    try:
        if kind == PUBLISH_TYPE:
            return _lax_publish(first, body)
    except IndexError:
        pass
    raise MalformedPacketError(str(refusal))


def _lax_publish(first: int, body: bytes) -> LaxPublish:
    """Read a PUBLISH (MQTT 5, 3.3) whatever its topic, and its properties but for their lengths.

    Raises:
        IndexError: it ends too early.
        MalformedPacketError: its QoS or its properties are none.
    """
    qos = first >> 1 & 3
    if qos == 3:  # noqa: PLR2004 - MQTT 5, 3.3.1-4: malformed
        raise MalformedPacketError("a QoS of 3")
    end = 2 + _number(body, 0)
    topic = _part(body, 2, end).decode("utf-8", "surrogateescape")
    packet_id = _number(body, end) if qos else None
    size, start = _variable(body, end + 2 if qos else end)
    properties = _part(body, start, start + size)
    return LaxPublish(topic, body[start + size :], packet_id, _topic_alias(properties))


def _topic_alias(properties: bytes) -> int | None:
    alias, at = None, 0
    while at < len(properties):
        name, at = properties[at], at + 1
        # The one property that changes what the message is; of the others only the lengths matter.
        if name == TOPIC_ALIAS:
            alias = _number(properties, at)
        if name in _FIXED_BYTES:
            at += _FIXED_BYTES[name]
        elif name == SUBSCRIPTION_ID:
            _, at = _variable(properties, at)
        elif name in _TEXTS:
            for _ in range(_TEXTS[name]):
                at += 2 + _number(properties, at)
        else:
            raise MalformedPacketError(f"a PUBLISH with a property 0x{name:02X}")
    if at > len(properties):
        raise IndexError(at)
    return alias


def _fixed_header(view: memoryview) -> tuple[int, int] | None:
    """Return the bytes of the fixed header and the remaining length; None if they are not there yet.

    Raises:
        MalformedPacketError: the length has more than four bytes.
    """
    head = bytes(view[:LONGEST_HEADER_BYTES])
    try:
        size, start = _variable(head, 1)
    except IndexError:
        return None
    return start, size


def _variable(data: bytes, at: int) -> tuple[int, int]:
    """Read a variable byte integer (MQTT 5, 1.5.5); return it and where it ends."""
    number = 0
    for place in range(4):
        byte = data[at + place]
        number |= (byte & 0x7F) << 7 * place
        if byte < 0x80:  # noqa: PLR2004 - MQTT 5, 1.5.5: the bit that says that more follow
            return number, at + place + 1
    raise MalformedPacketError("a length of more than four bytes")


def _number(data: bytes, at: int) -> int:
    """Read a two byte integer."""
    return int.from_bytes(_part(data, at, at + 2))


def _part(data: bytes, start: int, end: int) -> bytes:
    """Return a part of the data, which must be all there."""
    if end > len(data):
        raise IndexError(end)
    return data[start:end]
