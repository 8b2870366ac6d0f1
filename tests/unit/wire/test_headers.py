import pytest
from hypothesis import given
from hypothesis import strategies as st

from streams.errors import MalformedRecord, NewerFormat
from streams.wire.headers import (
    OVER_QUOTA,
    ChainLink,
    check_format,
    headers,
    read_digest,
    read_epoch,
    read_link,
    read_messages,
    read_over_quota,
    read_term,
    written_over_quota,
)


def test_what_is_written_is_read_back() -> None:
    found = dict(headers(3, writer="ab", seq="7", term="12", epoch="4", digest="00ff00ff00ff00ff"))
    assert read_link(found) == ChainLink(b"ab", 7)
    assert (read_messages(found), read_term(found), read_epoch(found)) == (3, 12, 4)
    assert read_digest(found) == bytes.fromhex("00ff00ff00ff00ff")


def test_a_record_of_an_older_version_tells_nothing_and_is_read() -> None:
    check_format({})
    assert (read_link({}), read_term({}), read_digest({}), read_messages({})) == (None, 0, b"", 0)


@pytest.mark.parametrize("text", [b"", b"-1", b"x", b"1.5", b"\xd9\xa3", b"1" * 40])
def test_what_is_no_number_tells_nothing(text: bytes) -> None:
    assert read_link({"writer": b"ab", "seq": text}) is None
    assert read_term({"term": text}) == read_messages({"messages": text}) == 0


@pytest.mark.parametrize("text", [b"", b"00ff", b"zz" * 8, b"00FF00FF00FF00FF"])
def test_what_is_no_digest_tells_nothing(text: bytes) -> None:
    assert read_digest({"digest": text}) == b""


def test_an_epoch_that_is_none_is_refused() -> None:
    with pytest.raises(MalformedRecord, match="epoch"):
        read_epoch({"epoch": b"-1"})


def test_a_newer_format_is_told_apart_from_nonsense() -> None:
    check_format({"format": b"1"})
    check_format({"format": b"?"})
    with pytest.raises(NewerFormat, match="format 2"):
        check_format({"format": b"2"})


@given(st.sets(st.integers(0, 499)))
def test_what_is_over_quota_is_read_as_it_was_written(indexes: set[int]) -> None:
    written = written_over_quota(sorted(indexes))
    assert read_over_quota({OVER_QUOTA: written.encode()}) == indexes
    assert len(written) <= 1_000


@pytest.mark.parametrize("text", [b"", b"x", b"-", b"1-", b"5-3", b"99999", b"1--2", b"\xff"])
def test_what_is_no_list_of_messages_names_none(text: bytes) -> None:
    assert read_over_quota({OVER_QUOTA: text}) == frozenset()
