"""The headers of the records on our topics: plain strings, to be read in a console.

    metrics.raw        format: 1   messages: 42   writer: 9f86d081884c7d65   seq: 17
                       term: 126649119451119623
                       session: metric-streams   subscription: metrics/#
                       over_quota: 3-17,41
    metrics.unique     format: 1   messages: 40   writer: 2c26b46b68ffc68f   seq: 8
                       epoch: 4   digest: 8c1f2a9e00d4b7f3   group: metric-streams
                       received_at: 2026-11-23T14:00:00.123456Z
    metrics.rejected   format: 1   messages: 2   reason: tenant_unknown   stage: validate   epoch: 4
    the first two      traceparent: 00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01

What ``rejected replay`` has put back has replay: 1 in metrics.raw, and in metrics.unique where each of its
readings stood first, as firsts: [[4,1841,0]].

A reader ignores headers that it does not know, and does without those that an older version did not write.
"""

import re
from collections.abc import Iterable, Mapping
from typing import NamedTuple

import msgspec

from streams.errors import MalformedRecord, NewerFormat

FORMAT = 1
"""The version of the records; a reader that knows less must not guess."""

FORMAT_HEADER = "format"
MESSAGES = "messages"
REASON = "reason"
STAGE = "stage"
EPOCH = "epoch"
"""Which life of metrics.raw the chunk's coordinate belongs to."""
DIGEST = "digest"
"""Of metrics.unique: of the raw record that the chunk was made from, 16 hex digits."""
GROUP = "group"
"""Of metrics.unique: the consumer group that wrote it; with two, everything would be handed off twice."""
RECEIVED_AT = "received_at"
"""Of metrics.unique: when the oldest message of the raw chunk came, also if it is not in this record."""
WRITER = "writer"
"""Whoever wrote the record: a name that no other process, and no other connection, ever has."""
SEQ = "seq"
"""How many records that writer had put into this partition before: a gap shows another log."""
TERM = "term"
"""Of metrics.raw: the leadership under which ingress wrote; it only grows (`streams.wire.term`)."""
SESSION = "session"
"""Of metrics.raw: the MQTT client id under which the broker keeps the session that the chunk came from."""
SUBSCRIPTION = "subscription"
"""Of metrics.raw: what was subscribed to there, with the share group if there is one."""
OVER_QUOTA = "over_quota"
"""Of metrics.raw: which messages, by index, are beyond their tenant's quota (`streams.ingress.quota`)."""

REPLAY = "replay"
"""Of metrics.raw: the messages were rejected before, and each says where it was first."""
FIRSTS = "firsts"
"""Of metrics.unique: where the readings of a replay were first: epoch, offset, index of each, as JSON."""

_EPOCH_DIGITS = 19  # as many as 64 bits hold
_LONGEST_NUMBER = 19  # digits of 64 bits
_DIGEST = re.compile(rb"[0-9a-f]{16}")
_SHOWN_BYTES = 40
_RANGE = re.compile(rb"(\d{1,4})(?:-(\d{1,4}))?")
_firsts = msgspec.json.Decoder(list[tuple[int, int, int]])


class ChainLink(NamedTuple):
    """Which number a record has among those that its writer put into the partition."""

    writer: bytes
    seq: int


def headers(messages: int, **extra: str) -> list[tuple[str, bytes]]:
    """Return a record's headers.

    Args:
        messages: how many messages or readings the record carries.
        extra: the others, by name.
    """
    return [
        (FORMAT_HEADER, b"%d" % FORMAT),
        (MESSAGES, b"%d" % messages),
        *((name, value.encode()) for name, value in extra.items()),
    ]


def check_format(found: Mapping[str, bytes]) -> None:
    """Return if this version can read a record; one without a format is read as the oldest.

    Raises:
        NewerFormat: if a newer version wrote it.
    """
    text = found.get(FORMAT_HEADER, b"1")
    if (written := _number(text)) > FORMAT:
        raise NewerFormat("a record", written, FORMAT)


def read_epoch(found: Mapping[str, bytes]) -> int:
    """Return the epoch from a record's headers, 0 where there is none.

    Raises:
        MalformedRecord: if it is no number that an epoch can be.
    """
    epoch = found.get(EPOCH, b"0")
    # Not taken for 0, as others are: with a wrong epoch a chunk would seem older than what was pushed.
    if not epoch.isdigit() or len(epoch) > _EPOCH_DIGITS:
        raise MalformedRecord(f"the header {EPOCH} is {epoch[:_SHOWN_BYTES]!r}; it must be an integer")
    return int(epoch)


def read_messages(found: Mapping[str, bytes]) -> int:
    """Return how many messages a record says that it carries, 0 where it does not say."""
    return _number(found.get(MESSAGES, b""))


def read_link(found: Mapping[str, bytes]) -> ChainLink | None:
    """Return where a record stands among its writer's; None if it does not tell."""
    writer, seq = found.get(WRITER), found.get(SEQ, b"")
    return ChainLink(writer, int(seq)) if writer and seq.isdigit() and len(seq) <= _LONGEST_NUMBER else None


def is_replay(found: Mapping[str, bytes]) -> bool:
    """Tell whether a raw record holds what was rejected before."""
    return REPLAY in found


def read_firsts(found: Mapping[str, bytes]) -> list[tuple[int, int, int]]:
    """Return where the readings of a record of metrics.unique were first; none where it is no replay's."""
    try:
        return _firsts.decode(found[FIRSTS]) if FIRSTS in found else []
    # As if it were no replay: what its readings are is in the record itself.
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
        return []


def written_firsts(firsts: Iterable[tuple[int, int, int]]) -> str:
    """Return the header that `read_firsts` reads."""
    return msgspec.json.encode(list(firsts)).decode()


def read_over_quota(found: Mapping[str, bytes]) -> frozenset[int]:
    """Return the indexes of the messages that are beyond their tenant's quota.

    What is not as `written_over_quota` writes it names none: then those messages go on as others do.
    """
    ranges = [_RANGE.fullmatch(each) for each in found.get(OVER_QUOTA, b"").split(b",")]
    return frozenset(
        index for each in ranges if each for index in range(int(each[1]), int(each[2] or each[1]) + 1)
    )


def written_over_quota(indexes: Iterable[int]) -> str:
    """Return the header that `read_over_quota` reads.

    Args:
        indexes: in rising order.

    Examples:
        >>> written_over_quota([3, 4, 5, 17])
        '3-5,17'
    """
    ranges: list[list[int]] = []
    for index in indexes:
        if ranges and ranges[-1][-1] == index - 1:
            ranges[-1][1:] = [index]
        else:
            ranges.append([index])
    return ",".join("-".join(map(str, each)) for each in ranges)


def read_term(found: Mapping[str, bytes]) -> int:
    """Return the term of the leader that wrote a raw record, 0 where it does not tell."""
    return _number(found.get(TERM, b""))


def read_arrival(found: Mapping[str, bytes]) -> str:
    """Return when the oldest message of a chunk came, as it is written; empty where that is not told."""
    return found.get(RECEIVED_AT, b"").decode(errors="replace")


def read_digest(found: Mapping[str, bytes]) -> bytes:
    """Return the 8 bytes of the raw record's digest, none where the record does not tell."""
    text = found.get(DIGEST, b"")
    return bytes.fromhex(text.decode()) if _DIGEST.fullmatch(text) is not None else b""


def _number(text: bytes) -> int:
    # bytes.isdigit knows ASCII digits alone, and takes a quarter of what the pattern does.
    return int(text) if text.isdigit() and len(text) <= _LONGEST_NUMBER else 0
