"""The lease: lapsed by a loop that stood still, whatever runs first afterwards."""

import time

import pytest

from streams.errors import LeaseLapsed
from streams.ingress.lease import Lease, since_boot


class Clock:
    """Time that a test moves."""

    def __init__(self) -> None:
        self.now = 1_000.0

    def __call__(self) -> float:
        return self.now


def test_it_holds_while_it_is_asked_often_enough() -> None:
    clock = Clock()
    lease = Lease(8.0, clock)
    for _ in range(100):
        clock.now += 8.0
        lease.check()


def test_it_lapses_when_the_loop_stood_still_and_stays_so_until_it_begins_anew() -> None:
    clock = Clock()
    lease = Lease(8.0, clock)
    clock.now += 23.0
    for _ in range(2):
        with pytest.raises(LeaseLapsed, match=r"stood still for 23\.0 s"):
            lease.check()
        clock.now += 1.0

    lease.begin()
    lease.check()


async def test_keeping_it_ends_with_what_has_lapsed_it() -> None:
    clock = Clock()
    lease = Lease(8.0, clock)
    clock.now += 9.0

    assert "stood still for 9.0 s" in str(await lease.keep())


def test_the_clock_counts_suspension_where_the_system_has_such_a_clock(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    assert since_boot() <= since_boot()

    monkeypatch.delattr(time, "CLOCK_BOOTTIME", raising=False)
    assert time.monotonic() <= since_boot() <= time.monotonic()
