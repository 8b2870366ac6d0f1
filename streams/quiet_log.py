"""Keeps a library that repeats itself from burying the log: the first line at once, then one a minute.

aiokafka tries several times a second to reach a Kafka that is away, and has a line for each try: some ten
thousand in an outage of five minutes. That Kafka is away is said once by ``streams/kafka/watch.py``.
"""

import logging
import time
from collections.abc import Callable, Iterable

from aiokafka.errors import GroupCoordinatorNotAvailableError

AIOKAFKA = [
    f"aiokafka.{module}"
    for module in (
        "admin.client",
        "client",
        "cluster",
        "conn",
        "consumer.consumer",
        "consumer.fetcher",
        "consumer.group_coordinator",
        "producer.producer",
        "producer.sender",
    )
]
"""Its loggers; a filter has to be put on each, since filters do not pass down."""

EVERY_S = 60.0
REMEMBERED = 200
"""Different lines that are told apart; there are not half as many in the library."""


class SayOnce(logging.Filter):
    """Lets a line through unless the same one, whatever it is filled in with, came within the last minute."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        super().__init__()
        self._clock = clock
        self._said: dict[tuple[str, str], tuple[float, int]] = {}

    def filter(self, record: logging.LogRecord) -> bool:
        """Decide on one line; add to it how many like it were left out."""
        line, now = (record.name, str(record.msg)), self._clock()
        said_at, left_out = self._said.get(line, (None, 0))
        if said_at is not None and now - said_at < EVERY_S:
            self._said[line] = (said_at, left_out + 1)
            return False
        if len(self._said) >= REMEMBERED:
            self._said.clear()
        self._said[line] = (now, 0)
        if left_out:
            record.msg = f"{record.msg} (and {left_out} more like it)"
        return True


class CalmStart(logging.Filter):
    """Makes INFO of the ERROR that a new Kafka has no coordinator for a group yet: aiokafka asks again."""

    def filter(self, record: logging.LogRecord) -> bool:
        """Decide on one line."""
        arguments = record.args if isinstance(record.args, tuple) else ()
        if any(isinstance(argument, GroupCoordinatorNotAvailableError) for argument in arguments):
            record.levelno, record.levelname = logging.INFO, logging.getLevelName(logging.INFO)
            return logging.getLogger(record.name).isEnabledFor(logging.INFO)
        return True


def quieten(names: Iterable[str] = AIOKAFKA) -> None:
    """Put the filters on some loggers; calling it again changes nothing."""
    for name in names:
        logger = logging.getLogger(name)
        if not any(isinstance(one, SayOnce) for one in logger.filters):
            logger.addFilter(SayOnce())
            logger.addFilter(CalmStart())
