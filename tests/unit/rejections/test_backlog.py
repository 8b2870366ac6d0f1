"""What is held of each tenant: in its order, within bounds, and everybody's turn comes."""

import tracemalloc
from collections import Counter
from collections.abc import Callable

import pytest

from streams.ingress.quota import Quota
from streams.rejections.allowance import Allowance
from streams.rejections.backlog import (
    MESSAGES_OF_A_RUN,
    SLICE,
    GivenUp,
    HeldBacklog,
    HeldMessage,
    HeldRecord,
    NextMessages,
)

PLENTY = 10**9


def backlog(**limits: int) -> HeldBacklog:
    return HeldBacklog(**{"most_of_one": PLENTY, "most_bytes_of_one": PLENTY} | limits)


def record(offset: int, *tenants: str, written_ms: int = 0, size_bytes: int = 1) -> HeldRecord:
    messages = [HeldMessage(number, tenant, size_bytes) for number, tenant in enumerate(tenants)]
    return HeldRecord(0, offset, written_ms, offset, messages)


def choose(
    held: HeldBacklog,
    grants: Callable[[str, int], bool] = lambda _tenant, _size_bytes: True,
    **most: int,
) -> list[NextMessages]:
    limits = {"most_messages": PLENTY, "most_bytes": PLENTY, "most_chosen": PLENTY} | most
    return list(held.choose(grants, **limits))


def chosen(held: HeldBacklog, **most: int) -> list[NextMessages]:
    found = choose(held, **most)
    for each in found:
        held.taken(each)
    return found


def places(found: list[NextMessages]) -> list[tuple[str, int, list[int]]]:
    return [(each.tenant, each.place.offset, each.numbers) for each in found]


def test_each_tenants_messages_come_in_their_order_record_by_record() -> None:
    held = backlog()
    held.add(record(1, "a", "b", "a"))
    held.add(record(2, "b", "a"))
    assert len(held) == 5
    assert places(chosen(held)) == [("a", 1, [0, 2]), ("a", 2, [1]), ("b", 1, [1]), ("b", 2, [0])]
    assert len(held) == held.tenants == 0
    assert held.oldest_ms is None


def test_what_was_not_taken_is_chosen_again() -> None:
    held = backlog()
    held.add(record(1, "a", "a"))
    for _ in range(2):
        assert places(choose(held, most_messages=1)) == [("a", 1, [0])]


def test_who_had_a_turn_comes_behind_those_who_had_none() -> None:
    held = backlog()
    held.add(record(1, *"aaabbbccc"))
    assert [each.tenant for each in chosen(held, most_messages=4)] == ["a", "b"]
    assert [each.tenant for each in chosen(held, most_messages=4)] == ["c", "b"]
    assert [each.tenant for each in chosen(held)] == ["b"]


def test_a_refused_tenant_is_asked_about_no_more() -> None:
    held, asked = backlog(), Counter[str]()
    held.add(record(1, *"aaabb"))
    held.add(record(2, "a"))

    def grants(tenant: str, _size_bytes: int) -> bool:
        asked[tenant] += 1
        return tenant == "b"

    assert places(choose(held, grants)) == [("b", 1, [3, 4])]
    assert asked == {"a": 1, "b": 2}


def test_a_batch_has_a_limit_in_bytes_but_takes_one_message_in_any_case() -> None:
    held = backlog()
    held.add(record(1, *"aaaa", size_bytes=100))
    assert [each.numbers for each in chosen(held, most_bytes=150)] == [[0, 1]]
    assert [each.numbers for each in chosen(held, most_bytes=1)] == [[2]]


@pytest.mark.parametrize("most", [1, 2, 3])
def test_a_batch_is_of_so_many_records_and_tenants_at_most(most: int) -> None:
    held = backlog()
    for offset in range(4):
        held.add(record(offset, *"ab"))
    rounds = [chosen(held, most_chosen=most) for _ in range(8 // most + 1)]
    assert max(map(len, rounds)) == most
    for tenant in "ab":
        offsets = [each.place.offset for round_ in rounds for each in round_ if each.tenant == tenant]
        assert offsets == [0, 1, 2, 3]


@pytest.mark.parametrize(
    ("limits", "kept"),
    [
        ({"most_of_one": 3}, {"a": 3, "b": 2}),
        ({"most_bytes_of_one": 25}, {"a": 3, "b": 2}),
        ({"most": MESSAGES_OF_A_RUN + 4}, {"a": 4}),
        ({"most_tenants": 1}, {"a": 6}),
    ],
)
def test_what_is_beyond_a_bound_is_given_up_at_once(limits: dict[str, int], kept: dict[str, int]) -> None:
    held = backlog(**limits)
    held.add(record(1, *"aaaaaabb", size_bytes=10))
    assert held.take_given() == GivenUp(too_many=8 - sum(kept.values()), tenant="a" if "b" in kept else "b")
    assert held.take_given() == GivenUp()
    counts: Counter[str] = Counter()
    for each in chosen(held):
        counts[each.tenant] += len(each.numbers)
    assert counts == kept


def test_what_is_too_old_is_given_up_also_what_came_too_late() -> None:
    held = backlog()
    held.add(record(1, "a", "a", written_ms=10))
    held.add(record(2, "b", "a", written_ms=20))
    assert held.oldest_ms == 10
    assert list(held.expire(20)) == []
    held.add(record(3, "c", written_ms=19), since_ms=20)
    assert held.take_given() == GivenUp(too_old=3, tenant="c")
    assert held.oldest_ms == 20
    assert held.worst[1] == 1
    assert places(chosen(held)) == [("a", 2, [1]), ("b", 2, [0])]


def test_places_cost_some_ten_bytes_a_message_and_little_more_a_tenant() -> None:
    held = backlog()
    tracemalloc.start()
    for offset in range(100):
        held.add(record(offset, *["a"] * 1_000))
    size_bytes, _ = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert size_bytes < 100_000 * 16


def test_where_each_message_is_another_tenants_fewer_are_held() -> None:
    held = backlog(most=100_000, most_tenants=PLENTY)
    tracemalloc.start()
    for offset in range(20):
        held.add(record(offset, *(f"{offset}-{number}" for number in range(1_000))))
    size_bytes, _ = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert len(held) == pytest.approx(100_000 / (MESSAGES_OF_A_RUN + 1), abs=1)
    assert size_bytes < 100_000 * 32
    for each in chosen(held):
        assert len(each.numbers) == 1
    while len(held):
        chosen(held)
    held.add(record(99, "a"))
    assert len(held) == 1


def test_others_have_turns_while_much_expires() -> None:
    held = backlog()
    for offset in range(3 * SLICE):
        held.add(record(offset, "a"))
    assert 3 <= len(list(held.expire(1))) <= 4
    assert held.take_given() == GivenUp(too_old=3 * SLICE, tenant="a")


def test_an_allowance_of_one_kind_is_no_limit_of_the_other() -> None:
    allowance = Allowance(Quota(float("inf"), 10, 10))
    allowance.begin(1)
    assert [allowance.grants("a", 5) for _ in range(3)] == [True, True, False]


def test_what_a_large_message_took_from_later_turns_is_not_forgotten_in_a_turn_without_that_tenant() -> None:
    allowance = Allowance(Quota(float("inf"), 10, 10))
    allowance.begin(5)
    assert allowance.grants("a", 1_000)
    for elapsed_s, is_granted in ((5, False), (85, False), (6, True)):
        allowance.begin(elapsed_s)
        allowance.begin(0.001)
        allowance.begin(0.001)
        assert allowance.grants("a", 1) is is_granted
