"""Tells of the rows of a changelog that cannot be used: the first by name, the rest by their number.

Ten thousand of them must not hide what else the log has to say.
"""

import logging

from faust.types import TP

log = logging.getLogger(__name__)

NAMED = 10
SHOWN_CHARACTERS = 200


class SkippedRows:
    """The rows of one recovery."""

    def __init__(self) -> None:
        self._count = 0

    def note(self, tp: TP, offset: int, why: str) -> None:
        """Name a row, if it is among the first."""
        self._count += 1
        if self._count <= NAMED:
            log.error(
                "%s[%d] offset %d: skipped a row of the changelog: %s",
                *tp,
                offset,
                why[:SHOWN_CHARACTERS],
            )

    def sum_up(self) -> None:
        """Tell how many there were, and begin anew."""
        if self._count > NAMED:
            log.error("skipped %d rows of the changelog; %d of them are named above", self._count, NAMED)
        self._count = 0
