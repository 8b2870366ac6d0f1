"""The record of metrics.rejected-marks comes back as it was, and tells one message from another."""

import pytest

from streams.errors import MalformedRecord
from streams.models import Message, RejectedMessage
from streams.wire.mark import Fate, decode, encode, message_digest

AT = "2026-11-23T14:00:00Z"
MESSAGE = Message("metrics/a/b/c", "1", None, AT, 1)
DIGEST = 0xDED342439D30D072


def test_a_mark_is_what_people_read_in_a_console() -> None:
    record = b'{"mark":"replayed","digest":"0c1f2a9e00d4b7f3","at":"2026-11-23T14:00:00Z"}'
    assert encode(Fate.REPLAYED, 0x0C1F2A9E00D4B7F3, AT) == record
    assert decode(record) == (Fate.REPLAYED, 0x0C1F2A9E00D4B7F3)


@pytest.mark.parametrize("fate", Fate)
def test_a_mark_comes_back_as_it_was(fate: Fate) -> None:
    assert decode(encode(fate, 2**64 - 1, AT)) == (fate, 2**64 - 1)


@pytest.mark.parametrize(
    "record",
    [b"", b"{}", b"\xff", b"[" * 100_000, b'{"mark":"lost","digest":"0","at":""}']
    + [b'{"mark":"replayed","digest":"%s","at":""}' % digest for digest in (b"", b"xyz", b"\xff")],
    ids=range(8),
)
def test_anything_else_is_malformed(record: bytes) -> None:
    with pytest.raises(MalformedRecord, match="not a mark"):
        decode(record)


def test_a_message_and_its_rejection_have_one_digest() -> None:
    rejected = RejectedMessage(4, "metrics/a/b/c", "1", received_at=AT, detail="whatever")
    assert message_digest(rejected) == message_digest(MESSAGE)


@pytest.mark.parametrize(
    "other",
    [
        Message("metrics/a/b/d", "1", None, AT),
        Message("metrics/a/b/c", "2", None, AT),
        Message("metrics/a/b/c", None, "1", AT),
        Message("metrics/a/b/c", None, None, AT),
        Message("metrics/a/b/c", "1", None, "2026-11-23T14:00:01Z"),
        Message("metrics/a/b/c1", "", None, AT),
    ],
    ids=range(6),
)
def test_another_message_has_another_digest(other: Message) -> None:
    assert message_digest(other) != message_digest(MESSAGE)


def test_the_digest_never_changes_and_bears_a_lone_surrogate() -> None:
    """Marks of a year ago bear it."""
    assert message_digest(MESSAGE) == DIGEST
    assert message_digest(Message("metrics/a/b/c", None, "/w==", AT, 1)) == 0xDC38EA9B3BB0D6EB
    assert message_digest(Message("metrics/\ud800/b/c", "1", None, AT)) != DIGEST
