"""The fence as Redis holds it: what was written comes back, and a mark is never far from any place."""

import math
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from streams.errors import NewerFormat
from streams.laravel.fence import DISTANCE, FORMAT, MARK_EVERY, Fence, FenceMark, FenceState, thinned
from streams.wire.headers import ChainLink

DIGEST = bytes.fromhex("8c1f2a9e00d4b7f3")
OTHER = bytes.fromhex("77aa00112233aabb")
LINK = ChainLink(b"2c26b46b68ffc68f", 431)
TEXTS = (
    "4:1841:1702",
    "1;8812;1702;8c1f2a9e00d4b7f3;2c26b46b68ffc68f.431",
    "8800.4.1836.1690.77aa00112233aabb.2c26b46b68ffc68f.419",
)
UNLINKED = ("4:1841:1702", "1;8812;1702;8c1f2a9e00d4b7f3", "8800.4.1836.1690.77aa00112233aabb")

offsets = st.integers(0, 2**63 - 1)
epochs = st.integers(0, 2**53)
digests = st.binary(min_size=8, max_size=8)
writers = st.binary(min_size=8, max_size=8).map(lambda name: name.hex().encode())
links = st.none() | st.builds(ChainLink, writers, offsets)
fences = st.builds(Fence, epochs, offsets, offsets, digests | st.just(b""), links)
marks = st.builds(FenceMark, st.integers(0, 2**62), epochs, offsets, offsets, digests, links)
standings = st.builds(FenceState, fences, st.integers(0, 2**62), st.lists(marks, max_size=5).map(tuple))


def test_a_standing_is_written_as_the_docstring_says() -> None:
    mark = FenceMark(8800, 4, 1836, 1690, OTHER, ChainLink(LINK.writer, 419))
    standing = FenceState(Fence(4, 1841, 1702, DIGEST, LINK), 8812, (mark,))
    assert standing.texts() == TEXTS
    assert FenceState.parse(*TEXTS) == standing


def test_a_record_that_does_not_tell_its_writer_leaves_it_out() -> None:
    standing = FenceState(Fence(4, 1841, 1702, DIGEST), 8812, (FenceMark(8800, 4, 1836, 1690, OTHER),))
    assert standing.texts() == UNLINKED
    assert FenceState.parse(*UNLINKED) == standing


@given(standings)
def test_a_standing_comes_back_as_it_was(standing: FenceState) -> None:
    assert FenceState.parse(*standing.texts()) == standing


def test_where_there_is_none_nothing_is_written_and_nothing_is_read() -> None:
    assert FenceState().texts() == ("", "", "")
    assert FenceState.parse("", "", "") == FenceState()
    assert FenceState().marks == []


@given(st.text(), st.text(), st.text())
def test_what_cannot_be_read_is_as_good_as_absent(fence: str, proof: str, locator: str) -> None:
    try:
        standing = FenceState.parse(fence, proof, locator)
    except NewerFormat:
        assert int(proof.split(";", maxsplit=1)[0]) > FORMAT
    else:
        assert all(isinstance(mark, Fence) for mark in standing.marks)


@pytest.mark.parametrize("fence", ["4:1841", "4:1841:1702:9", "4:-1:3", "4:1841:x", ":::", "\u0663:1:2"])
def test_a_fence_that_is_none_is_absent(fence: str) -> None:
    assert FenceState.parse(fence, TEXTS[1], TEXTS[2]).fence is None


@pytest.mark.parametrize("proof", ["2;8812;1702;8c1f2a9e00d4b7f3", "2;", "9;whatever;it says", "10;"])
def test_a_proof_of_a_newer_version_is_not_taken_for_absent(proof: str) -> None:
    with pytest.raises(NewerFormat, match="was written by a newer version"):
        FenceState.parse(TEXTS[0], proof, TEXTS[2])


def test_where_an_older_version_has_pushed_since_the_proof_is_not_about_the_fence() -> None:
    """That one moves the fence alone; the marks stay true, since they say what lies before."""
    standing = FenceState.parse("4:1850:1711", *UNLINKED[1:])
    assert standing.fence == Fence(4, 1850, 1711)
    assert standing.push == 8812
    assert standing.marks == [Fence(4, 1850, 1711), Fence(4, 1836, 1690, OTHER)]


def test_a_fence_without_a_digest_becomes_no_mark() -> None:
    standing = FenceState(Fence(4, 1850, 1711), 2 * MARK_EVERY - 1, (FenceMark(9, 4, 1, 1, OTHER),))
    assert standing.moved(Fence(4, 1851, 1712, DIGEST)).locator == standing.locator


def test_of_marks_those_that_cannot_be_read_are_left_out_and_the_others_stay() -> None:
    standing = FenceState.parse(TEXTS[0], TEXTS[1], f"rubbish,{UNLINKED[2]},1.2.3,,8.4.1.1.short")
    assert standing.locator == (FenceMark(8800, 4, 1836, 1690, OTHER),)


def pushed(count: int) -> FenceState:
    standing = FenceState()
    for number in range(1, count + 1):
        standing = standing.moved(Fence(1, number, number, number.to_bytes(8)))
    return standing


@pytest.mark.parametrize("pushes", [1, 15, 16, 17, 100, 1_000, 20_000])
def test_for_any_place_some_mark_lies_at_most_twice_as_far_back_and_they_are_few(pushes: int) -> None:
    standing = pushed(pushes)
    assert standing.fence is not None
    assert len(standing.locator) <= 2 * math.log2(pushes) + 1
    distances = [standing.fence.unique_offset - mark.unique_offset for mark in standing.marks]
    assert distances == sorted(distances)
    oldest = distances[-1]
    assert oldest >= pushes - 2 * MARK_EVERY
    for missing in range(1, oldest + 1):
        next_mark = next(distance for distance in distances if distance >= missing)
        assert next_mark <= max(DISTANCE * (missing + MARK_EVERY), 2 * MARK_EVERY)


def test_each_mark_is_a_fence_as_it_stood_after_the_push_that_it_names() -> None:
    for mark in pushed(1_000).locator:
        assert mark.fence == Fence(1, mark.push, mark.push, mark.push.to_bytes(8))


@given(st.lists(st.integers(1, 10**9), max_size=60, unique=True), st.integers(1, 100))
def test_of_any_marks_the_newest_and_the_oldest_stay_and_no_gap_more_than_doubles_by_thinning(
    numbers: list[int], behind: int
) -> None:
    given_marks = [FenceMark(number, 1, number, number, DIGEST) for number in sorted(numbers, reverse=True)]
    push = max(numbers, default=0) + behind
    kept = thinned(push, given_marks)
    assert [mark for mark in given_marks if mark in kept] == list(kept)
    assert set(given_marks[:1] + given_marks[-1:]) <= set(kept)
    for newer, older in pairwise(kept):
        between = [mark for mark in given_marks if older.push < mark.push < newer.push]
        assert not between or push - older.push <= DISTANCE * max(1, push - newer.push)
