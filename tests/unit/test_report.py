import logging

import pytest

from streams.ingest.report import EVERY_S, Report
from streams.statistics import Statistics


class Clock:
    def __init__(self) -> None:
        self.now_s = 0.0

    def __call__(self) -> float:
        return self.now_s


@pytest.fixture(autouse=True)
def _heard(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)


def test_a_line_every_few_seconds_tells_the_rates_since_the_last(caplog: pytest.LogCaptureFixture) -> None:
    statistics, clock = Statistics(), Clock()
    report = Report(statistics, clock=clock)
    for _ in range(2):
        statistics.messages.update(ingested=1_000, jobs_done=4, jobs_released=1)
        clock.now_s += EVERY_S / 2
        report.now_and_then()
    statistics.messages.update(ingested=500, jobs_done=2, jobs_failed=3)
    clock.now_s += EVERY_S
    report.now_and_then()
    assert caplog.messages == [
        "2000 rows of 8 jobs in 5.0 s (400 rows/s); 2 jobs to be tried again, 0 given up",
        "500 rows of 2 jobs in 5.0 s (100 rows/s); 0 jobs to be tried again, 3 given up",
    ]


def test_nothing_is_said_while_nothing_happens(caplog: pytest.LogCaptureFixture) -> None:
    clock = Clock()
    report = Report(Statistics(), clock=clock)
    clock.now_s += EVERY_S
    report.now_and_then()
    report.final()
    assert caplog.messages == []


def test_the_last_line_does_not_wait(caplog: pytest.LogCaptureFixture) -> None:
    statistics, clock = Statistics(), Clock()
    report = Report(statistics, clock=clock)
    statistics.messages.update(ingested=10, jobs_done=1)
    clock.now_s += 1
    report.final()
    assert len(caplog.messages) == 1
