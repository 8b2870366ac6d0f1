r"""The records of metrics.raw: chunks of messages as the devices sent them.

Written by ingress, read by refine; all on one line:

    {"messages":[{"topic":"metrics/7c9e6679-7425-40de-944b-e07fc1f90ae7/edge-7/cpu.usage.percent",
    "payload":"{\"value\": 42.17}","received_at":"2026-11-23T14:00:00.123456Z","qos":1}]}

A payload that is not UTF-8 stands in ``payload_base64`` instead; of one over 64 KiB only the first KiB is
kept, and ``size_bytes`` tells how large it was.
"""

import re
from base64 import b64encode
from collections.abc import Sequence
from datetime import datetime

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
    size_bytes = None
    if len(payload) > MAX_BYTES:
        # Rejected anyway: kept is only what lets an operator see what it was.
        size_bytes, payload = len(payload), _cut(payload)
    try:
        message = Message(topic, payload.decode(), None, received_at, qos, size_bytes)
    except UnicodeDecodeError:
        message = Message(topic, None, b64encode(payload).decode(), received_at, qos, size_bytes)
    try:
        return _encoder.encode(message)
    except UnicodeEncodeError:
        return _encoder.encode(msgspec.structs.replace(message, topic=_LONE_SURROGATE.sub("\ufffd", topic)))


def encode(message: Message) -> bytes:
    """Return one message of a chunk, as it is: what `rejected replay` puts back."""
    return _encoder.encode(message)


def join(encoded: Sequence[bytes]) -> bytes:
    """Return a record's value: its size is that of the messages, the separators and `FRAMING_BYTES`."""
    # Joined as bytes: each message was encoded when it came, and is not decoded for this.
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


def unix_s(received_at: str) -> float | None:
    """Return a time that a message came at as Unix time in seconds; None where it is none."""
    try:
        return datetime.fromisoformat(received_at).timestamp()
    except (ValueError, OverflowError):
        return None


def _cut(payload: bytes) -> bytes:
    """Return a payload's beginning, which does not end within a character."""
    beginning = payload[:KEPT_BYTES]
    try:
        beginning.decode()
    except UnicodeDecodeError as error:
        # Cut within a character. Any other fault was in the payload itself, which goes into base64 then.
        if error.reason == "unexpected end of data":
            return beginning[: error.start]
    return beginning
