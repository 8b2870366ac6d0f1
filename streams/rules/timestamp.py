"""The timestamp: a number or a text (`streams.rules.written_time`), for one column behind the job.

Inside the rules a time is the text that the application stores, ``2026-11-23 14:00:00.123456`` in UTC: of
one width, so that it sorts as time does. It is reached by exact arithmetic, so a replay reads the very same.
"""

import re
from datetime import date
from decimal import ROUND_DOWN, Context, Decimal
from functools import lru_cache

from streams.laravel.numeric import read_numeric
from streams.models import Reason
from streams.rules.problem import Problem, shown
from streams.rules.written_time import EXPECTED, expected, read_written

EARLIEST, EARLIEST_US = "1970-01-01 00:00:01.000000", 1_000_000
"""1970-01-01 00:00:01, where MySQL's TIMESTAMP begins (manual: "The DATE, DATETIME, and TIMESTAMP Types")."""
LATEST_US = 2_147_483_647_999_999
"""2038-01-19 03:14:07.999999, where it ends."""

_SECOND_US = 1_000_000
_DAY_US = 86_400 * _SECOND_US
_LONGEST_USUAL = len("2026-11-23T14:00:00.123456Z")
_USUAL_LENGTHS = (_LONGEST_USUAL, len("2026-11-23T14:00:00.123Z"))
_EPOCH_DAY = date(1970, 1, 1).toordinal()

_USUAL_SECOND = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9]{2}:[0-9]{2}:[0-9]{2}")

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
        right = expected(value) if isinstance(value, str) else EXPECTED
        return Problem(Reason.TIMESTAMP_INVALID, f"timestamp is {shown(value)}; it must be {right}")
    if not EARLIEST_US <= time_us <= LATEST_US:
        right = "from 1970-01-01 00:00:01 to 2038-01-19 03:14:07 UTC"
        return Problem(Reason.TIMESTAMP_OUT_OF_RANGE, f"timestamp is {shown(value)}; it must be {right}")
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


def check_earliest(time: str, earliest: str) -> str | Problem:
    """Return the timestamp again unless it lies before MIN_TIMESTAMP, as that of a device without a clock."""
    if time >= earliest:
        return time
    found = f"timestamp is {time} UTC; it must not lie before MIN_TIMESTAMP ({earliest} UTC)"
    return Problem(Reason.TIMESTAMP_OUT_OF_RANGE, f"{found}: the device's clock is probably not set")


def check_skew(time: str, received: str, max_clock_skew_s: float) -> str | Problem:
    """Return the timestamp again unless it lies too far ahead of the message's arrival."""
    if time <= received or _from_string(time) - _from_string(received) <= max_clock_skew_s * _SECOND_US:  # type: ignore[operator]  # both are ours
        return time
    found = f"timestamp is {time} UTC, the message came {received} UTC"
    allowed = f"it may lie at most MAX_CLOCK_SKEW_S ({max_clock_skew_s:g} s) ahead"
    return Problem(Reason.TIMESTAMP_OUT_OF_RANGE, f"{found}; {allowed}")


def read_earliest(text: str) -> str:
    """Return MIN_TIMESTAMP in the form that rows have; the beginning of the range where it lies before.

    Raises:
        ValueError: it is no time, or lies beyond the range.
    """
    time_us = read_written(text)
    if time_us is None or time_us > LATEST_US:
        raise ValueError("must be a time until 2038, such as 2000-01-01 or 2026-11-20T10:00:00Z")
    return format_timestamp(max(time_us, EARLIEST_US))


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
    time_us = read_written(f"{text}Z") if _USUAL_SECOND.fullmatch(text) is not None else None
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
    time_us = read_written(text)
    if time_us is not None:
        return time_us
    numeric = read_numeric(text)
    return None if numeric is None else _from_decimal(numeric)


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
def _date_of(day: int) -> str:
    return date.fromordinal(day + _EPOCH_DAY).isoformat()
