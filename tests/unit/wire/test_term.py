"""Terms only grow, whatever becomes of the group's generations and of the log."""

from hypothesis import given
from hypothesis import strategies as st

from streams.wire.headers import read_term
from streams.wire.term import GENERATION_MASK, NO_TERM, Term

lineages = st.integers(0, 2**28)
generations = st.integers(0, GENERATION_MASK)
terms = st.builds(Term, lineages, generations)
minutes = st.integers(0, 2**28)


@given(terms)
def test_a_term_is_read_back_from_the_header(term: Term) -> None:
    assert Term.of(read_term({"term": b"%d" % term.packed})) == term


@given(terms, terms)
def test_numbers_compare_as_terms_do(one: Term, other: Term) -> None:
    assert (one < other) == (one.packed < other.packed)


@given(terms, generations, minutes)
def test_a_successor_is_always_above(term: Term, generation: int, minute: int) -> None:
    assert term.successor(generation, minute) > term


def test_the_generation_alone_grows_while_the_group_lives() -> None:
    assert Term(29_487_796, 7).successor(9, minute=29_500_000) == Term(29_487_796, 9)


def test_a_group_that_was_deleted_begins_a_lineage_above() -> None:
    assert Term(29_487_796, 700).successor(1, minute=29_500_000) == Term(29_500_000, 1)


def test_a_clock_that_went_back_takes_no_term_back() -> None:
    assert Term(29_487_796, 700).successor(1, minute=5) == Term(29_487_797, 1)


def test_where_the_log_tells_nothing_the_clock_keeps_a_term_above_those_that_refine_may_remember() -> None:
    assert NO_TERM.successor(3, minute=29_500_000) == Term(29_500_000, 3)
