"""A former leader's chunk that landed late: it adds what is not known, and overwrites nothing."""

from collections.abc import Iterable
from typing import NamedTuple

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agents.dedupe import DedupeResult, accepted, dedupe, is_stale
from streams.models import Candidate, Reading
from streams.wire.decision import CONTENT_BYTES, ID_BYTES, unpack

A, B, C, D = (letter * ID_BYTES for letter in (b"a", b"b", b"c", b"d"))
ONE, TWO, THREE = (digit * CONTENT_BYTES for digit in (b"1", b"2", b"3"))
READING = Reading(
    index=0,
    tenant_id="tenant",
    agent_id="edge-1",
    metric_name="cpu",
    value=1.0,
    timestamp="2026-11-23 14:00:00.000000",
    dedupe_id=None,
    key="0" * 32,
)

ids = st.one_of(st.none(), st.sampled_from([A, B, C, D]))
contents = st.sampled_from([ONE, TWO, THREE])
chunks = st.lists(st.tuples(ids, contents), max_size=8)
remembered = st.dictionaries(st.sampled_from([A, B, C]), contents)


class Known:
    """A memory that is one dict."""

    def __init__(self, contents: dict[bytes, bytes]) -> None:
        self.contents = contents

    def known(self, ids: Iterable[bytes], _horizon: float) -> dict[bytes, bytes]:
        return {id_: self.contents[id_] for id_ in ids if id_ in self.contents}


@pytest.mark.parametrize(
    ("term", "highest", "stale"),
    [(4, 5, True), (5, 5, False), (6, 5, False), (0, 5, False), (1, 0, False), (0, 0, False)],
)
def test_a_lower_term_behind_a_higher_one_is_stale_and_one_that_does_not_tell_never(
    term: int, highest: int, *, stale: bool
) -> None:
    assert is_stale(term, highest) is stale


def candidates_of(chunk: list[tuple[bytes | None, bytes]]) -> dict[int, Candidate]:
    return {index: Candidate(READING, id_, content) for index, (id_, content) in enumerate(chunk)}


def late(chunk: list[tuple[bytes | None, bytes]], known: dict[bytes, bytes]) -> DedupeResult:
    return dedupe(candidates_of(chunk), Known(known), 0.0, stale=True)


def test_what_came_later_stands_whatever_a_stale_chunk_says() -> None:
    verdict = late([(A, ONE), (B, ONE), (A, TWO)], {A: TWO})

    assert verdict.duplicates == [0, 2]
    assert list(unpack(verdict.fingerprints)) == [(B, ONE)]


def test_without_being_stale_the_same_chunk_is_a_correction() -> None:
    verdict = dedupe(candidates_of([(A, ONE)]), Known({A: TWO}), 0.0)

    assert verdict.duplicates == []


def test_within_a_stale_chunk_a_correction_is_one() -> None:
    verdict = late([(A, ONE), (A, ONE), (A, TWO)], {})

    assert verdict.duplicates == [1]
    assert list(unpack(verdict.fingerprints)) == [(A, ONE), (A, TWO)]


@given(chunks, remembered)
def test_a_stale_chunk_overwrites_nothing(
    chunk: list[tuple[bytes | None, bytes]], known: dict[bytes, bytes]
) -> None:
    assert not {id_ for id_, _ in unpack(late(chunk, known).fingerprints)} & known.keys()


@given(chunks, remembered)
def test_a_stale_chunk_loses_nothing_that_is_not_known(
    chunk: list[tuple[bytes | None, bytes]], known: dict[bytes, bytes]
) -> None:
    verdict = late(chunk, known)
    kept = accepted(candidates_of(chunk), verdict.duplicates)
    assert [one for one in kept if one.id is None] == [
        one for one in candidates_of(chunk).values() if one.id is None
    ]
    last = {id_: content for id_, content in chunk if id_ is not None and id_ not in known}
    assert {one.id: one.content for one in kept if one.id is not None} == last


@given(chunks, remembered)
def test_duplicates_are_told_in_order_and_each_once(
    chunk: list[tuple[bytes | None, bytes]], known: dict[bytes, bytes]
) -> None:
    duplicates = late(chunk, known).duplicates

    assert duplicates == sorted(set(duplicates))


@given(chunks, remembered)
def test_where_nothing_is_known_a_stale_chunk_is_like_any_other(
    chunk: list[tuple[bytes | None, bytes]], known: dict[bytes, bytes]
) -> None:
    strange = [(id_, content) for id_, content in chunk if id_ not in known]

    assert late(strange, known) == dedupe(candidates_of(strange), Known(known), 0.0)


class Leaders(NamedTuple):
    """What two leaders write: the successor all of it again, since nothing was acknowledged."""

    former: list[list[tuple[bytes, bytes]]]
    successor: list[list[tuple[bytes, bytes]]]
    former_lands_after: list[int]
    """For each of the former leader's chunks, behind how many of the successor's it lands at least."""


@st.composite
def leaders(draw: st.DrawFn) -> Leaders:
    named = st.tuples(st.sampled_from([A, B, C]), contents)
    former = draw(st.lists(st.lists(named, min_size=1, max_size=3), max_size=4))
    news = draw(st.lists(named, max_size=4))
    messages = [*(one for chunk in former for one in chunk), *news]
    size = draw(st.integers(1, 3))
    successor = [messages[start : start + size] for start in range(0, len(messages), size)]
    after = draw(st.lists(st.integers(0, 6), min_size=len(former), max_size=len(former)))
    return Leaders(former, successor, sorted(after))


@given(leaders())
def test_wherever_a_former_leaders_chunks_land_each_id_ends_with_its_last_content(two: Leaders) -> None:
    log = [(after, 1, chunk) for after, chunk in zip(two.former_lands_after, two.former, strict=True)]
    log += [(number, 2, chunk) for number, chunk in enumerate(two.successor)]
    log.sort(key=lambda entry: (entry[0], entry[1]))
    known: dict[bytes, bytes] = {}
    highest = 0
    for _, term, chunk in log:
        verdict = dedupe(candidates_of(chunk), Known(known), 0.0, stale=is_stale(term, highest))
        known.update(unpack(verdict.fingerprints))
        highest = max(term, highest)

    assert known == {id_: content for chunk in two.successor for id_, content in chunk}
