"""The changelog record: what refine decided comes back as it was, and rubbish is refused."""

import math
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from streams.errors import MalformedRecord, NewerFormat
from streams.models import Origin, Reason, Stage
from streams.wire.decision import (
    FINGERPRINT_BYTES,
    FORMAT,
    LARGEST_FORMAT,
    LARGEST_INHERITED_OFFSET,
    LARGEST_OFFSET,
    NONE_EMITTED,
    Decision,
    Inherited,
    Refusal,
    decode,
    decode_key,
    encode,
    encode_key,
    inheritance,
    unpack,
)

refusals = st.builds(
    Refusal,
    index=st.integers(0, 499),
    stage=st.sampled_from(Stage),
    reason=st.sampled_from(Reason),
    detail=st.text(st.characters(exclude_categories=["Cs"])),
)
decisions = st.builds(
    Decision,
    format=st.just(FORMAT),
    epoch=st.integers(0, 2**53),
    decided_at=st.floats(0, 4e9),
    digest=st.binary(min_size=8, max_size=8),
    duplicates=st.lists(st.integers(0, 499)),
    refusals=st.lists(refusals),
    fingerprints=st.integers(0, 5).flatmap(
        lambda n: st.binary(min_size=n * FINGERPRINT_BYTES, max_size=n * FINGERPRINT_BYTES)
    ),
    unsettled=st.integers(0, 255),
    last_emitted=st.integers(NONE_EMITTED, LARGEST_OFFSET),
    term=st.integers(0, 2**63 - 1),
)


@given(decisions)
def test_a_decision_comes_back_as_it_was(decision: Decision) -> None:
    assert decode(encode(decision)) == decision


@given(st.builds(Origin, partition=st.integers(0, 10**6), offset=st.integers(0, LARGEST_OFFSET)))
def test_a_coordinate_comes_back_as_it_was(origin: Origin) -> None:
    assert decode_key(encode_key(origin)) == origin


@given(st.integers(0, 10**6), st.integers(1, 10**6), st.integers(0, LARGEST_INHERITED_OFFSET))
def test_the_place_of_what_was_inherited_comes_back_as_it_was(former: int, more: int, offset: int) -> None:
    place = Inherited(former + more, Origin(former, offset))
    assert decode_key(encode_key(place)) == place


def test_a_key_is_what_people_read_in_a_console() -> None:
    assert encode_key(Origin(3, 1841)) == b"3-1841"
    assert encode_key(Inherited(11, Origin(3, 1841))) == b"3-1841>11"


def test_the_largest_offsets_have_keys() -> None:
    assert decode_key(b"3-%d" % LARGEST_OFFSET) == Origin(3, LARGEST_OFFSET)
    inherited = Inherited(11, Origin(3, LARGEST_INHERITED_OFFSET))
    assert decode_key(b"3-%d>11" % LARGEST_INHERITED_OFFSET) == inherited


def test_what_is_inherited_of_a_decision_is_what_dedupe_asks_for_and_nothing_to_emit() -> None:
    refusal = Refusal(3, Stage.PARSE, Reason.TOPIC_MALFORMED, "")
    fingerprints = bytes(range(2 * FINGERPRINT_BYTES))
    whole = Decision(
        FORMAT, 4, 1.0, b"8 bytes.", [7], [refusal], fingerprints, 3, 1839, 5, [(4, 1841, 0)] * 2
    )
    heirs = Decision(FORMAT, 4, 1.0, b"8 bytes.", [], [], fingerprints, 0, 1839, 5, [(4, 1841, 0)] * 2)
    assert inheritance(whole) == heirs


def test_fingerprints_are_sixteen_bytes_of_id_and_eight_of_content_each() -> None:
    packed = b"i" * 16 + b"c" * 8 + b"I" * 16 + b"C" * 8
    assert list(unpack(packed)) == [(b"i" * 16, b"c" * 8), (b"I" * 16, b"C" * 8)]
    assert list(unpack(b"")) == []


@pytest.mark.parametrize(
    "fingerprints", [b"x", b"x" * (FINGERPRINT_BYTES - 1), b"x" * (FINGERPRINT_BYTES + 1)]
)
def test_a_part_of_a_fingerprint_is_refused(fingerprints: bytes) -> None:
    with pytest.raises(MalformedRecord):
        decode(encode(Decision(FORMAT, 0, 0.0, b"8 bytes.", [], [], fingerprints)))


@given(st.binary())
def test_rubbish_is_refused_or_a_decision_but_never_a_crash(value: bytes) -> None:
    for read in (decode, decode_key):
        try:
            read(value)
        except (MalformedRecord, NewerFormat):
            continue


@pytest.mark.parametrize(
    "key",
    [
        b"",
        b"3",
        b"-",
        b"3-",
        b"-4",
        b"3-x",
        b"\xb2-1",
        b"3-1-2",
        b"3-1\n",
        b"03-1",
        b"3-01",
        b"3-9223372036854775808",
        b"3-" + b"9" * 5000,  # more digits than Python reads
        b"9" * 5000 + b"-3",
        b"3-1>",
        b"3-1>011",
        b"3-1>3",  # none inherits from itself
        b"11-1>3",  # partitions are only added
        b"3-%d>11" % (LARGEST_INHERITED_OFFSET + 1),
        b"3-%d" % (LARGEST_OFFSET + 1),
    ],
    ids=range(20),
)
def test_a_key_that_is_no_coordinate_is_refused(key: bytes) -> None:
    with pytest.raises(MalformedRecord):
        decode_key(key)


@pytest.mark.parametrize("written", [1, 0, -1, LARGEST_FORMAT + 1, 2**62])
def test_a_decision_of_a_format_that_no_version_beside_this_one_writes_is_refused(written: int) -> None:
    value = encode(Decision(written, 0, 0.0, b"8 bytes.", [], [], b""))
    with pytest.raises(MalformedRecord, match=f"format {written}"):
        decode(value)


@pytest.mark.parametrize("written", [FORMAT + 1, LARGEST_FORMAT])
def test_a_decision_of_a_newer_version_is_not_taken_for_rubbish(written: int) -> None:
    """To pass it over would be to believe an older one."""
    value = encode(Decision(written, 0, 0.0, b"8 bytes.", [], [], b""))
    told = f"^a decision .*format {written}; this version reads up to {FORMAT}"
    with pytest.raises(NewerFormat, match=told) as refused:
        decode(value)
    assert (refused.value.written, refused.value.known) == (written, FORMAT)


@pytest.mark.parametrize(
    "fields", [[], [1], ["four", {}, None], [{"epoch": 4}], [4, 1.0, b"8 bytes.", [0], [], b"", 0, 7, 8, 9]]
)
def test_a_newer_version_is_known_whatever_has_become_of_the_other_fields(fields: list[object]) -> None:
    with pytest.raises(NewerFormat, match=f"format {FORMAT + 1}"):
        decode(msgspec.msgpack.encode([FORMAT + 1, *fields]))


@pytest.mark.parametrize("words", [("validate", "value_too_round"), ("weigh", "value_missing")])
def test_a_reason_that_only_a_newer_version_knows_is_not_taken_for_rubbish(words: tuple[str, str]) -> None:
    row = [FORMAT, 4, 1.0, b"8 bytes.", [7], [[3, *words, "whatever"]], b"", 0, 1839, 5, []]
    told = r"^a decision was written by a newer version \(it says (value_too_round|weigh)\)"
    with pytest.raises(NewerFormat, match=told) as refused:
        decode(msgspec.msgpack.encode(row))
    assert (refused.value.written, refused.value.known) == (FORMAT, FORMAT)


@pytest.mark.parametrize(
    "refusal", [[3, "validate", "No Reason", ""], [3, "validate"], [-1, "weigh", "x", ""]]
)
def test_rubbish_is_not_taken_for_a_newer_version(refusal: list[object]) -> None:
    with pytest.raises(MalformedRecord):
        decode(msgspec.msgpack.encode([FORMAT, 4, 1.0, b"8 bytes.", [7], [refusal], b""]))


SHORT = [FORMAT, 4, 1.0, b"8 bytes.", [7], [], b""]


@pytest.mark.parametrize("later", [[], [3], [3, 1839], [3, 1839, 2**32 + 5]])
def test_fields_that_an_older_version_did_not_write_have_their_defaults(later: list[int]) -> None:
    found = decode(msgspec.msgpack.encode([*SHORT, *later]))
    assert [found.unsettled, found.last_emitted, found.term] == [*later, *[0, NONE_EMITTED, 0][len(later) :]]
    assert (found.epoch, found.duplicates) == (4, [7])


def test_fields_that_a_later_version_adds_are_ignored() -> None:
    longer = msgspec.msgpack.encode([*SHORT, 3, 1839, 5, [], {"of": "a later version"}, [None]])
    assert decode(longer) == Decision(FORMAT, 4, 1.0, b"8 bytes.", [7], [], b"", 3, 1839, 5)


def test_a_refused_key_is_shown_but_not_all_of_it() -> None:
    with pytest.raises(MalformedRecord) as refused:
        decode_key(b"x" * 1_000_000)
    assert len(str(refused.value)) < 100


LYING: list[dict[str, Any]] = [
    {"decided_at": math.nan},
    {"decided_at": math.inf},
    {"epoch": -1},
    {"epoch": 2**63},
    {"duplicates": [-1]},
    {"last_emitted": -2},
    {"last_emitted": LARGEST_OFFSET + 1},
    {"term": -1},
    {"term": 2**63},
    {"refusals": [Refusal(-1, Stage.PARSE, Reason.TOPIC_MALFORMED, "")]},
]


@pytest.mark.parametrize("lie", LYING, ids=str)
def test_a_decision_with_numbers_that_none_can_have_is_refused(lie: dict[str, Any]) -> None:
    good = Decision(FORMAT, 1, 1.0, b"8 bytes.", [0], [], b"")
    assert decode(encode(good)) == good
    with pytest.raises(MalformedRecord, match="not a decision"):
        decode(encode(msgspec.structs.replace(good, **lie)))


def test_nesting_behind_a_decision_that_no_stack_can_hold_is_refused() -> None:
    longer = bytearray(encode(Decision(FORMAT, 1, 1.0, b"8 bytes.", [], [], b"")))
    longer[0] += 1  # an array of one element more, as a later version might write
    with pytest.raises(MalformedRecord, match="recursion"):
        decode(bytes(longer) + b"\x91" * 100_000)
