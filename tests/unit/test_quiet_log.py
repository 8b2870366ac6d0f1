"""A library that repeats itself is heard once a minute."""

import logging

import aiokafka
import pytest
from aiokafka.errors import GroupCoordinatorNotAvailableError, KafkaConnectionError

from streams.quiet_log import AIOKAFKA, EVERY_S, CalmStart, SayOnce, quieten


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
    logger.error("Unable to connect")
    logger.error("Unable to update metadata")
    assert len(caplog.messages) == 2


@pytest.mark.parametrize(("level", "said"), [(logging.INFO, ["INFO", "ERROR"]), (logging.WARNING, ["ERROR"])])
def test_a_coordinator_that_a_new_kafka_lacks_is_no_error(
    unique: str, caplog: pytest.LogCaptureFixture, level: int, said: list[str]
) -> None:
    logger = logging.getLogger(unique)
    logger.addFilter(CalmStart())
    logger.setLevel(level)
    logger.error("Group Coordinator Request failed: %s", GroupCoordinatorNotAvailableError())
    logger.error("Group Coordinator Request failed: %s", KafkaConnectionError())
    assert [record.levelname for record in caplog.records] == said


def test_it_is_put_on_loggers_that_aiokafka_has_and_only_once() -> None:
    quieten()
    quieten()
    assert aiokafka.__version__
    for name in AIOKAFKA:
        assert name in logging.root.manager.loggerDict, f"aiokafka has no logger {name} any more"
        assert sum(isinstance(one, SayOnce) for one in logging.getLogger(name).filters) == 1
        logging.getLogger(name).filters.clear()
