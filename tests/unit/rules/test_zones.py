"""How far a zone is ahead of UTC."""

import pytest

from streams.rules.zones import offset_s

HOUR_S = 3600


@pytest.mark.parametrize(
    ("zone", "hours"),
    [
        ("z", 0),
        ("utc", 0),
        ("GMT", 0),
        ("est", -5),
        ("EDT", -4),
        ("CST", -6),
        ("CDT", -5),
        ("MST", -7),
        ("MDT", -6),
        ("PST", -8),
        ("PDT", -7),
        ("+02", 2),
        ("-0230", -2.5),
        ("+05:45", 5.75),
        ("Europe/Berlin", 1),
        ("Asia/Kolkata", 5.5),
        ("America/Argentina/Ushuaia", -3),
    ],
)
def test_a_zone_is_ahead_by_its_hours(zone: str, hours: float) -> None:
    assert offset_s(zone, 2026, 11, 23, 14 * HOUR_S) == hours * HOUR_S


@pytest.mark.parametrize(
    ("month", "day", "second", "hours"),
    [
        (3, 29, 2 * HOUR_S - 1, 1),
        (3, 29, 2 * HOUR_S, None),  # never comes
        (3, 29, 3 * HOUR_S - 1, None),
        (3, 29, 3 * HOUR_S, 2),
        (10, 25, 2 * HOUR_S - 1, 2),
        (10, 25, 2 * HOUR_S, None),  # comes twice
        (10, 25, 3 * HOUR_S - 1, None),
        (10, 25, 3 * HOUR_S, 1),
    ],
)
def test_an_hour_that_comes_twice_or_never_is_not_certain_and_those_beside_it_are(
    month: int, day: int, second: int, hours: int | None
) -> None:
    found = offset_s("Europe/Berlin", 2026, month, day, second)
    assert found == (None if hours is None else hours * HOUR_S)


@pytest.mark.parametrize("zone", ["Europe/Atlantis", "America/Argentina", "BST", "Europe"])
def test_a_zone_that_nobody_knows_is_not_certain(zone: str) -> None:
    assert offset_s(zone, 2026, 11, 23, 0) is None
