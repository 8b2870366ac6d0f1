"""What dedupe remembers of chunks that are decided on together, and what it makes of what was put back."""

from collections.abc import Mapping

from agents.dedupe import DedupeResult, Overlay, accepted, dedupe, dedupe_replay
from streams.models import Candidate
from streams.wire.decision import FORMAT, Decision, First
from tables.state import LAST_INDEX, PartitionState
from tests.unit.agents.test_stale import READING

A, B, C = (letter * 16 for letter in (b"a", b"b", b"c"))
ONE, TWO = (digit * 8 for digit in (b"1", b"2"))


def candidate(id_: bytes | None, content: bytes = ONE) -> Candidate:
    return Candidate(READING, id_, content)


def decision(*pairs: tuple[bytes, bytes], firsts: list[First] | None = None, epoch: int = 4) -> Decision:
    packed = b"".join(id_ + content for id_, content in pairs)
    return Decision(FORMAT, epoch, 100.0, b"8 bytes.", [], [], packed, firsts=firsts or [])


def remembering(*pairs: tuple[bytes, bytes]) -> PartitionState:
    state = PartitionState()
    state.add(7, decision(*pairs))
    return state


def test_what_a_chunk_before_has_accepted_is_known_to_the_next_one() -> None:
    overlay = Overlay(remembering((A, ONE), (B, ONE)))
    assert overlay.known(iter([A, B, C]), 0.0) == {A: ONE, B: ONE}
    overlay.accept(8, decision((B, TWO)))
    overlay.accept(9, decision((C, TWO)))
    assert overlay.known(iter([A, B, C]), 0.0) == {A: ONE, B: TWO, C: TWO}
    assert overlay.known([A], 0.0) == {A: ONE}
    assert overlay.known([A, B], 100.5) == {B: TWO}


def test_it_is_known_where_each_message_stood_that_was_accepted_last() -> None:
    overlay = Overlay(remembering((A, ONE), (B, ONE)))
    overlay.accept(8, decision((B, TWO), epoch=5))
    overlay.accept(9, decision((C, TWO), firsts=[(3, 11, 2)]))
    places: Mapping[bytes, First] = {A: (4, 7, LAST_INDEX), B: (5, 8, LAST_INDEX), C: (3, 11, 2)}
    assert overlay.accepted_at(iter([A, B, C])) == places
    assert overlay.accepted_at([A]) == {A: places[A]}
    assert overlay.accepted_at([b"d" * 16]) == {}


def test_what_was_put_back_goes_on_unless_something_newer_has_its_id() -> None:
    chunk = {0: candidate(A), 1: candidate(B), 3: candidate(None), 4: candidate(C, TWO)}
    firsts: dict[int, First] = {0: (4, 5, 0), 1: (4, 5, 1), 3: (4, 5, 2), 4: (4, 5, 3)}
    verdict = dedupe_replay(chunk, firsts, {A: (4, 5, 0), B: (4, 5, 0)})
    assert verdict == DedupeResult([0], B + ONE + C + TWO, [(4, 5, 1), (4, 5, 3)])


def test_within_what_was_put_back_the_message_that_came_last_counts() -> None:
    chunk = {0: candidate(None), 1: candidate(A), 2: candidate(A, TWO), 3: candidate(A), 4: candidate(B)}
    firsts: dict[int, First] = {0: (4, 1, 0), 1: (4, 5, 1), 2: (4, 5, 0), 3: (4, 6, 0), 4: (4, 1, 1)}
    verdict = dedupe_replay(chunk, firsts, {})
    assert verdict == DedupeResult([2], A + ONE + A + ONE + B + ONE, [(4, 5, 1), (4, 6, 0), (4, 1, 1)])


def test_nothing_that_was_put_back_is_nothing() -> None:
    assert dedupe_replay({}, {}, {}) == DedupeResult([], b"", [])


def test_a_reading_without_an_id_is_no_duplicate_and_leaves_those_behind_it_to_be_judged() -> None:
    chunk = {0: candidate(None), 1: candidate(A), 2: candidate(A), 3: candidate(B, TWO)}
    verdict = dedupe(chunk, remembering((B, ONE)), 0.0)
    assert verdict == DedupeResult([2], A + ONE + B + TWO)
    assert accepted(chunk, verdict.duplicates) == [chunk[0], chunk[1], chunk[3]]


def test_what_was_accepted_before_the_window_is_no_duplicate() -> None:
    seen = remembering((A, ONE))
    assert dedupe({0: candidate(A)}, seen, 100.0).duplicates == [0]
    assert dedupe({0: candidate(A)}, seen, 100.5).duplicates == []
