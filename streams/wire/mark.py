"""The records of metrics.rejected-marks: what has become of a rejected message since.

Written by ``rejected replay`` and ``rejected dismiss``, read by whatever lists rejected messages. Key: the
message's coordinate in metrics.raw, ``b"3-1841-4"``. Value, all on one line:

    {"mark":"replayed","digest":"8c1f2a9e00d4b7f3","at":"2026-11-23T14:00:00Z"}

A coordinate comes again where metrics.raw is made anew, so the digest of the message belongs to it.
"""

import re
from enum import StrEnum

import msgspec
from xxhash import xxh3_64_intdigest

from streams.errors import MalformedRecord
from streams.models import Message, RejectedMessage

_DIGEST = re.compile("[0-9a-f]{16}")


class Fate(StrEnum):
    """What has become of a rejected message."""

    REPLAYED = "replayed"
    """It was put back onto metrics.raw."""
    DISMISSED = "dismissed"
    """Somebody has seen it, and wants no more of it."""
    SUPERSEDED = "superseded"
    """It was not put back, since a value that came after it, under its dedupe id, has been accepted."""


class MarkRecord(msgspec.Struct, frozen=True):
    """One record's value."""

    mark: Fate
    digest: str
    at: str


_encoder = msgspec.json.Encoder()
_decoder = msgspec.json.Decoder(MarkRecord)


def message_digest(message: Message | RejectedMessage) -> int:
    """Return 64 bits that stand for a message: what was published, and when it came."""
    parts = (message.topic, message.payload or "", message.payload_base64 or "", message.received_at)
    return xxh3_64_intdigest("\0".join(parts).encode("utf-8", "surrogatepass"))


def encode(mark: Fate, digest: int, at: str) -> bytes:
    """Return a record's value."""
    return _encoder.encode(MarkRecord(mark, f"{digest:016x}", at))


def decode(value: bytes) -> tuple[Fate, int]:
    """Read a record's value: the mark, and the digest of the message that it is about.

    Raises:
        MalformedRecord: if it is no mark.
    """
    try:
        record = _decoder.decode(value)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
        raise MalformedRecord(f"not a mark: {error}") from error
    if not _DIGEST.fullmatch(record.digest):
        raise MalformedRecord("not a mark: its digest is not 16 hexadecimal digits")
    return record.mark, int(record.digest, 16)
