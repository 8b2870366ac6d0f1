"""The changelog record: what refine decided comes back as it was, and rubbish is refused."""

import math
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from streams.errors import MalformedRecord
from streams.models import Origin, Reason, Stage
from streams.wire.decision import (
    FINGERPRINT_BYTES,
    FORMAT,
    Decision,
    Refusal,
    decode,
    decode_key,
    encode,
    encode_key,
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
)


@given(decisions)
def test_a_decision_comes_back_as_it_was(decision: Decision) -> None:
    assert decode(encode(decision)) == decision


@given(st.builds(Origin, partition=st.integers(0, 10**6), offset=st.integers(0, 2**48 - 1)))
def test_a_coordinate_comes_back_as_it_was(origin: Origin) -> None:
    assert decode_key(encode_key(origin)) == origin


@given(st.binary())
def test_rubbish_is_refused_or_a_decision_but_never_a_crash(value: bytes) -> None:
    for read in (decode, decode_key):
        try:
            read(value)
        except MalformedRecord:
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
    ],
    ids=range(14),
)
def test_a_key_that_is_no_coordinate_is_refused(key: bytes) -> None:
    with pytest.raises(MalformedRecord):
        decode_key(key)


def test_a_decision_of_another_format_is_refused() -> None:
    value = encode(Decision(FORMAT + 1, 0, 0.0, b"8 bytes.", [], [], b""))
    with pytest.raises(MalformedRecord, match="format 2"):
        decode(value)


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
