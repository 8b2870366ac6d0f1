"""The timestamp: four ways to write it, and one column behind the job that must take it.

Inside the rules a time is the text that the application stores, ``2026-11-23 14:00:00.123456`` in UTC: of
one width, so that it sorts as time does. It is reached by exact arithmetic, so a replay reads the very same.
"""

import re
from datetime import date
from decimal import ROUND_DOWN, Context, Decimal
from functools import lru_cache

from streams.models import Reason
from streams.rules.numeric import read_numeric
from streams.rules.problem import Problem, shown

EARLIEST_US = 1_000_000
"""1970-01-01 00:00:01, where MySQL's TIMESTAMP begins (manual: "The DATE, DATETIME, and TIMESTAMP Types")."""
LATEST_US = 2_147_483_647_999_999
"""2038-01-19 03:14:07.999999, where it ends."""

_SECOND_US = 1_000_000
_DAY_US = 86_400 * _SECOND_US
_LONGEST_USUAL = len("2026-11-23T14:00:00.123456Z")
_USUAL_LENGTHS = (_LONGEST_USUAL, len("2026-11-23T14:00:00.123Z"))
_EPOCH_DAY = date(1970, 1, 1).toordinal()

_WRITTEN = re.compile(
    r"""
    (?P<date> [0-9]{4}-[0-9]{2}-[0-9]{2} )
    (?P<separator> [Tt\x20] )
    (?P<hour> [01][0-9] | 2[0-3] ) : (?P<minute> [0-5][0-9] ) : (?P<second> [0-5][0-9] | 60 )
    (?: \. (?P<fraction> [0-9]++ ) )?
    (?P<zone> [Zz] | [+-] (?: [01][0-9] | 2[0-3] ) : [0-5][0-9] )?
    """,
    re.VERBOSE,
)

# The unit of a Unix time shows in its magnitude: beside each limit, what one is in nanoseconds below it. Read
# in the next finer unit, such a number would lie before March 1973.
_UNITS_NS = ((10**11, 10**9), (10**14, 10**6), (10**17, 10**3))
_LARGEST_UNIX = 2.2e18
"""More than any time in range in any unit."""
_OUT_OF_RANGE_US = 0
# Enough digits for any time in range; what is cut off lies below its microsecond.
_DECIMAL = Context(prec=40, rounding=ROUND_DOWN)


def read_timestamp(value: object) -> str | Problem:
    """Return a device's timestamp.

    Args:
        value: as decoded from JSON, but not None; infinite where a number exceeds all doubles.
    """
    if isinstance(value, str) and (usual := read_usual(value)) is not None:
        return usual
    time_us = _read(value)
    if time_us is None:
        expected = "RFC 3339, YYYY-MM-DD HH:MM:SS[.f] in UTC, or Unix time"
        return Problem(Reason.TIMESTAMP_INVALID, f"timestamp is {shown(value)}; it must be {expected}")
    if not EARLIEST_US <= time_us <= LATEST_US:
        expected = "from 1970-01-01 00:00:01 to 2038-01-19 03:14:07 UTC"
        return Problem(Reason.TIMESTAMP_OUT_OF_RANGE, f"timestamp is {shown(value)}; it must be {expected}")
    return format_timestamp(time_us)


def read_usual(text: str) -> str | None:
    """Return the timestamp ``2026-11-23T14:00:00.123Z``, with 3 or 6 digits, as nearly all devices write it.

    Gives what `read_timestamp` does, in 0.3 µs instead of 2.5, or None.
    """
    length = len(text)
    if length not in _USUAL_LENGTHS or text[-1] != "Z" or text[19] != ".":
        return None
    second, fraction = _usual_second(text[:19]), text[20:-1]
    if second is None or not (fraction.isdigit() and fraction.isascii()):
        return None
    return f"{second}.{fraction}" if length == _LONGEST_USUAL else f"{second}.{fraction}000"


def check_skew(time: str, received: str, max_clock_skew_s: float) -> str | Problem:
    """Return the timestamp again unless it lies too far ahead of the message's arrival."""
    if time <= received or _from_string(time) - _from_string(received) <= max_clock_skew_s * _SECOND_US:  # type: ignore[operator]  # both are ours
        return time
    found = f"timestamp is {time} UTC, the message came {received} UTC"
    allowed = f"it may lie at most MAX_CLOCK_SKEW_S ({max_clock_skew_s:g} s) ahead"
    return Problem(Reason.TIMESTAMP_OUT_OF_RANGE, f"{found}; {allowed}")


def format_timestamp(time_us: int) -> str:
    """Return a time in range as the application stores it: ``2026-11-23 14:00:00.123456``, UTC."""
    day, in_day_us = divmod(time_us, _DAY_US)
    second, microsecond = divmod(in_day_us, _SECOND_US)
    minute, second = divmod(second, 60)
    hour, minute = divmod(minute, 60)
    return f"{_date_of(day)} {hour:02}:{minute:02}:{second:02}.{microsecond:06}"


@lru_cache(maxsize=1024)  # a second holds many messages
def _usual_second(text: str) -> str | None:
    """Read ``2026-11-23T14:00:00``; None for what is no second within the range."""
    match = _WRITTEN.fullmatch(f"{text}Z")
    time_us = _from_written(match) if match is not None else None
    if time_us is None or not EARLIEST_US <= time_us <= LATEST_US:
        return None
    return format_timestamp(time_us).removesuffix(".000000")


def _read(value: object) -> int | None:
    if isinstance(value, str):
        return _from_string(value)
    if isinstance(value, bool):
        return None
    if isinstance(value, int):
        return _from_integer(value)
    return _from_decimal(repr(value)) if isinstance(value, float) else None


def _from_string(text: str) -> int | None:
    match = _WRITTEN.fullmatch(text)
    if match is not None:
        return _from_written(match)
    numeric = read_numeric(text)
    return None if numeric is None else _from_decimal(numeric)


def _from_written(match: re.Match[str]) -> int | None:
    date_, separator, hour, minute, second, fraction, zone = match.groups()
    day = _day_of(date_)
    if day is None or (zone is None and separator != " "):
        return None
    in_day = int(hour) * 3600 + int(minute) * 60 + int(second) - _offset_s(zone)
    if second == "60" and in_day % 86_400:
        return None  # a leap second is a UTC day's last (RFC 3339, 5.7); it is taken for the next day's first
    microsecond = int(fraction[:6].ljust(6, "0")) if fraction else 0
    return day * _DAY_US + in_day * _SECOND_US + microsecond


def _offset_s(zone: str | None) -> int:
    """Return how many seconds a zone is ahead of UTC."""
    if zone is None or zone in "Zz":
        return 0
    ahead = int(zone[1:3]) * 3600 + int(zone[4:6]) * 60
    return ahead if zone[0] == "+" else -ahead


def _from_integer(number: int) -> int:
    return number * _unit_ns(abs(number)) // 1000


def _from_decimal(numeric: str) -> int:
    """Read a Unix time from decimal notation, of any length and with any exponent."""
    if not 1 <= float(numeric) <= _LARGEST_UNIX:  # also keeps the exponent within what Decimal can hold
        return _OUT_OF_RANGE_US
    number = _DECIMAL.create_decimal(numeric)
    return int(_DECIMAL.multiply(number, _unit_ns(number))) // 1000


def _unit_ns(magnitude: int | Decimal) -> int:
    for limit, unit_ns in _UNITS_NS:
        if magnitude < limit:
            return unit_ns
    return 1


@lru_cache(maxsize=1024)
def _day_of(text: str) -> int | None:
    """Return the days from 1970-01-01 to ``YYYY-MM-DD``; None where there is no such day."""
    try:
        return date.fromisoformat(text).toordinal() - _EPOCH_DAY
    except ValueError:
        return None


@lru_cache(maxsize=1024)
def _date_of(day: int) -> str:
    return date.fromordinal(day + _EPOCH_DAY).isoformat()
