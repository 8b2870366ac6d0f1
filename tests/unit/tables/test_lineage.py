"""Of two decisions the later one has the higher rank, and a rank tells where its decision was made."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from streams.errors import MalformedRecord
from streams.models import Origin
from streams.wire.decision import LARGEST_INHERITED_OFFSET, LARGEST_OFFSET
from tables.lineage import OWN, Lineage, is_own, offset_of, rank_of

inherited_offsets = st.integers(0, LARGEST_INHERITED_OFFSET)


@given(st.integers(0, LARGEST_OFFSET), st.integers(0, 2**31), inherited_offsets)
def test_what_a_partition_decided_itself_is_later_than_all_it_has_inherited(
    own: int, former: int, offset: int
) -> None:
    inherited = rank_of(Origin(former, offset))
    assert OWN + own > inherited
    assert (is_own(OWN + own), is_own(inherited)) == (True, False)
    assert (offset_of(OWN + own), offset_of(inherited)) == (own, offset)


@given(inherited_offsets, inherited_offsets)
def test_the_later_of_two_former_partitions_has_the_higher_ranks(early: int, late: int) -> None:
    assert rank_of(Origin(0, early)) < rank_of(Origin(1, late)) < rank_of(Origin(2, early))
    assert rank_of(Origin(3, early)) < rank_of(Origin(4, late)) < rank_of(Origin(9, early))


def test_a_rank_tells_the_place_of_its_decision_and_the_last_epoch_there() -> None:
    lineage = Lineage()
    assert not lineage
    ranks = [
        lineage.enter(Origin(5, 1841), 4),
        lineage.enter(Origin(1, 7), 2),
        lineage.enter(Origin(5, 9), 3),
    ]
    assert lineage
    assert [lineage.origin_at(rank) for rank in ranks] == [Origin(5, 1841), Origin(1, 7), Origin(5, 9)]
    assert [lineage.epoch_at(rank) for rank in ranks] == [4, 2, 4]


def test_the_first_epoch_of_all_is_told_as_well() -> None:
    lineage = Lineage()
    assert lineage.epoch_at(lineage.enter(Origin(5, 1841), 0)) == 0


def test_tenants_cannot_have_come_from_two_partitions_of_one_generation() -> None:
    lineage = Lineage()
    lineage.enter(Origin(5, 1), 3)
    with pytest.raises(MalformedRecord, match="from both 5 and 6"):
        lineage.enter(Origin(6, 1), 8)
    assert lineage.epoch_at(rank_of(Origin(5, 1))) == 3
