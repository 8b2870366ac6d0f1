"""The content of a reading: fields that a device may leave out count where it sends them, and only there."""

from itertools import combinations

from streams.rules.identity import content
from streams.rules.topic import Series, read_topic

TIME = "2026-11-23 14:00:00.000000"


def test_a_further_field_counts_by_its_name_and_its_text() -> None:
    series = read_topic("metrics/7c9e6679-7425-40de-944b-e07fc1f90ae7/edge-7/cpu")
    assert isinstance(series, Series)
    sent = [
        content(series, 1.0, TIME),
        content(series, 1.0, TIME, [("unit", "°C")]),
        content(series, 1.0, TIME, [("unit", "K")]),
        content(series, 1.0, TIME, [("site", "K")]),
        content(series, 1.0, TIME, [("unit", "K"), ("site", "K")]),
        content(series, 1.0, TIME, [("unit", "")]),
        content(series, 2.0, TIME, [("unit", "K")]),
    ]
    assert all(one != other for one, other in combinations(sent, 2))


def test_a_further_field_that_was_not_sent_changes_nothing() -> None:
    series = read_topic("metrics/7c9e6679-7425-40de-944b-e07fc1f90ae7/edge-7/cpu")
    assert isinstance(series, Series)
    assert content(series, 1.0, TIME, [("unit", None)]) == content(series, 1.0, TIME)
    both, one = [("unit", None), ("site", "K")], [("site", "K")]
    assert content(series, 1.0, TIME, both) == content(series, 1.0, TIME, one)
