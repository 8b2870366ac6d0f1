"""The records of metrics.unique: the readings of a chunk that are valid and new.

Written by refine, read by handoff; all on one line:

    {"origin":{"partition":3,"offset":1841},"readings":[{"index":0,
    "tenant_id":"7c9e6679-7425-40de-944b-e07fc1f90ae7","agent_id":"edge-7","metric_name":"cpu.usage.percent",
    "value":42.17,"timestamp":"2026-11-23 14:00:00.123456","dedupe_id":null,
    "key":"0f3c0e0a6f2f4b0f8f2f9d5a7c1e2b3d"}]}
"""

from collections.abc import Sequence

import msgspec

from streams.errors import MalformedRecord
from streams.models import Origin, Reading


class UniqueChunk(msgspec.Struct, frozen=True):
    """One record of metrics.unique."""

    origin: Origin
    readings: Sequence[Reading]


_encoder = msgspec.json.Encoder()
_decoder = msgspec.json.Decoder(UniqueChunk)


class _Origin(msgspec.Struct, frozen=True):
    origin: Origin


_origin_decoder = msgspec.json.Decoder(_Origin)


def encode(origin: Origin, readings: Sequence[Reading]) -> bytes:
    """Return a record's value."""
    return _encoder.encode(UniqueChunk(origin, readings))


def decode(value: bytes) -> UniqueChunk:
    """Read a record's value.

    Raises:
        MalformedRecord: if it is no chunk of readings.
    """
    try:
        return _decoder.decode(value)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
        raise MalformedRecord(f"not a chunk of readings: {error}") from error


def decode_origin(value: bytes) -> Origin:
    """Read of a record's value only which raw record it was made from.

    Raises:
        MalformedRecord: if it does not say so.
    """
    try:
        # msgspec skips what it is not asked for, so the readings cost little.
        return _origin_decoder.decode(value).origin
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
        raise MalformedRecord(f"not a chunk of readings: {error}") from error
