"""A bug is told from what was foreseen, is in the log with its traceback, and is counted each time."""

import asyncio
import logging

import pytest

from streams.bugs import AGAIN_S, BugLog, foreseen
from streams.counters import Note, Statistics
from streams.errors import Bug, Outage


def divide() -> None:
    with foreseen(Outage):
        _ = 1 / 0


def look_up() -> None:
    with foreseen(Outage):
        _ = dict[str, int]()["missing"]


def bug_of(work: object) -> Bug:
    assert callable(work)
    with pytest.raises(Bug) as met:
        work()
    return met.value


class Notebook:
    """A log of bugs whose time passes as told."""

    def __init__(self) -> None:
        self.now_s = 0.0
        self.statistics = Statistics()
        self.log = BugLog("the look-out", "It looks again", self.statistics, clock=lambda: self.now_s)

    @property
    def counted(self) -> int:
        return self.statistics.notes[Note.BUGS]


def test_what_was_foreseen_is_let_through_as_it_is() -> None:
    away = Outage("kafka", "is away")
    with pytest.raises(Outage) as met, foreseen(Outage):
        raise away
    assert met.value is away


def test_anything_else_is_a_bug_that_keeps_its_cause() -> None:
    assert isinstance(bug_of(divide).cause, ZeroDivisionError)


def test_a_cancellation_is_no_bug() -> None:
    with pytest.raises(asyncio.CancelledError), foreseen():
        raise asyncio.CancelledError


def test_a_bug_is_logged_with_its_traceback_what_it_means_and_what_to_do(
    caplog: pytest.LogCaptureFixture,
) -> None:
    Notebook().log.note(bug_of(divide))
    (line,) = caplog.records
    assert line.levelno == logging.ERROR
    assert line.getMessage() == (
        "the look-out has a bug: ZeroDivisionError('division by zero'). It looks again. Please report "
        "it with this traceback"
    )
    assert "in divide" in caplog.text


def test_the_same_bug_is_counted_each_time_and_logged_again_after_a_while(
    caplog: pytest.LogCaptureFixture,
) -> None:
    notebook = Notebook()
    for _ in range(4):
        notebook.log.note(bug_of(divide))
    assert (len(caplog.records), notebook.counted) == (1, 4)
    notebook.now_s = AGAIN_S
    notebook.log.note(bug_of(divide))
    assert "3 more times since it was logged last" in caplog.records[-1].getMessage()
    assert (len(caplog.records), notebook.counted) == (2, 5)


def test_another_bug_is_logged_at_once(caplog: pytest.LogCaptureFixture) -> None:
    notebook = Notebook()
    notebook.log.note(bug_of(divide))
    notebook.log.note(bug_of(look_up))
    assert len(caplog.records) == 2
