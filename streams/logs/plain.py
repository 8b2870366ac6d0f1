r"""Keeps what comes from outside from forging lines of the log, or moving the terminal's cursor.

PostgreSQL's DETAIL or a device's name may hold escape sequences, line breaks and marks that turn the
direction of writing. They are shown as ``\x1b``, ``\n`` and ``\u202e``. Our own messages of several lines
indent those after the first, so a line break before two blanks stays.
"""

import logging
import re
from typing import Any

_CONTROL = re.compile(
    "\n(?!  )|"
    "[\x00-\x08\x0b-\x1f\x7f-\x9f\u061c\u200e\u200f\u2028\u2029\u202a-\u202e\u2066-\u2069\ud800-\udfff]"
)


def plain(text: str) -> str:
    """Return a text with what is not to be printed escaped."""
    return _CONTROL.sub(lambda found: repr(found[0])[1:-1], text)


class PlainRecord(logging.LogRecord):
    """A line of the log whose message and traceback hold nothing that a terminal would obey."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        if self.exc_info:
            # Formatters take the text that is there. A traceback is of several lines, so each is indented.
            told = logging.Formatter().formatException(self.exc_info)
            # The message of an exception may quote a device, line breaks and all: indented, it cannot pass
            # for a line of the log.
            self.exc_text = plain(told.replace("\n", "\n  "))

    def getMessage(self) -> str:  # noqa: N802 - logging's name
        """Return the message, filled in."""
        return plain(super().getMessage())


def escape_logs() -> None:
    """Let every logger of the process make such records, the libraries' too."""
    logging.setLogRecordFactory(PlainRecord)
