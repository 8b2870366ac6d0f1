"""The last fifteen minutes stay fifteen minutes."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from streams.dashboard.ring import SECONDS, Ring


def test_it_tells_the_seconds_in_their_order() -> None:
    ring = Ring(["received"])
    ring.add(1.0, {"received": 10})
    ring.add(2.0, {"received": 20})
    assert ring.history() == {"at": [1.0, 2.0], "received": [10.0, 20.0]}


def test_a_figure_that_is_not_known_is_none_and_not_zero() -> None:
    ring = Ring(["lag"])
    ring.add(1.0, {})
    ring.add(2.0, {"lag": 0})
    assert ring.history()["lag"] == [None, 0.0]


@pytest.mark.parametrize(("figure", "names"), [(0.0, {"at", "lag"}), (1.0, {"at", "lag", "rejected:x"})])
def test_a_quiet_figure_is_told_once_it_was_more_than_zero(figure: float, names: set[str]) -> None:
    ring = Ring(["lag", "rejected:x"], quiet=["rejected:x"])
    ring.add(1.0, {"lag": 0, "rejected:x": figure})
    assert ring.history().keys() == names


def test_what_the_ring_has_no_name_for_is_left_out() -> None:
    ring = Ring(["a"])
    ring.add(1.0, {"b": 1})
    assert ring.history() == {"at": [1.0], "a": [None]}


@given(st.integers(1, 7), st.integers(0, 30))
def test_it_keeps_the_latest_and_no_more(capacity: int, seconds: int) -> None:
    ring = Ring(["n"], capacity=capacity)
    for second in range(seconds):
        ring.add(float(second), {"n": second})
    expected = [float(second) for second in range(seconds)][-capacity:]
    assert ring.history() == {"at": expected, "n": expected}
    assert len(ring) == min(capacity, seconds)


def test_fifteen_minutes_are_kept() -> None:
    ring = Ring(["n"])
    for second in range(SECONDS + 100):
        ring.add(float(second), {"n": 1})
    assert len(ring.history()["at"]) == 900
