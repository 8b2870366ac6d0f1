"""An id is found by its entry alone, also where its bytes stand across two other fields."""

import pytest

from streams.wire.decision import CONTENT_BYTES, ID_BYTES
from tables.fingerprints import FEWEST_IN_A_BUCKET, MOST_IN_A_BUCKET, OFFSET_BYTES, Fingerprints

ID = bytes(range(1, ID_BYTES + 1))
CONTENT, OTHER = b"content!", b"another!"


def across(shift: int, id_: bytes = ID, content: bytes = CONTENT) -> bytes:
    """Return the id that stands so many bytes into the entry of another one."""
    return (id_ + content + bytes(OFFSET_BYTES) + id_)[shift : shift + ID_BYTES]


@pytest.mark.parametrize("shift", [1, 2, CONTENT_BYTES, ID_BYTES - 1, ID_BYTES])
@pytest.mark.parametrize("is_first", [True, False])
def test_what_stands_across_two_fields_is_no_entry(shift: int, *, is_first: bool) -> None:
    index, hidden = Fingerprints(), across(shift)
    index.add(ID + CONTENT, 0)
    assert list(index.find([hidden])) == []
    index = Fingerprints()
    entries = [ID + CONTENT, hidden + OTHER]
    for entry in entries if is_first else reversed(entries):
        index.add(entry, 0)
    assert len(index) == 2
    assert set(index.find([ID, hidden])) == {(ID, CONTENT, 0), (hidden, OTHER, 0)}
    index.add(hidden + CONTENT, 7)
    assert set(index.find([ID, hidden])) == {(ID, CONTENT, 0), (hidden, CONTENT, 7)}


@pytest.mark.parametrize("is_first", [True, False])
def test_an_offset_that_stands_across_two_fields_is_not_that_of_a_decision(*, is_first: bool) -> None:
    offset = int.from_bytes(ID[3 : 3 + OFFSET_BYTES])
    index = Fingerprints()
    places = {}
    decisions = {1: ID + CONTENT, offset: ID[::-1] + OTHER}
    for at in sorted(decisions, reverse=not is_first):
        places[at] = index.add(decisions[at], at)
    index.remove(places[offset], offset)
    assert list(index.find([ID, ID[::-1]])) == [(ID, CONTENT, 1)]
    assert len(index) == 1


def test_it_grows_and_shrinks_with_its_entries() -> None:
    index, places = Fingerprints(), []
    for number in range(500):
        places.append(index.add(number.to_bytes(ID_BYTES) + CONTENT, number))
        assert len(index) == number + 1
        assert index.buckets == max(1, -(-len(index) // MOST_IN_A_BUCKET))
    buckets = index.buckets
    for number in range(500):
        index.remove(places[number], number)
        left = 499 - number
        assert len(index) == left
        assert len(list(index)) == left
        buckets = min(buckets, max(1, left // FEWEST_IN_A_BUCKET))
        assert index.buckets == buckets
    assert index.buckets == 1
    assert list(index.find([bytes(ID_BYTES)])) == []


def test_what_a_later_decision_took_over_stays_when_the_earlier_one_goes() -> None:
    index = Fingerprints()
    early = index.add(ID + CONTENT, 1)
    late = index.add(ID + OTHER, 2)
    index.remove(early, 1)
    assert list(index.find([ID])) == [(ID, OTHER, 2)]
    index.remove(late, 2)
    assert len(index) == 0
