"""A time in words and digits, as devices write it and PHP reads it.

What is accepted has one meaning, and PHP's ``strtotime``, with which the application's HTTP route reads a
date, gives it the same (``tests/contract/test_timestamps.py``). PHP reads more. Refused here is what depends
on the clock (``tomorrow``) or on who wrote it (``11/20/2026``), and what PHP corrects (``2026-02-30``).
"""

import re
from datetime import date
from functools import lru_cache

from streams.rules.zones import ZONE, offset_s

_SECOND_US = 1_000_000
_DAY_S = 86_400
_EPOCH_DAY = date(1970, 1, 1).toordinal()
_MONTHS = (
    *("january", "february", "march", "april", "may", "june"),
    *("july", "august", "september", "october", "november", "december"),
)
_DAYS = ("monday", "tuesday", "wednesday", "thursday", "friday", "saturday", "sunday")

_CLOCK = r"""
    (?P<hour> [01][0-9] | 2[0-4] ) : (?P<minute> [0-5][0-9] )
    (?: : (?P<second> [0-5][0-9] | 60 ) (?: \. (?P<fraction> [0-9]++ ) )? )?
"""
_NAMED_DAY = r"(?P<weekday> [A-Za-z]{3,9} )"
_NAMED_MONTH = r"(?P<month_name> [A-Za-z]{3,9} )"
_DAY_OF_MONTH = r"(?P<day> [0-9]{1,2} )"
_YEAR = r"(?P<year> [0-9]{4} )"
_BLANKS = " \t\r\n"


def _form(pattern: str) -> re.Pattern[str]:
    return re.compile(pattern, re.VERBOSE)


_FORMS = (
    # RFC 3339 and what comes near it: 2026-11-20T10:00:00.5+01:00, 2026/11/20 10:00 UTC, 2026-11-20
    _form(
        rf"{_YEAR} (?P<mark> [-/] ) (?P<month> [0-9]{{2}} ) (?P=mark) (?P<day> [0-9]{{2}} )"
        rf"(?: [Tt\x20] {_CLOCK} (?: \x20?+ (?P<zone> {ZONE} ) )? )?"
    ),
    # ISO 8601, basic: 20261120T100000Z, 20261120
    _form(
        rf"{_YEAR} (?P<month> [0-9]{{2}} ) (?P<day> [0-9]{{2}} )"
        r"(?: [Tt\x20]? (?P<hour> [01][0-9] | 2[0-4] ) (?P<minute> [0-5][0-9] ) (?P<second> [0-5][0-9] | 60 )"
        rf"(?: \x20?+ (?P<zone> {ZONE} ) )? )?"
    ),
    # ISO 8601, by week: 2026-W47-5
    _form(
        rf"{_YEAR} -? W (?P<week> [0-9]{{2}} ) -? (?P<day_of_week> [1-7] )"
        rf"(?: [Tt\x20] {_CLOCK} (?: \x20?+ (?P<zone> {ZONE} ) )? )?"
    ),
    # RFC 2822 and HTTP: Fri, 20 Nov 2026 10:00:00 GMT
    _form(
        rf"(?: {_NAMED_DAY} ,? \x20 )? {_DAY_OF_MONTH} \x20 {_NAMED_MONTH} \x20 {_YEAR} \x20 {_CLOCK}"
        rf"(?: \x20 (?P<zone> {ZONE} ) )?"
    ),
    # Nov 20 2026 10:00:00
    _form(
        rf"(?: {_NAMED_DAY} ,? \x20 )? {_NAMED_MONTH} \x20 {_DAY_OF_MONTH} ,? \x20 {_YEAR} \x20 {_CLOCK}"
        rf"(?: \x20 (?P<zone> {ZONE} ) )?"
    ),
    # C's asctime: Fri Nov 20 10:00:00 2026
    _form(rf"{_NAMED_DAY} \x20 {_NAMED_MONTH} \x20{{1,2}} {_DAY_OF_MONTH} \x20 {_CLOCK} \x20 {_YEAR}"),
)
_UNIX = re.compile(r"@ (-?[0-9]{1,18}) (?: \. ([0-9]{1,6}) )?", re.VERBOSE)

EXPECTED = (
    "RFC 3339 such as 2026-11-20T10:00:00Z, YYYY-MM-DD HH:MM:SS[.f] in UTC, "
    "Fri, 20 Nov 2026 10:00:00 GMT, or Unix time"
)
_EITHER_ORDER = re.compile(r"\s*[0-9]{1,2}([./-])[0-9]{1,2}\1[0-9]{2,4}(?![0-9])")
_HINTS = (
    (_EITHER_ORDER, "YYYY-MM-DD, since the order of day and month is not certain"),
    (re.compile(r"\s*[0-9]{4}-[0-9]{3}(?![0-9])"), "YYYY-MM-DD: a day of the year is no date to PHP"),
    (re.compile(r"[^.,]{8,}:[0-9]{2},[0-9]"), "RFC 3339 with a point before the fraction"),
)


def read_written(text: str) -> int | None:
    """Return the microseconds since 1970 that a text names, if it names one time and no other."""
    text = text.strip(_BLANKS)
    if (unix := _UNIX.fullmatch(text)) is not None:
        return _unix_us(*unix.groups("0"))
    for form in _FORMS:
        match = form.fullmatch(text)
        if match is not None:
            return _time_us(match.groupdict())
    return None


def expected(text: str) -> str:
    """Return what would have been right in the place of a text that is refused."""
    for form, hint in _HINTS:
        if form.match(text[:64]):
            return hint
    return EXPECTED


def _unix_us(seconds: str, fraction: str) -> int:
    # The fraction goes on in the direction of the sign: -1.5 lies before -1.
    sign = -1 if seconds[0] == "-" else 1
    return int(seconds) * _SECOND_US + sign * int(fraction.ljust(6, "0"))


def _time_us(found: dict[str, str | None]) -> int | None:
    day = _day(found)
    second = _second_of_day(found)
    if day is None or second is None or not _fits(found.get("weekday"), day, second):
        return None
    day, second_of_day = day + second // _DAY_S, second % _DAY_S
    zone = found.get("zone")
    if zone is not None:
        try:
            local = date.fromordinal(day + _EPOCH_DAY)
        except ValueError:
            return None
        ahead = offset_s(zone, local.year, local.month, local.day, second_of_day)
        if ahead is None:
            return None
        second_of_day -= ahead
    if found.get("second") == "60" and second_of_day % _DAY_S:
        return None  # a leap second is a UTC day's last (RFC 3339, 5.7); it is taken for the next day's first
    fraction = found.get("fraction") or ""
    return (day * _DAY_S + second_of_day) * _SECOND_US + int(fraction[:6].ljust(6, "0"))


def _second_of_day(found: dict[str, str | None]) -> int | None:
    """Return the second of the day, 86,400 for its end; None beyond that."""
    hour, minute, second = (int(found.get(unit) or 0) for unit in ("hour", "minute", "second"))
    second += hour * 3600 + minute * 60
    is_beyond = hour == 24 and (second > _DAY_S or int(found.get("fraction") or 0))  # noqa: PLR2004 - hours
    return None if is_beyond else second


def _fits(weekday: str | None, day: int, second: int) -> bool:
    """Tell whether the day of the week is right; where it is not, PHP goes on to the next one that is.

    So it does from the end of a day, which is another day's beginning.
    """
    if weekday is None:
        return True
    number = _number(weekday, _DAYS)
    return number == (day + _EPOCH_DAY - 1) % 7 and second < _DAY_S


def _day(found: dict[str, str | None]) -> int | None:
    """Return the days since 1970; None where there is no such day."""
    year, month_name = str(found["year"]), found.get("month_name")
    if (week := found.get("week")) is not None:
        return _day_of_week(int(year), int(week), int(found["day_of_week"] or 0))
    month = int(found.get("month") or 0) if month_name is None else _number(month_name, _MONTHS) + 1
    return day_of(f"{year}-{month:02}-{found['day']:>02}")


def _number(name: str, names: tuple[str, ...]) -> int:
    """Return the place of a month or day of the week; -1 for none."""
    name = name.lower()
    places = (place for place, full in enumerate(names) if name in (full, full[:3]))
    return next(places, -1)


def _day_of_week(year: int, week: int, day: int) -> int | None:
    try:
        return date.fromisocalendar(year, week, day).toordinal() - _EPOCH_DAY
    except ValueError:
        return None


@lru_cache(maxsize=1024)
def day_of(text: str) -> int | None:
    """Return the days from 1970-01-01 to ``YYYY-MM-DD``; None where there is no such day."""
    try:
        return date.fromisoformat(text).toordinal() - _EPOCH_DAY
    except ValueError:
        return None
