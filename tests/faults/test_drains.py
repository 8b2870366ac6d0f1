"""How long recovery took: counted from the end of a fault, while nothing else is wrong."""

import time

import pytest

from tests.faults.drains import Drains
from tests.faults.plan import Fault


class Clock:
    """A clock that stands where it is put."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.now = 100.0
        monkeypatch.setattr(time, "monotonic", lambda: self.now)


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    return Clock(monkeypatch)


def test_what_comes_after_a_fault_must_land(clock: Clock) -> None:
    drain = Drains()
    drain.fault_over("kill")
    for now, rows, due in ((101, 50, 50), (104, 50, 80), (150, 79, 200)):
        clock.now = now
        drain.look(rows, due, under_way=[])
        assert not drain.longest_s, f"not all that came by 104 had landed at {now}"
    clock.now = 161
    drain.look(80, 300, under_way=[])
    assert drain.longest_s == {"kill": 61.0}
    assert drain.too_long_s == {"kill": 61.0}


def test_while_something_else_is_wrong_nothing_is_expected(clock: Clock) -> None:
    drain = Drains()
    drain.fault_over("kill")
    clock.now = 190
    drain.look(0, 80, under_way=[Fault("outage", "redis", 9)])
    clock.now = 195
    drain.look(0, 80, under_way=[])
    drain.look(80, 90, under_way=[])
    assert drain.longest_s == {"kill": 5.0}
    assert not drain.too_long_s


def test_what_has_not_landed_in_the_end_took_too_long(clock: Clock) -> None:
    drain = Drains()
    drain.fault_over("kill")
    clock.now = 200
    drain.look(0, 80, under_way=[])
    drain.end()
    assert drain.too_long_s == {"kill": 100.0}


def test_what_recovers_beside_something_slower_may_take_as_long(clock: Clock) -> None:
    drain = Drains()
    drain.fault_over("outage")
    drain.fault_over("kill")
    clock.now = 200
    drain.look(0, 80, under_way=[])
    drain.look(80, 90, under_way=[])
    assert drain.longest_s == {"kill": 100.0, "outage": 100.0}
    assert not drain.too_long_s
