r"""The records of metrics.raw: chunks of messages as the devices sent them.

Written by ingress, read by refine; all on one line:

    {"messages":[{"topic":"metrics/7c9e6679-7425-40de-944b-e07fc1f90ae7/edge-7/cpu.usage.percent",
    "payload":"{\"value\": 42.17}","received_at":"2026-11-23T14:00:00.123456Z","qos":1}]}

A payload that is not UTF-8 stands in ``payload_base64`` instead; of one over 64 KiB only the first KiB is
kept, and ``size_bytes`` tells how large it was.
"""

import re
from collections.abc import Sequence

import msgspec

from streams.errors import MalformedRecord
from streams.models import Message
from streams.rules.payload import MAX_BYTES

KEPT_BYTES = 1024
"""How much is kept of a payload that is too large."""

_HEAD, _SEPARATOR, _TAIL = b'{"messages":[', b",", b"]}"
FRAMING_BYTES = len(_HEAD) + len(_TAIL)
"""What a chunk has besides its messages and the separators between them."""
SEPARATOR_BYTES = len(_SEPARATOR)

_NO_TOPIC, _TEXT, _BASE64, _CLOSED = b'{"topic":""', b',"payload":', b',"payload_base64":', b"}"
_LONE_SURROGATE = re.compile("[\ud800-\udfff]")


class _Chunk(msgspec.Struct, frozen=True):
    messages: list[Message]


_encoder = msgspec.json.Encoder()
_decoder = msgspec.json.Decoder(_Chunk)


def encode_message(topic: str, payload: bytes, received_at: str, qos: int) -> bytes:
    """Return one message of a chunk.

    Args:
        topic: as published. A lone surrogate, which stands for bytes that were not UTF-8, becomes U+FFFD: no
            rule lets that through.
        payload: as published, of any size.
        received_at: RFC 3339 with microseconds in UTC: ``2026-11-23T14:00:00.123456Z``.
        qos: the quality of service with which it came, 0 to 2.
    """
    return encode(head_of(topic), payload, tail_of(received_at, qos))


def head_of(topic: str) -> bytes:
    """Return the beginning that messages of one topic share, for `encode`: ``{"topic":"a/b","payload":``."""
    try:
        encoded = _encoder.encode(Message(topic))
    except UnicodeEncodeError:
        encoded = _encoder.encode(Message(_LONE_SURROGATE.sub("\ufffd", topic)))
    return encoded.removesuffix(_CLOSED) + _TEXT


def tail_of(received_at: str, qos: int) -> bytes:
    """Return the end that messages of one moment share, for `encode`: ``,"received_at":"…","qos":1}``."""
    return _encoder.encode(Message("", received_at=received_at, qos=qos)).removeprefix(_NO_TOPIC)


def encode(head: bytes, payload: bytes, tail: bytes) -> bytes:
    """Return one message of a chunk as `encode_message` does, for whoever keeps heads and tails.

    Only the payload is encoded anew: 0.3 µs instead of 0.65.
    """
    if len(payload) > MAX_BYTES:
        tail = tail.removesuffix(_CLOSED) + b',"size_bytes":%d}' % len(payload)
        payload = _cut(payload)
    try:
        return head + _encoder.encode(payload.decode()) + tail
    except UnicodeDecodeError:
        return head.removesuffix(_TEXT) + _BASE64 + _encoder.encode(payload) + tail


def join(encoded: Sequence[bytes]) -> bytes:
    """Return a record's value: its size is that of the messages, the separators and `FRAMING_BYTES`."""
    return _HEAD + _SEPARATOR.join(encoded) + _TAIL


def decode(value: bytes) -> list[Message]:
    """Read a record's value.

    Raises:
        MalformedRecord: if it is no chunk.
    """
    try:
        return _decoder.decode(value).messages
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
        raise MalformedRecord(f"not a chunk of messages: {error}") from error


def _cut(payload: bytes) -> bytes:
    """Return a payload's beginning, which does not end within a character."""
    beginning = payload[:KEPT_BYTES]
    try:
        beginning.decode()
    except UnicodeDecodeError as error:
        if error.reason == "unexpected end of data":
            return beginning[: error.start]
    return beginning
