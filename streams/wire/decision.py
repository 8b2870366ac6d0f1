"""What refine decided about a chunk: the record of the table ``seen`` and so of its changelog.

Key: the chunk's raw coordinate as ``b"3-1841"``. Value: a MessagePack array

    [2, 4, 1764000000.25, <8 bytes>, [7],
     [[4, "validate", "tenant_unknown", "no tenant 7c9e…"]], <24 n bytes>, 0, 1839, 4294967301, []]

of format, epoch, time of the decision, digest of the raw record, indexes of the duplicates, the rejections,
for each accepted reading that has an id its fingerprint, 16 bytes of id and 8 of content, how many chunks
before this one may not have been emitted, the last raw offset before those that went to metrics.unique, and
the highest term of an ingress so far. What ``rejected replay`` has put back also says, by epoch, offset and
index, where the message of each fingerprint stood first. All indexes that are named nowhere were accepted.
Nothing else is needed to emit the very same again.

Fields are added at the end, where an older version ignores them, and stand in for what an older one left
out by a default: so versions run beside each other. What a reader must not ignore raises `FORMAT`.

A partition that was added later has inherited what its tenants' former partition had decided
(`streams.growth`). Such a row tells both in its key, ``b"3-1841>11"``, and of the decision what dedupe needs.
"""

import math
import re
from collections.abc import Iterator
from typing import Annotated, NamedTuple, TypeAlias

import msgspec
from xxhash import xxh3_64_digest

from streams.errors import MalformedRecord, NewerFormat
from streams.models import Natural, Origin, Reason, Stage

FORMAT = 2
"""1 had digests of another kind, and no `Decision.unsettled`."""
LARGEST_FORMAT = 99
"""What claims to be newer than this is no row of ours, and must not keep workers from starting."""
ID_BYTES = 16
CONTENT_BYTES = 8
FINGERPRINT_BYTES = ID_BYTES + CONTENT_BYTES

LARGEST_OFFSET = 2**47 - 1
"""What the index over the ids has room for: at 1,000 records a second, enough for 4,400 years."""
LARGEST_INHERITED_OFFSET = 2**40 - 1
"""Likewise of what was inherited: 35 years."""
MOST_UNSETTLED = 255
NONE_EMITTED = -1
"""No chunk is known to have gone to metrics.unique."""
_PARTITION, _OFFSET = (
    rb"(0|[1-9][0-9]{0,9})",
    rb"(0|[1-9][0-9]{0,18})",
)  # one key for one place: no zeros ahead
_KEY = re.compile(_PARTITION + rb"-" + _OFFSET + rb"(?:>" + _PARTITION + rb")?")
_SHOWN_BYTES = 40

Index: TypeAlias = Annotated[int, msgspec.Meta(ge=0, le=2**31)]
LARGEST_EPOCH = 2**62
Epoch: TypeAlias = Annotated[int, msgspec.Meta(ge=0, le=LARGEST_EPOCH)]

Unsettled: TypeAlias = Annotated[int, msgspec.Meta(ge=0, le=MOST_UNSETTLED)]
LastEmitted: TypeAlias = Annotated[int, msgspec.Meta(ge=-1, le=LARGEST_OFFSET)]
_Word: TypeAlias = Annotated[str, msgspec.Meta(pattern=r"^[a-z][a-z0-9_]{0,39}\Z")]
First: TypeAlias = tuple[Annotated[int, msgspec.Meta(ge=-1, le=LARGEST_EPOCH)], Natural, Natural]
Term: TypeAlias = Annotated[int, msgspec.Meta(ge=0, le=2**63 - 1)]


class Refusal(msgspec.Struct, array_like=True, frozen=True, gc=False):
    """One rejected message of the chunk."""

    index: Index
    stage: Stage
    reason: Reason
    detail: str


class Decision(msgspec.Struct, array_like=True, frozen=True):
    """What became of each message of one chunk."""

    format: int
    epoch: Epoch
    """Which life of ``metrics.raw`` the coordinate belongs to: grows when the topic was recreated."""
    decided_at: float
    """Unix time in seconds."""
    digest: bytes
    """Of the raw record's bytes: tells a record from another one at the same coordinate."""
    duplicates: list[Index]
    refusals: list[Refusal]
    fingerprints: bytes
    unsettled: Unsettled = 0
    """So many chunks right before this one were decided on together with it, and may not have been emitted
    when this was recorded; all before those had been."""
    last_emitted: LastEmitted = NONE_EMITTED
    """Of the chunks before the unsettled ones the last that has gone to metrics.unique."""
    term: Term = 0
    """The highest term of an ingress up to this chunk (`streams.wire.headers.TERM`)."""
    firsts: list[First] = []
    """Of a replay: where the message of each fingerprint stood first; an order of their arrival."""

    def pairs(self) -> Iterator[tuple[bytes, bytes]]:
        """Yield (id, content) of every accepted reading that has an id."""
        return unpack(self.fingerprints)


class _Words(msgspec.Struct, array_like=True, frozen=True):
    """A refusal whose words this version may not know."""

    index: Index
    stage: _Word
    reason: _Word
    detail: str


class _Worded(msgspec.Struct, array_like=True, frozen=True):
    """A decision with such refusals, as far as is needed to tell it from rubbish."""

    format: int
    epoch: Epoch
    decided_at: float
    digest: bytes
    duplicates: list[Index]
    refusals: list[_Words]
    fingerprints: bytes


class _Format(msgspec.Struct, array_like=True, frozen=True):
    format: int


class Inherited(NamedTuple):
    """The place of a decision that a partition has from the one in which its tenants were before."""

    partition: int
    """Which has it now."""
    origin: Origin
    """Of the chunk that was decided on, in the former partition."""


Place: TypeAlias = Origin | Inherited
"""Where a row belongs: to the chunk of its own partition, or to one of a former partition's."""

_encoder = msgspec.msgpack.Encoder()
_decoder = msgspec.msgpack.Decoder(Decision)
_worded_decoder = msgspec.msgpack.Decoder(_Worded)
_format_decoder = msgspec.msgpack.Decoder(_Format)


def encode(decision: Decision) -> bytes:
    """Return the changelog record's value."""
    return _encoder.encode(decision)


def decode(value: bytes) -> Decision:
    """Read a changelog record's value.

    Raises:
        MalformedRecord: if it is no decision.
        NewerFormat: if a newer version wrote it: what it says must not be ignored.
    """
    try:
        decision = _decoder.decode(value)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        # First: a newer format may be shaped otherwise, so it need not decode at all.
        _check_format(_written_format(value))
        _check_words(value)
        raise MalformedRecord(f"not a decision: {error}") from error
    _check_format(decision.format)
    if decision.format != FORMAT or len(decision.fingerprints) % FINGERPRINT_BYTES:
        raise MalformedRecord(f"not a decision of format {FORMAT}: format {decision.format}")
    if not math.isfinite(decision.decided_at):  # it would never leave the window, and NaN cannot be sorted
        raise MalformedRecord(f"not a decision: decided at {decision.decided_at}")
    return decision


def _check_words(value: bytes) -> None:
    """Return unless the row is a sound one, but for a stage or a reason that only a newer version knows.

    Raises:
        NewerFormat: it is.
    """
    try:
        refusals = _worded_decoder.decode(value).refusals
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return
    for refusal in refusals:
        for word, known in ((refusal.stage, Stage), (refusal.reason, Reason)):
            # Reasons are added without a new format: to an older version only the word shows that it is
            # older.
            if word not in set(known):
                raise NewerFormat("a decision", FORMAT, FORMAT, word)


def _written_format(value: bytes) -> int:
    """Return the format of a row whose other fields cannot be read; 0 if it has none."""
    try:
        return _format_decoder.decode(value).format
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return 0


def _check_format(written: int) -> None:
    # Beyond that it is rubbish, which somebody else wrote: one such row must not keep every worker from
    # starting.
    if FORMAT < written <= LARGEST_FORMAT:
        raise NewerFormat("a decision", written, FORMAT)


def encode_key(place: Place) -> bytes:
    """Return the record's key, ``b"3-1841"``, or ``b"3-1841>11"`` of what partition 11 has inherited."""
    if isinstance(place, Inherited):
        return b"%d-%d>%d" % (place.origin.partition, place.origin.offset, place.partition)
    return b"%d-%d" % (place.partition, place.offset)


def decode_key(key: bytes) -> Place:
    """Read a record's key.

    Raises:
        MalformedRecord: if it is none of ours.
    """
    match = _KEY.fullmatch(key)
    if match is None:
        raise MalformedRecord(f"not a raw coordinate: {key[:_SHOWN_BYTES]!r}")
    origin = Origin(int(match[1]), int(match[2]))
    if match[3] is None and origin.offset <= LARGEST_OFFSET:
        return origin
    if match[3] is not None and origin.offset <= LARGEST_INHERITED_OFFSET:
        heir = int(match[3])
        if origin.partition < heir:  # partitions are only added
            return Inherited(heir, origin)
    raise MalformedRecord(f"not a raw coordinate: {key[:_SHOWN_BYTES]!r}")


def inheritance(decision: Decision) -> Decision:
    """Return what a partition inherits of a decision: what dedupe asks for, and nothing to be emitted."""
    # What became of the messages was emitted in the former partition, and is not emitted here again.
    return msgspec.structs.replace(decision, duplicates=[], refusals=[], unsettled=0)


def digest(value: bytes) -> bytes:
    """Return the 8 bytes by which a decision knows its raw record again."""
    return xxh3_64_digest(value)  # a chunk of 200 messages in 4 µs; BLAKE2b takes 50


def unpack(fingerprints: bytes) -> Iterator[tuple[bytes, bytes]]:
    """Yield (id, content) from packed fingerprints."""
    for start in range(0, len(fingerprints), FINGERPRINT_BYTES):
        middle = start + ID_BYTES
        yield fingerprints[start:middle], fingerprints[middle : start + FINGERPRINT_BYTES]
