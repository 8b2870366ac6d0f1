"""Keeps aiokafka from burying the log, and from calling trouble what is none.

It tries several times a second to reach a Kafka that is away, and has a line for each try: some ten thousand
in an outage of five minutes. So the first line is heard at once, then one a minute. What it tries again by
itself is no warning: a rebalance, a coordinator that is not chosen yet. That Kafka is away is said once, by
``streams/logs/outages.py``.
"""

import logging
import time
from collections.abc import Callable, Iterable

from streams.errors import worded

AIOKAFKA = [
    "aiokafka",  # that of its client.py
    *(
        f"aiokafka.{module}"
        for module in (
            "admin.client",
            "cluster",
            "conn",
            "consumer.consumer",
            "consumer.fetcher",
            "consumer.group_coordinator",
            "producer.producer",
            "producer.sender",
        )
    ),
]
"""Its loggers; a filter has to be put on each, since filters do not pass down."""

TRIED_AGAIN = (
    "Attempt to fetch offsets for partition",
    "Cannot send %r to",
    "Could not send %r",
    "Error sending %s to node",
    "Failed fetch messages",
    "Failed fetch offsets",
    "Got error produce response",
    "Group Coordinator Request failed",
    "Heartbeat failed",
    "Heartbeat send request failed",
    "Heartbeat session expired",
    "LeaveGroup request failed",
    "Marking the coordinator dead",
    "OffsetCommit failed before join",
    "OffsetCommit failed for group %s due to group",
    "Received unknown topic or partition error",
    "Unable connect to",
    "Unable to request metadata",
    "Unable to update metadata",
)
"""How those of its warnings and errors begin after which it tries again."""

EVERY_CONNECTION = ("Authenticated ", "Sending username and password in the clear")
"""How those begin that it has for every connection: the log would have them for ever."""

TIMERS = "mode.timers"
LATE = ("Timer %s is overlapping",)
"""What Faust says of a timer that was late; `streams.kafka.watchdog` says it where it matters."""

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
        _mend(record)
        if not logging.getLogger(record.name).isEnabledFor(record.levelno):
            return False
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


def _mend(record: logging.LogRecord) -> None:
    """Let a line say no more than is so, and no less: an error without a text is shown by its kind."""
    if str(record.msg).startswith(EVERY_CONNECTION):
        record.levelno, record.levelname = logging.DEBUG, logging.getLevelName(logging.DEBUG)
    if record.levelno > logging.INFO and str(record.msg).startswith((*TRIED_AGAIN, *LATE)):
        record.levelno, record.levelname = logging.INFO, logging.getLevelName(logging.INFO)
    if isinstance(record.args, tuple):
        record.args = tuple(
            worded(arg) if isinstance(arg, Exception) and not str(arg) else arg for arg in record.args
        )


def quieten(names: Iterable[str] = (*AIOKAFKA, TIMERS)) -> None:
    """Put the filter on some loggers; calling it again changes nothing."""
    # It tells of every look at a single record of a log.
    logging.getLogger("aiokafka.consumer.subscription_state").setLevel(logging.WARNING)
    for name in names:
        logger = logging.getLogger(name)
        if not any(isinstance(one, SayOnce) for one in logger.filters):
            logger.addFilter(SayOnce())
