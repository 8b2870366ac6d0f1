"""Tells a bug from what was foreseen: beside `agents.examine`, the one place that catches whatever there is.

Whoever goes on after a bug goes through here: what runs in the background (`streams.background`), the agents'
loop, the consumer, the doctor. Each of them names the exceptions that it knows how to meet; any other is a
`Bug`.
"""

import logging
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from streams.counters import Note, Statistics
from streams.errors import Bug

log = logging.getLogger(__name__)

AGAIN_S = 60.0
"""How soon the same bug is logged once more: a turn may come every second, and a traceback has many lines."""

_Place = tuple[type[Exception], str, int]
"""Where a bug came up: its kind, the file and the line."""


@contextmanager
def foreseen(*kinds: type[Exception]) -> Iterator[None]:
    """Let through what the block is known to raise; make a `Bug` of any other exception.

    A cancellation passes, since it is none of `Exception`.

    Args:
        kinds: exceptions that the caller handles.

    Raises:
        Bug: the block has raised another one.
    """
    try:
        yield
    except kinds:
        raise
    except Exception as cause:
        raise Bug(cause) from cause


class BugLog:
    """Logs and counts the bugs of one that goes on all the same.

    Args:
        who: it is, at the beginning of the line.
        meaning: a sentence, without its full stop: what goes on, and what does not.
        statistics: counts them.
        clock: seconds that never go back.
    """

    def __init__(
        self,
        who: str,
        meaning: str,
        statistics: Statistics,
        *,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._who = who
        self._meaning = meaning
        self._statistics = statistics
        self._clock = clock
        self._logged: dict[_Place, tuple[float, int]] = {}
        """When each was logged last, and how often it came up since."""

    def note(self, bug: Bug) -> None:
        """Count a bug, and log it unless the same one was logged a moment ago."""
        self._statistics.notes[Note.BUGS] += 1
        place, now = _place(bug.cause), self._clock()
        logged_at, since = self._logged.get(place, (None, 0))
        if logged_at is not None and now - logged_at < AGAIN_S:
            self._logged[place] = (logged_at, since + 1)
            return
        self._logged[place] = (now, 0)
        more = f" ({since} more times since it was logged last)" if since else ""
        log.error(
            "%s has a bug: %r%s. %s. Please report it with this traceback",
            self._who,
            bug.cause,
            more,
            self._meaning,
            exc_info=bug.cause,
        )


def _place(bug: Exception) -> _Place:
    """Return where a bug came up, so that the same one is known again whatever values it names."""
    trace = bug.__traceback__
    while trace is not None and trace.tb_next is not None:
        trace = trace.tb_next
    if trace is None:
        return type(bug), "", 0
    return type(bug), trace.tb_frame.f_code.co_filename, trace.tb_lineno
