"""Who sends the most is found, however many send."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from streams.dashboard.busiest import HALF_LIFE_S, Busiest


def test_a_steady_rate_is_told_as_such() -> None:
    busiest = Busiest()
    for second in range(int(HALF_LIFE_S * 10)):
        busiest.note({"steady": 50})
        busiest.fold(float(second), 1.0)
    (busy,) = busiest.top(5)
    assert busy.per_s == pytest.approx(50, rel=0.05)
    assert busy.total == 50 * HALF_LIFE_S * 10


def test_who_ceases_to_send_fades_and_keeps_its_last_time() -> None:
    busiest = Busiest()
    busiest.note({"gone": 1000})
    busiest.fold(100.0, 1.0)
    first = busiest.top(1)[0].per_s
    for second in range(int(HALF_LIFE_S)):
        busiest.fold(101.0 + second, 1.0)
    (busy,) = busiest.top(1)
    assert busy.per_s == pytest.approx(first / 2)
    assert busy.last == 100.0


def test_the_busy_ones_are_found_among_thousands_of_others() -> None:
    busiest = Busiest(kept=64)
    for second in range(20):
        busiest.note({f"small-{second}-{n}": 1 for n in range(3_000)})
        busiest.note({f"busy-{n}": 500 + n for n in range(5)})
        busiest.fold(float(second), 1.0)
    assert {busy.key for busy in busiest.top(5)} == {f"busy-{n}" for n in range(5)}
    assert len(busiest) <= 64


def test_one_that_becomes_busy_is_found_though_the_table_was_full() -> None:
    busiest = Busiest(kept=4)
    for second in range(30):
        busiest.note({f"old-{n}": 100 for n in range(8)} | ({"new": 1_000} if second > 20 else {}))
        busiest.fold(float(second), 1.0)
    assert busiest.top(1)[0].key == "new"


def test_the_keys_of_one_second_are_bounded() -> None:
    busiest = Busiest(kept=10, noted=100)
    busiest.note({str(n): 1 for n in range(10_000)})
    assert len(busiest._noted) == 100
    busiest.note({"0": 4})
    busiest.fold(1.0, 1.0)
    assert busiest.top(1)[0].total == 5


def test_the_latest_come_first() -> None:
    busiest = Busiest()
    for second, key in enumerate(["a", "b", "c"]):
        busiest.note({key: 100 - second})
        busiest.fold(float(second), 1.0)
    assert [busy.key for busy in busiest.latest(2)] == ["c", "b"]


@given(st.lists(st.dictionaries(st.sampled_from("abcdefgh"), st.integers(1, 50)), max_size=30))
def test_no_rate_is_told_higher_than_it_is(seconds: list[dict[str, int]]) -> None:
    few, all_ = Busiest(kept=3), Busiest(kept=100)
    for second, counts in enumerate(seconds):
        for busiest in (few, all_):
            busiest.note(counts)
            busiest.fold(float(second), 1.0)
    true = {busy.key: busy.per_s for busy in all_.top(100)}
    assert all(busy.per_s <= true[busy.key] + 1e-9 for busy in few.top(3))
