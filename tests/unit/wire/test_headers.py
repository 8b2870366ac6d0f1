import pytest
from hypothesis import given
from hypothesis import strategies as st

from streams.errors import MalformedRecord, NewerFormat
from streams.wire.headers import (
    FIRSTS,
    OVER_QUOTA,
    ChainLink,
    check_format,
    headers,
    is_replay,
    read_arrival,
    read_digest,
    read_epoch,
    read_firsts,
    read_link,
    read_messages,
    read_over_quota,
    read_term,
    written_firsts,
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


def test_a_number_has_as_many_digits_as_64_bits_hold() -> None:
    longest, number = b"9" * 19, 10**19 - 1
    assert read_link({"writer": b"ab", "seq": longest}) == ChainLink(b"ab", number)
    assert read_term({"term": longest}) == read_messages({"messages": longest}) == number
    assert read_epoch({"epoch": longest}) == number
    longer = b"1" * 20
    assert read_link({"writer": b"ab", "seq": longer}) is None
    assert read_term({"term": longer}) == read_messages({"messages": longer}) == 0
    with pytest.raises(MalformedRecord, match="epoch"):
        read_epoch({"epoch": longer})


def test_a_writer_without_a_number_or_a_number_without_a_writer_tells_nothing() -> None:
    assert read_link({"writer": b"ab"}) is read_link({"seq": b"7"}) is None
    assert read_link({"writer": b"", "seq": b"7"}) is None


def test_an_epoch_that_is_refused_is_shown_but_not_all_of_it() -> None:
    with pytest.raises(MalformedRecord, match=f"'{'x' * 40}'"):
        read_epoch({"epoch": b"x" * 1_000_000})


def test_a_record_says_when_its_oldest_message_came() -> None:
    assert read_arrival({"received_at": b"2026-11-23T14:00:00.123456Z"}) == "2026-11-23T14:00:00.123456Z"
    assert read_arrival({}) == ""
    assert read_arrival({"received_at": b"20\xff"}) == "20\ufffd"


def test_what_was_put_back_says_so_and_where_it_stood_first() -> None:
    firsts = [(4, 1841, 0), (-1, 7, 499)]
    assert written_firsts(iter(firsts)) == "[[4,1841,0],[-1,7,499]]"
    assert read_firsts({FIRSTS: b"[[4,1841,0],[-1,7,499]]"}) == firsts
    assert read_firsts({}) == []
    assert is_replay({"replay": b"1"})
    assert not is_replay({"firsts": b"[]"})


@pytest.mark.parametrize("text", [b"", b"7", b"[[4,1841]]", b"\xff", b'[["\xff"]]', b"[" * 100_000])
def test_what_is_no_list_of_first_places_names_none(text: bytes) -> None:
    assert read_firsts({FIRSTS: text}) == []


@pytest.mark.parametrize("text", [b"", b"00ff", b"zz" * 8, b"00FF00FF00FF00FF"])
def test_what_is_no_digest_tells_nothing(text: bytes) -> None:
    assert read_digest({"digest": text}) == b""


def test_an_epoch_that_is_none_is_refused() -> None:
    with pytest.raises(MalformedRecord, match="epoch"):
        read_epoch({"epoch": b"-1"})


def test_a_newer_format_is_told_apart_from_nonsense() -> None:
    check_format({"format": b"1"})
    check_format({"format": b"?"})
    with pytest.raises(NewerFormat, match=r"^a record .*format 2; this version reads up to 1\b") as refused:
        check_format({"format": b"2"})
    assert (refused.value.written, refused.value.known) == (2, 1)


@given(st.sets(st.integers(0, 499)))
def test_what_is_over_quota_is_read_as_it_was_written(indexes: set[int]) -> None:
    written = written_over_quota(sorted(indexes))
    assert read_over_quota({OVER_QUOTA: written.encode()}) == indexes
    assert len(written) <= 1_000


def test_neighbours_over_quota_are_written_as_a_range() -> None:
    assert written_over_quota([0, 1, 2, 4, 6, 7]) == "0-2,4,6-7"
    assert written_over_quota([]) == ""
    assert read_over_quota({OVER_QUOTA: b"0-2,x,4,6-7"}) == {0, 1, 2, 4, 6, 7}
    assert read_over_quota({}) == frozenset()


@pytest.mark.parametrize("text", [b"", b"x", b"-", b"1-", b"5-3", b"99999", b"1--2", b"\xff"])
def test_what_is_no_list_of_messages_names_none(text: bytes) -> None:
    assert read_over_quota({OVER_QUOTA: text}) == frozenset()
