"""The worker's line a minute: what flowed, what is behind, what was rejected; next to nothing when idle."""

import logging

import pytest

from streams.counters import Statistics
from streams.logs.flow import EVERY_S, IDLE_EVERY_S, FlowLog


class Minute:
    def __init__(self) -> None:
        self.statistics = Statistics()
        self.lag: dict[str, int] | None = {}
        self.now = 1_000.0
        self.flow = FlowLog(self.statistics, lambda: self.lag, self.now)

    def passes(self, seconds: float = EVERY_S, *away: str) -> None:
        for _ in range(round(seconds)):
            self.now += 1
            self.flow.look(self.now, away)


@pytest.fixture
def minute(caplog: pytest.LogCaptureFixture) -> Minute:
    caplog.set_level(logging.INFO)
    return Minute()


def test_a_line_a_minute_tells_what_flowed_since_the_last(
    minute: Minute, caplog: pytest.LogCaptureFixture
) -> None:
    minute.statistics.messages.update(received=6_000, refined=6_000, pushed=5_400, jobs=90, duplicate=500)
    minute.statistics.rejected.update(tenant_unknown=70, value_missing=30)
    minute.passes()
    minute.statistics.messages.update(received=60, pushed=600, jobs=1)
    minute.lag = {"site.raw": 0, "site.unique": 12}
    minute.passes(EVERY_S, "redis for 7 s")
    assert caplog.messages == [
        (
            "in 60 s: 6000 messages received (100/s); 6000 refined (100/s); 5400 handed off (90/s); "
            "90 jobs pushed (2/s); 500 duplicates; "
            "100 rejected (tenant_unknown 70, value_missing 30); nothing behind"
        ),
        (
            "in 60 s: 60 messages received (1/s); 600 handed off (10/s); 1 jobs pushed (0/s); "
            "behind by 12 records of site.unique; waiting for redis for 7 s"
        ),
    ]


def test_many_reasons_are_cut_without_losing_a_count(
    minute: Minute, caplog: pytest.LogCaptureFixture
) -> None:
    minute.statistics.messages["received"] = 1
    minute.statistics.rejected.update({f"reason_{number}": 10 - number for number in range(8)})
    minute.passes()
    assert (
        "52 rejected (reason_0 10, reason_1 9, reason_2 8, reason_3 7, reason_4 6, others 12)" in caplog.text
    )


def test_an_idle_worker_says_so_once_and_then_sparsely(
    minute: Minute, caplog: pytest.LogCaptureFixture
) -> None:
    minute.passes(EVERY_S + IDLE_EVERY_S)
    assert caplog.messages == [
        "nothing flowed in the last 60 s, and nothing waits",
        "nothing flowed in the last 1860 s, and nothing waits",
    ]


def test_what_waits_while_nothing_flows_is_told_every_minute(
    minute: Minute, caplog: pytest.LogCaptureFixture
) -> None:
    minute.lag = {"site.raw": 3}
    minute.passes(3 * EVERY_S)
    assert len([line for line in caplog.messages if "behind by 3 records of site.raw" in line]) == 3


def test_a_lag_that_is_not_known_is_not_called_none(minute: Minute, caplog: pytest.LogCaptureFixture) -> None:
    minute.lag = None
    minute.passes(EVERY_S, "kafka for 42 s")
    assert caplog.messages == ["in 60 s: how far behind is not known; waiting for kafka for 42 s"]


def test_the_end_tells_what_flowed_since_the_last_line(
    minute: Minute, caplog: pytest.LogCaptureFixture
) -> None:
    minute.statistics.messages["received"] = 5
    minute.flow.tell(minute.now + 5)
    assert caplog.messages == ["in 5 s: 5 messages received (1/s); nothing behind"]
