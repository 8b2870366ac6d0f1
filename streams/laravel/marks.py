"""What a worker leaves in Redis of the jobs that it holds: read here, written by ``held.lua``."""

import re
from typing import NamedTuple, Self

_MARK = re.compile(rb"([0-9a-f]{32}) (\d+\.\d{6}) \d+\.\d{6}(?: \S+)+\Z")
"""Who, when the first and last of its jobs expire, and the ids: bytes other than what Lua calls a space."""


class Mark(NamedTuple):
    """What a worker has left in Redis of the jobs that it holds."""

    text: bytes
    """As Redis has it."""
    holder: bytes
    taken_at: float
    """The order among others: what was taken first has the least."""

    @classmethod
    def read(cls, text: bytes) -> Self | None:
        """Read a mark; None if it is none.

        >>> Mark.read(b"%032x 1800000089.900001 1800000089.900002 id-1 id-2" % 0x5f0c).taken_at
        1800000089.900001
        >>> Mark.read(b"of another program")
        """
        found = _MARK.match(text)
        if found is None:
            return None
        holder, taken_at = found.groups()
        return cls(text, holder, float(taken_at))
