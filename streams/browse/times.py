"""Times as people write them on a command line: ``10m`` ago, or a date. Pure: it is told the time."""

import re
from datetime import UTC, datetime

from streams.errors import MetricStreamsError

_AGO = re.compile(r"([0-9]{1,9}(?:\.[0-9]+)?)\s*(s|m|h|d|w)", re.ASCII)
_UNITS_S = {"s": 1, "m": 60, "h": 3_600, "d": 86_400, "w": 604_800}
EXAMPLES = "10m, 2h, 3d (ago) or 2026-11-23T14:00:00Z"


def read_time_ms(text: str, now_s: float) -> int:
    """Return the Unix time in milliseconds that somebody means.

    A date without a zone is one in UTC, as all times are that we show.

    >>> read_time_ms("10m", 1_000.0), read_time_ms("1970-01-01T00:10", 0)
    (400000, 600000)

    Raises:
        MetricStreamsError: nobody can tell.
    """
    ago = _AGO.fullmatch(text.strip())
    if ago is not None:
        return round((now_s - float(ago[1]) * _UNITS_S[ago[2]]) * 1_000)
    try:
        moment = datetime.fromisoformat(text.strip())
    except ValueError:
        raise MetricStreamsError(f"{text!r} is no time: write {EXAMPLES}") from None
    return round((moment if moment.tzinfo else moment.replace(tzinfo=UTC)).timestamp() * 1_000)
