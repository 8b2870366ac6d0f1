"""Whatever text we accept as a timestamp, the application's HTTP route reads as the same instant."""

from collections.abc import Iterator
from datetime import datetime, timedelta
from pathlib import Path
from typing import NamedTuple
from zoneinfo import available_timezones

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from streams.laravel.numeric import read_numeric
from streams.rules.problem import Problem
from streams.rules.timestamp import read_timestamp
from streams.rules.written_time import read_written
from tests.golden.timestamps import forms
from tests.parts.php import Php, PhpScript

BEGIN, DAYS = datetime(1970, 1, 2), 24_850  # noqa: DTZ001 - a local time, its zone is drawn apart
REGIONS = sorted(name for name in available_timezones() if "/" in name)


class Reading(NamedTuple):
    """What PHP makes of a text."""

    is_taken: bool
    time: str | None


class Route:
    """The application's HTTP route, as far as a timestamp is concerned."""

    def __init__(self, php: Php) -> None:
        self._script = PhpScript(php, Path(__file__).with_name("timestamps.php"), {})

    def read(self, text: str) -> Reading:
        self._script.send(text)
        return Reading(*self._script.answer())

    def close(self) -> None:
        self._script.close()


@pytest.fixture(scope="module")
def route(php: Php) -> Iterator[Route]:
    route = Route(php)
    yield route
    route.close()


def test_php_reads_the_forms_as_the_golden_file_says(route: Route) -> None:
    for form in forms():
        reading = route.read(form.text)
        assert reading.is_taken is form.php_takes, form
        if form.php_takes:
            assert reading.time == form.php_reads, form


moments = st.builds(
    lambda days, second: BEGIN + timedelta(days=days, seconds=second),
    st.integers(0, DAYS),
    st.integers(0, 86_399),
)
dates = st.sampled_from(
    ["%Y-%m-%d", "%Y/%m/%d", "%Y%m%d", "%G-W%V-%u", "%GW%V%u", "%a, %d %b %Y", "%A %d %B %Y", "%d %b %Y"]
) | st.sampled_from(
    ["%b %d %Y", "%a %b %d, %Y", "%B %d, %Y", "%Y-%j", "%m/%d/%Y", "%d.%m.%Y", "%y-%m-%d", "%d-%b-%Y"]
)
clocks = st.sampled_from(
    ["%H:%M:%S"] * 4
    + ["%H:%M", "%H%M%S", "%H%M", "%H", "24:00:00", "24:00", "24:00:01", "23:59:60", "%H:%M:60"]
)
fractions = st.sampled_from(
    ["", "", "", "", ".5", ".25", ".123", ".999999", ".123456789", ".9999999", ",5", "."]
)
zones = (
    st.sampled_from(
        ["", "", "Z", "z", "UTC", "utc", "GMT", "UT", "EST", "edt", "CST", "CDT", "MST", "MDT", "PST", "PDT"]
    )
    | st.sampled_from(
        ["CET", "BST", "A", "+02:00", "-0530", "+02", "-00:00", "+23:59", "+24:00", "+2", "+02:5", "+14"]
    )
    | st.builds(
        lambda sign, h, colon, m: f"{sign}{h:02}{colon}{m:02}",
        st.sampled_from("+-"),
        st.integers(0, 25),
        st.sampled_from([":", ""]),
        st.integers(0, 60),
    )
    | st.sampled_from(REGIONS)
    | st.just("Europe/Berlin")
)
blanks = st.sampled_from(["", "", "", " ", "\n", "\t", "  ", "\r\n", "\x0b", "\u00a0", "\0"])
texts = st.builds(
    lambda at, date, mark, clock, fraction, blank, zone, before, after: (
        before + at.strftime(date + mark + clock) + fraction + blank + zone + after
    ),
    moments,
    dates,
    st.sampled_from(["T", " ", " ", "t", "", "  ", "_", "T "]),
    clocks,
    fractions,
    st.sampled_from(["", " ", "  "]),
    zones,
    blanks,
    blanks,
)
sound = st.builds(
    lambda at, form, clock, fraction, zone: at.strftime(form.format(clock + fraction)) + zone,
    moments,
    st.sampled_from(
        ["%Y-%m-%dT{}", "%Y-%m-%d {}", "%Y/%m/%d {}", "%G-W%V-%uT{}", "%a, %d %b %Y {}", "%A %d %B %Y {}"]
    )
    | st.sampled_from(["%d %b %Y {}", "%b %d %Y {}", "%a, %B %d, %Y {}"]),
    st.sampled_from(["%H:%M:%S", "24:00:00"]),
    st.sampled_from(["", ".5", ".0", ".123456789"]),
    st.sampled_from(["", "Z", " UTC", "gmt", " est", " +02:00", " -0530", "+02", " Europe/Berlin"]),
)
others = (
    st.builds(lambda at, form: at.strftime(form), moments, dates)
    | st.builds(
        lambda at, day: at.strftime(f"%a %b {day} %H:%M:%S %Y"), moments, st.sampled_from(["%d", "%e"])
    )
    | st.builds(
        lambda number, places: f"@{number}" + (f".{'123456789'[:places]}" if places else ""),
        st.integers(-5, 2**31),
        st.integers(0, 7),
    )
)
changes = st.tuples(st.integers(0, 40), st.sampled_from([*"0123456789 -/:.,+TZWabN\n"]) | st.characters())


def changed(text: str, change: tuple[int, str] | None) -> str:
    if change is None:
        return text
    at, character = change
    return f"{text[:at]}{character}{text[at + 1 :]}"


@settings(max_examples=3_000)
@given(st.builds(changed, texts | texts | sound | sound | others, st.none() | st.none() | changes))
def test_what_is_accepted_php_reads_as_the_same_instant(route: Route, text: str) -> None:
    here = read_timestamp(text)
    if isinstance(here, Problem) or (read_written(text) is None and read_numeric(text) is not None):
        return  # a numeric text is Unix time here, which PHP does not read
    assert route.read(text) == Reading(is_taken=True, time=here)


@given(moments, st.sampled_from(REGIONS))
@settings(max_examples=500)
def test_the_zones_of_regions_are_php_s(route: Route, at: datetime, region: str) -> None:
    text = f"{at:%Y-%m-%d %H:%M:%S} {region}"
    here = read_timestamp(text)
    if isinstance(here, str):
        assert route.read(text) == Reading(is_taken=True, time=here)


@pytest.mark.parametrize(
    "form",
    ["%Y-%m-%dT%H:%M:%SZ", "%a, %d %b %Y %H:%M:%S GMT", "%G-W%V-%u", "%a %b %e %H:%M:%S %Y", "%Y%m%dT%H%M%S"],
)
def test_every_day_is_accepted_in_each_form(route: Route, form: str) -> None:
    for day in range(10_957, DAYS, 97):
        text = (BEGIN + timedelta(days=day, hours=13)).strftime(form)
        assert route.read(text) == Reading(is_taken=True, time=str(read_timestamp(text)))
