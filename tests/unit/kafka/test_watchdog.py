"""The watchdog: what it takes for a stand-still, what for an excuse, and that it ends the worker once."""

import asyncio
import logging
from types import SimpleNamespace
from typing import Any

import pytest
from faust.types import TP

from streams.counters import Statistics
from streams.errors import Outage, Stalled
from streams.kafka.positions import Cursor, Position
from streams.kafka.watchdog import LONGEST_STEP_S, Watchdog, looks

RAW = TP("metrics.raw", 3)
RAW_NAME, COMMITS = "metrics.raw[3]", "the commits of metrics.raw[3]"
LIMIT_S = 60.0


class FakeApp:
    """A worker that holds one partition: at offset 5 of 9, with 5 committed."""

    def __init__(self) -> None:
        self.cursor = Cursor()
        self.cursor.place(Position(5))
        self.consumer = SimpleNamespace(cursors={RAW: self.cursor}, committed={RAW: 5})
        self.watch: Any = SimpleNamespace(outage=None, end=lambda _tp: 9)
        self.recovered = asyncio.Event()
        self.recovered.set()
        self.remaining = 0
        self.rebalancing = self.should_stop = False
        recovery = SimpleNamespace(completed=self.recovered, active_remaining_total=lambda: self.remaining)
        self.tables = SimpleNamespace(recovery=recovery)
        self.ended: list[BaseException] = []
        self.statistics = Statistics()
        self.watchdog = Watchdog(self, LIMIT_S, self.ended.append)
        self.now = 0.0

    def deliverer(self) -> Any:
        return self.consumer

    def pass_time(self, seconds: float) -> None:
        until = self.now + seconds
        while self.now < until:
            self.watchdog.look(looks(self), self.now)
            self.now += LONGEST_STEP_S
        self.watchdog.look(looks(self), self.now)


@pytest.fixture
def app() -> FakeApp:
    return FakeApp()


def test_an_agent_that_never_returns_ends_the_worker_once_with_one_line_that_says_where(
    app: FakeApp, caplog: pytest.LogCaptureFixture
) -> None:
    app.cursor.busy = True
    app.pass_time(200)
    (end,) = app.ended
    assert isinstance(end, Stalled)
    (line,) = [record.getMessage() for record in caplog.records if record.levelno == logging.CRITICAL]
    for part in (RAW_NAME, "for 70 s", "offset 5", "lag of 4 records", "does not return", "WATCHDOG_LIMIT_S"):
        assert part in line


def test_records_that_never_arrive_end_the_worker(app: FakeApp) -> None:
    app.pass_time(100)
    assert "do not reach the agent" in str(app.ended[0])


def test_a_bug_that_holds_up_a_partition_ends_the_worker(app: FakeApp) -> None:
    app.cursor.held_up_by = "a bug, see the log"
    app.pass_time(100)
    assert "a bug, see the log" in str(app.ended[0])


def test_a_partition_without_lag_may_stand(app: FakeApp) -> None:
    app.watch.end = lambda _tp: 5
    app.pass_time(1_000)
    assert not app.ended
    assert not app.watchdog.stalled()


def test_an_agent_that_retries_an_outage_does_not_end_the_worker_but_readiness_fails(app: FakeApp) -> None:
    for _ in range(30):
        app.cursor.note_outage("redis")
        app.pass_time(LONGEST_STEP_S)
    assert not app.ended
    assert "redis" in app.watchdog.stalled()[0]


def test_while_kafka_is_away_nothing_ends_the_worker(app: FakeApp) -> None:
    app.watch.outage = Outage("kafka", "away")
    app.rebalancing = True
    app.pass_time(1_000)
    assert not app.ended


def test_a_position_that_cannot_be_told_since_a_part_is_away_does_not_end_the_worker(app: FakeApp) -> None:
    app.cursor.hold()
    for _ in range(30):
        app.cursor.note_outage("redis")
        app.pass_time(LONGEST_STEP_S)
    assert not app.ended


def test_a_position_that_is_never_told_for_no_known_reason_ends_the_worker(app: FakeApp) -> None:
    app.cursor.hold()
    app.pass_time(100)
    assert "its position is not known" in str(app.ended[0])


def test_commits_that_stay_behind_end_the_worker_though_positions_move(app: FakeApp) -> None:
    for offset in range(6, 30):
        app.cursor.place(Position(offset))
        app.pass_time(LONGEST_STEP_S)
    assert COMMITS in str(app.ended[0])
    assert RAW_NAME not in looks(app) or RAW_NAME not in str(app.ended[0]).replace(COMMITS, "")


def test_a_recovery_that_moves_does_not_end_the_worker(app: FakeApp) -> None:
    app.recovered.clear()
    for remaining in range(1_000, 900, -1):
        app.remaining = remaining
        app.pass_time(LONGEST_STEP_S)
    assert not app.ended


@pytest.mark.parametrize("what", ["recovery", "rebalance"])
def test_a_recovery_or_rebalance_that_does_not_end_while_kafka_answers_ends_the_worker(
    app: FakeApp, what: str
) -> None:
    if what == "recovery":
        app.recovered.clear()
    app.rebalancing = what == "rebalance"
    app.pass_time(100)
    assert "the group" in str(app.ended[0])
    assert RAW_NAME not in str(app.ended[0])


def test_an_ordinary_rebalance_starts_the_limit_anew(app: FakeApp) -> None:
    app.pass_time(50)
    app.rebalancing = True
    app.pass_time(20)
    app.rebalancing = False
    app.pass_time(50)
    assert not app.ended


def test_a_worker_that_stops_already_is_not_ended_again(app: FakeApp) -> None:
    app.should_stop = True
    app.pass_time(200)
    assert not app.ended


def test_with_a_limit_of_zero_readiness_fails_and_nothing_ends() -> None:
    app = FakeApp()
    app.watchdog = Watchdog(app, 0.0, app.ended.append)
    app.pass_time(1_000)
    assert not app.ended
    assert app.watchdog.stalled()
