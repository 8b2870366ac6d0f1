r"""The records of metrics.rejected: one for each chunk and reason, the messages as they came.

Written by refine, read by people and by the ``rejected`` command; all on one line:

    {"origin":{"partition":3,"offset":1841},"stage":"validate","reason":"tenant_unknown","messages":[{"index":4,
    "topic":"metrics/7c9e6679-7425-40de-944b-e07fc1f90ae7/edge-7/cpu","payload":"{\"value\": 1}",
    "received_at":"2026-11-23T14:00:00.123456Z","qos":1,
    "detail":"no tenant 7c9e6679-7425-40de-944b-e07fc1f90ae7"}]}
"""

from collections.abc import Sequence

import msgspec

from streams.errors import MalformedRecord
from streams.models import Origin, Reason, RejectedMessage, Stage


class RejectedChunk(msgspec.Struct, frozen=True):
    """One record of metrics.rejected."""

    origin: Origin
    stage: Stage
    reason: Reason
    messages: Sequence[RejectedMessage]


_encoder = msgspec.json.Encoder()
_decoder = msgspec.json.Decoder(RejectedChunk)


def encode(origin: Origin, stage: Stage, reason: Reason, messages: Sequence[RejectedMessage]) -> bytes:
    """Return a record's value."""
    return _encoder.encode(RejectedChunk(origin, stage, reason, messages))


def decode(value: bytes) -> RejectedChunk:
    """Read a record's value.

    Raises:
        MalformedRecord: if it is no chunk of rejected messages.
    """
    try:
        return _decoder.decode(value)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
        raise MalformedRecord(f"not a chunk of rejected messages: {error}") from error
