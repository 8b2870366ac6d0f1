"""Which partitions take over whose tenants."""

import uuid

import pytest
from hypothesis import given
from hypothesis import strategies as st

from streams.errors import BadArgument
from streams.growth.heirs import check_numbers, former_partitions, heirs
from streams.ingress.chunking import partition_of

tenants = st.uuids().map(str)


@given(tenants, st.integers(1, 64), st.integers(2, 5))
def test_a_tenant_stays_or_moves_to_an_heir_of_its_partition(tenant: str, before: int, factor: int) -> None:
    former, present = partition_of(tenant, before), partition_of(tenant, before * factor)
    assert present == former or present in heirs(former, before, before * factor)


@given(st.integers(1, 64), st.integers(2, 5))
def test_each_new_partition_is_the_heir_of_just_one(before: int, factor: int) -> None:
    new = [heir for partition in range(before) for heir in heirs(partition, before, before * factor)]
    assert sorted(new) == list(range(before, before * factor))


@given(tenants, st.integers(1, 12), st.lists(st.integers(2, 4), min_size=1, max_size=4), st.data())
def test_wherever_a_tenant_was_since_is_among_its_former_partitions(
    tenant: str, first: int, factors: list[int], data: st.DataObject
) -> None:
    counts = [first]
    for factor in factors:
        counts.append(counts[-1] * factor)
    since = data.draw(st.integers(0, len(counts) - 1))
    stood_in = partition_of(tenant, counts[since])
    was_in = {partition_of(tenant, count) for count in counts[since:]}
    assert was_in <= former_partitions(f"metrics/{tenant}/a/b", stood_in, counts[-1])


def test_of_a_tenant_that_has_not_moved_there_is_one() -> None:
    tenant = str(uuid.uuid4())
    stands_in = partition_of(tenant, 16)
    assert former_partitions(f"metrics/{tenant}/a/b", stands_in, 16) == {stands_in}


@pytest.mark.parametrize(("counts", "after"), [([8], 16), ([8, 8], 8), ([8, 16], 16), ([4, 8], 16), ([3], 9)])
def test_a_multiple_is_fine(counts: list[int], after: int) -> None:
    check_numbers(counts, after)


@pytest.mark.parametrize(
    ("counts", "after", "told"),
    [
        ([8], 12, "12 is no multiple of 8.*Use 16"),
        ([8], 20, "Use 24"),
        ([8], 4, "8 partitions already"),
        ([8, 16], 8, "16 partitions already"),
    ],
)
def test_anything_else_is_one_line_that_says_what_is_possible(
    counts: list[int], after: int, told: str
) -> None:
    with pytest.raises(BadArgument, match=told) as refused:
        check_numbers(counts, after)
    assert len(str(refused.value).splitlines()) == 1
