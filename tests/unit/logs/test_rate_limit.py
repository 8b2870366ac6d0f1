"""A library that repeats itself is heard once a minute."""

import logging
from pathlib import Path

import aiokafka
import pytest
from aiokafka.errors import GroupCoordinatorNotAvailableError
from mode.timers import Timer

from streams.logs.rate_limit import AIOKAFKA, EVERY_S, TIMERS, TRIED_AGAIN, SayOnce, quieten


@pytest.fixture
def now() -> list[float]:
    return [1_000.0]


@pytest.fixture
def logger(unique: str, now: list[float]) -> logging.Logger:
    made = logging.getLogger(unique)
    made.addFilter(SayOnce(lambda: now[0]))
    return made


def test_a_line_is_said_at_once_and_its_repeats_once_a_minute_with_their_number(
    logger: logging.Logger, now: list[float], caplog: pytest.LogCaptureFixture
) -> None:
    for node in range(5):
        logger.error("Unable to connect to node %s", node)
    now[0] += EVERY_S
    logger.error("Unable to connect to node %s", 7)
    assert caplog.messages == [
        "Unable to connect to node 0",
        "Unable to connect to node 7 (and 4 more like it)",
    ]


def test_different_lines_are_told_apart(logger: logging.Logger, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)
    logger.error("Unable to connect")
    logger.error("Unable to update metadata")
    assert len(caplog.messages) == 2


@pytest.mark.parametrize(("level", "said"), [(logging.INFO, ["INFO"]), (logging.WARNING, [])])
def test_a_coordinator_that_a_new_kafka_lacks_is_no_error(
    logger: logging.Logger, caplog: pytest.LogCaptureFixture, level: int, said: list[str]
) -> None:
    logger.setLevel(level)
    logger.error("Group Coordinator Request failed: %s", GroupCoordinatorNotAvailableError())
    assert [record.levelname for record in caplog.records] == said


def test_it_is_put_on_loggers_that_aiokafka_has_and_only_once() -> None:
    quieten()
    quieten()
    assert aiokafka.__version__
    for name in AIOKAFKA:
        assert name in logging.root.manager.loggerDict, f"aiokafka has no logger {name} any more"
        assert sum(isinstance(one, SayOnce) for one in logging.getLogger(name).filters) == 1
        logging.getLogger(name).filters.clear()


@pytest.mark.parametrize("text", TRIED_AGAIN)
def test_what_aiokafka_tries_again_is_a_text_that_it_has_and_no_warning(
    logger: logging.Logger, caplog: pytest.LogCaptureFixture, text: str
) -> None:
    sources = Path(aiokafka.__file__).parent.rglob("*.py")
    assert any(text in source.read_text() for source in sources), "aiokafka does not say that any more"
    caplog.set_level(logging.INFO)
    logger.error(text, *["x"] * text.count("%"))
    assert [record.levelname for record in caplog.records] == ["INFO"]


def test_what_it_does_not_try_again_stays_an_error(
    logger: logging.Logger, caplog: pytest.LogCaptureFixture
) -> None:
    logger.error("Topic %s is not authorized for this client", "site.raw")
    assert [record.levelname for record in caplog.records] == ["ERROR"]


def test_a_reason_is_never_empty(logger: logging.Logger, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)
    logger.error('Unable connect to "%s:%s": %s', "kafka.example", 9092, TimeoutError())
    assert caplog.messages == ['Unable connect to "kafka.example:9092": TimeoutError']


def test_a_timer_of_fausts_that_is_late_is_no_warning(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)
    quieten()
    try:
        timer = Timer(0.5, name="commit")
        timer.last_wakeup_at = timer.last_yield_at = timer.last_wakeup_at - 60
        timer.tick()
    finally:
        logging.getLogger(TIMERS).filters.clear()
    (record,) = caplog.records
    assert (record.name, record.levelname) == (TIMERS, "INFO")
    assert "commit is overlapping" in record.getMessage()
