"""What a partition has inherited counts as if it had decided that itself, before all else."""

from collections.abc import Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st

from streams.errors import MalformedRecord
from streams.growth.estate import Estate
from streams.models import Origin
from streams.wire.decision import FORMAT, LARGEST_INHERITED_OFFSET, Decision, Inherited, encode, encode_key
from tables.lineage import is_own, offset_of, rank_of
from tables.seen import apply_row
from tables.state import LAST_INDEX, PartitionState, SeenState

WINDOW_S = 100.0
FORMER, HEIR = 3, 11
IDS = [bytes([number]) * 16 for number in range(4)]
pairs = st.lists(st.tuples(st.sampled_from(IDS), st.binary(min_size=8, max_size=8)), max_size=3)


def decision(
    *accepted: tuple[bytes, bytes],
    at: float = 0.0,
    epoch: int = 1,
    firsts: Sequence[tuple[int, int, int]] = (),
) -> Decision:
    packed = b"".join(id_ + content for id_, content in accepted)
    return Decision(FORMAT, epoch, at, b"8 bytes.", [], [], packed, firsts=list(firsts))


def state(max_ids: int = 1_000) -> SeenState:
    return SeenState(window_s=WINDOW_S, max_ids=max_ids)


def grown(decisions: list[Decision]) -> SeenState:
    """Return the memory of an heir's worker, after a partition has made these decisions."""
    estate = Estate(FORMER)
    for offset, each in enumerate(decisions):
        estate.take(encode_key(Origin(FORMER, offset)), encode(each))
    seen = state()
    for key, value in estate.rows_for(HEIR):
        apply_row(seen, HEIR, key, value)
    return seen


@given(st.lists(pairs, max_size=6), st.lists(pairs, max_size=6))
def test_an_heir_knows_what_its_former_partition_would_know_had_it_gone_on(
    before: list[list[tuple[bytes, bytes]]], since: list[list[tuple[bytes, bytes]]]
) -> None:
    one, seen = PartitionState(), grown([decision(*each) for each in before])
    heir = seen.partition(HEIR)
    for offset, each in enumerate([*before, *since]):
        one.add(offset, decision(*each))
    for offset, each in enumerate(since):
        heir.add(offset, decision(*each))
    assert heir.known(IDS, 0.0) == one.known(IDS, 0.0)
    assert heir.ids == one.ids


def test_a_copy_that_was_made_several_times_counts_once() -> None:
    """Each kill of the command may leave one more."""
    decisions = [decision((id_, b"contents")) for id_ in IDS]
    once, seen, estate = grown(decisions).partition(HEIR), state(), Estate(FORMER)
    for offset, each in enumerate(decisions):
        estate.take(encode_key(Origin(FORMER, offset)), encode(each))
    for rows in [list(estate.rows_for(HEIR))] * 4:
        for key, value in rows:
            apply_row(seen, HEIR, key, value)
    assert seen.partition(HEIR).known(IDS, 0.0) == once.known(IDS, 0.0) == dict.fromkeys(IDS, b"contents")
    assert seen.ids == once.ids == len(IDS)


def test_no_position_and_no_end_rests_on_what_was_inherited() -> None:
    heir = grown([decision((IDS[0], b"contents"), epoch=4)]).partition(HEIR)
    assert (heir.last, heir.last_offset, heir.settled_below, heir.unsettled) == (None, None, None, {})
    assert list(heir.offsets()) == heir.offsets_from(0) == []
    assert heir.inherited() == [Origin(FORMER, 0)]


def test_the_first_epoch_is_to_be_above_that_of_the_former_partition() -> None:
    assert grown([decision(epoch=4), decision(epoch=6)]).partition(HEIR).decided_in == 6


def test_where_a_message_stood_first_is_told_in_the_former_partitions_epoch() -> None:
    heir = grown([decision((IDS[0], b"contents"), epoch=4)]).partition(HEIR)
    heir.add(0, decision((IDS[1], b"contents"), epoch=5))
    found = heir.accepted_at(IDS)
    assert found == {IDS[0]: (4, 0, LAST_INDEX), IDS[1]: (5, 0, LAST_INDEX)}
    assert found[IDS[0]] < (4, 1, 0) < found[IDS[1]], "one rejected before the growth comes in between"


def test_a_replay_that_was_inherited_keeps_the_first_place() -> None:
    heir = grown([decision((IDS[0], b"contents"), firsts=[(1, 9, 2)])]).partition(HEIR)
    assert heir.accepted_at(IDS) == {IDS[0]: (1, 9, 2)}


def test_until_a_partition_has_decided_itself_it_forgets_nothing_that_it_has_inherited() -> None:
    seen = grown([decision((IDS[0], b"contents")), decision()])
    assert seen.evictable(HEIR, now=10 * WINDOW_S, limit=8) == []
    seen.add(Origin(HEIR, 0), decision(at=10 * WINDOW_S))
    places = seen.evictable(HEIR, now=10 * WINDOW_S, limit=8)
    assert places == [Inherited(HEIR, Origin(FORMER, 0)), Inherited(HEIR, Origin(FORMER, 1))]
    for place in places:
        seen.remove(place)
    assert seen.partition(HEIR).known(IDS, 0.0) == {}
    assert seen.ids == 0


def test_where_there_are_too_many_ids_what_was_inherited_goes_before_what_came_since() -> None:
    seen = state(max_ids=1)
    seen.add(Inherited(HEIR, Origin(FORMER, 7)), decision((IDS[0], b"contents"), at=5.0))
    seen.add(Origin(HEIR, 0), decision((IDS[1], b"contents"), at=5.0))
    assert seen.evictable(HEIR, now=6.0, limit=8) == [Inherited(HEIR, Origin(FORMER, 7))]


def test_what_two_generations_have_decided_counts_in_their_order() -> None:
    seen = state()
    seen.add(Inherited(27, Origin(11, 0)), decision((IDS[0], b"second..")))
    seen.add(Inherited(27, Origin(3, 900)), decision((IDS[0], b"first...")))
    assert seen.partition(27).seen(IDS[0], 0.0) == b"second.."


def test_one_cannot_have_come_from_two_partitions_of_a_generation() -> None:
    seen = state()
    seen.add(Inherited(HEIR, Origin(3, 1)), decision((IDS[0], b"contents")))
    with pytest.raises(MalformedRecord, match="both 3 and 2"):
        seen.add(Inherited(HEIR, Origin(2, 1)), decision((IDS[0], b"contents")))
    assert seen.ids == 1


def test_a_tombstone_of_what_was_inherited_removes_it() -> None:
    seen = grown([decision((IDS[0], b"contents"))])
    apply_row(seen, HEIR, encode_key(Inherited(HEIR, Origin(FORMER, 0))), None)
    assert seen.ids == 0
    apply_row(seen, HEIR, encode_key(Inherited(HEIR, Origin(FORMER, 0))), None)


def test_what_another_partition_has_inherited_is_refused() -> None:
    row = encode_key(Inherited(HEIR, Origin(FORMER, 0)))
    with pytest.raises(MalformedRecord):
        apply_row(state(), FORMER, row, encode(decision()))


@given(st.integers(0, 2**31), st.integers(0, LARGEST_INHERITED_OFFSET))
def test_a_rank_tells_the_offset_and_is_below_all_of_the_partitions_own(partition: int, offset: int) -> None:
    rank = rank_of(Origin(partition, offset))
    assert not is_own(rank)
    assert offset_of(rank) == offset
