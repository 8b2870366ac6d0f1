"""The options by which commands choose messages: globs, reasons, times, coordinates."""

import re
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta

from streams.browse.coordinate import Coordinate
from streams.browse.filters import Filter
from streams.browse.reader import Range
from streams.errors import BadArgument
from streams.models import Reason

_UNITS = {"s": "seconds", "m": "minutes", "h": "hours", "d": "days"}
_AGO = re.compile(r"([0-9]{1,9})([smhd])", re.ASCII)


def moment(text: str, now: datetime) -> datetime:
    """Read a time as a person writes it: so long ago, or RFC 3339.

    >>> moment("10m", datetime(2026, 11, 23, 14, 10, tzinfo=UTC)).isoformat()
    '2026-11-23T14:00:00+00:00'

    Raises:
        BadArgument: if it is neither.
    """
    ago = _AGO.fullmatch(text.strip())
    try:
        if ago is not None:
            return now - timedelta(**{_UNITS[ago[2]]: int(ago[1])})
        read = datetime.fromisoformat(text.strip())
    except (ValueError, OverflowError):
        raise BadArgument(
            f"{text!r} is no time: write 30s, 10m, 2h or 7d for so long ago, or 2026-11-23T14:00:00Z"
        ) from None
    return read if read.tzinfo else read.replace(tzinfo=UTC)


def duration_s(text: str) -> float:
    """Read how long something is.

    >>> duration_s("10m")
    600.0

    Raises:
        BadArgument: if it is no duration.
    """
    found = _AGO.fullmatch(text.strip())
    if found is None:
        raise BadArgument(f"{text!r} is no duration: write 30s, 10m, 2h or 7d")
    return timedelta(**{_UNITS[found[2]]: int(found[1])}).total_seconds()


def milliseconds(text: str | None, now: datetime) -> int | None:
    """Read a time into milliseconds of Unix time."""
    return None if text is None else max(0, int(moment(text, now).timestamp() * 1000))


def span_of(since: str | None, until: str | None, now: datetime) -> Range:
    """Return the span between two times, of which either may be left out."""
    return Range(since_ms=milliseconds(since, now), until_ms=milliseconds(until, now))


def filter_of(
    *,
    tenants: Sequence[str] = (),
    agents: Sequence[str] = (),
    metrics: Sequence[str] = (),
    reasons: Sequence[str] = (),
    text: str = "",
    coordinates: Sequence[str] = (),
) -> Filter:
    """Return the filter that options describe.

    Raises:
        BadArgument: a reason or a coordinate is none.
    """
    known = {str(reason) for reason in Reason}
    for reason in reasons:
        if reason not in known:
            raise BadArgument(f"{reason!r} is no reason; there are {', '.join(Reason)}")
    return Filter(
        tenants=tenants,
        agents=agents,
        metrics=metrics,
        reasons=[Reason(reason) for reason in reasons],
        text=text,
        coordinates=[Coordinate.parse(each) for each in coordinates],
    )
