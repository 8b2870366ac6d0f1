import math
from datetime import UTC, datetime, timedelta, timezone
from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from streams.models import Reason
from streams.rules.problem import Problem
from streams.rules.timestamp import (
    EARLIEST,
    EARLIEST_US,
    LATEST_US,
    check_earliest,
    check_skew,
    format_timestamp,
    read_earliest,
    read_timestamp,
)
from streams.rules.written_time import EXPECTED
from tests.golden.timestamps import Form, forms
from tests.parts.names import named

EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
moments_us = st.integers(EARLIEST_US, LATEST_US)
UNITS_US = {"s": Fraction(10**6), "ms": Fraction(10**3), "µs": Fraction(1), "ns": Fraction(1, 10**3)}


def reason(value: object) -> Reason:
    problem = read_timestamp(value)
    assert isinstance(problem, Problem), problem
    return problem.reason


def written(value: object) -> str:
    time = read_timestamp(value)
    assert isinstance(time, str), time
    return time


@pytest.mark.parametrize(
    "value",
    [
        "2026-11-23T14:00:00.123456Z",
        "2026-11-23t14:00:00.123456z",
        "2026-11-23 14:00:00.123456Z",
        "2026-11-23 14:00:00.123456",
        "2026-11-23T16:30:00.123456+02:30",
        "2026-11-22T14:01:00.123456-23:59",
        "2026-11-23T14:00:00.123456-00:00",
        "2026-11-23T14:00:00.123456999999999999Z",
        "2026-11-23T14:00:00.123456",
        " 2026-11-23T14:00:00.123456Z\r\n",
        "2026/11/23 14:00:00.123456 UTC",
        "2026-11-23T14:00:00.123456gmt",
        "2026-11-23T16:00:00.123456+02",
        "2026-11-23 19:30:00.123456 +0530",
        "2026-11-23T09:00:00.123456 EST",
        "2026-11-23 15:00:00.123456 Europe/Berlin",
        "2026-W48-1T14:00:00.123456",
        "Mon, 23 Nov 2026 14:00:00.123456 GMT",
        "23 November 2026 14:00:00.123456",
        "Nov 23, 2026 14:00:00.123456",
        "Mon Nov 23 14:00:00.123456 2026",
        "@1795442400.123456",
        1795442400.123456,
        1795442400123.456,
        1795442400123456,
        1795442400123456999,
        "1795442400.123456",
        " 1795442400.1234569999\n",
        "+1795442400123456",
        "1.7954424001234565e9",
        "1795442400123456789" + "0" * 60_000 + "e-60000",
        "000001795442400123456.7",
    ],
    ids=named,
)
def test_all_ways_to_write_a_time_give_the_same(value: object) -> None:
    assert written(value) == "2026-11-23 14:00:00.123456"


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        ("2026-11-23T14:00:00Z", "2026-11-23 14:00:00.000000"),
        ("2026-11-23 14:00:00.5", "2026-11-23 14:00:00.500000"),
        (1795442400, "2026-11-23 14:00:00.000000"),
        ("2026-11-23T14:00", "2026-11-23 14:00:00.000000"),
        ("20261123T140000Z", "2026-11-23 14:00:00.000000"),
        ("2026-11-23T24:00:00Z", "2026-11-24 00:00:00.000000"),
        ("2026-11-23", "2026-11-23 00:00:00.000000"),
        ("20261123", "2026-11-23 00:00:00.000000"),  # as Unix time it would lie in 1970
        ("20261123140000", "2026-11-23 14:00:00.000000"),  # as Unix time it would lie in 2612
        ("2026-W48-1", "2026-11-23 00:00:00.000000"),
        ("Fri Nov  6 10:00:00 2026", "2026-11-06 10:00:00.000000"),
        ("2016-12-31T23:59:60Z", "2017-01-01 00:00:00.000000"),
        ("2016-12-31T15:59:60.25-08:00", "2017-01-01 00:00:00.250000"),
        ("2024-02-29T12:00:00Z", "2024-02-29 12:00:00.000000"),
        (99_999_999_999_9, "2001-09-09 01:46:39.999000"),
        (1, "1970-01-01 00:00:01.000000"),
        ("1970-01-01T00:00:01Z", "1970-01-01 00:00:01.000000"),
        ("2038-01-19 03:14:07.999999", "2038-01-19 03:14:07.999999"),
        ("2038-01-19T04:14:07.9999999999+01:00", "2038-01-19 03:14:07.999999"),
        (2_147_483_647_999_999_999, "2038-01-19 03:14:07.999999"),
    ],
    ids=named,
)
def test_times_are_stored_as_the_application_writes_them(value: object, expected: str) -> None:
    assert written(value) == expected


@pytest.mark.parametrize(
    "value",
    [
        "",
        "now",
        "14:00:00",
        "2026-11-23 14:00:00.",
        "2026-11-23  14:00:00",
        "2026-11-23T 14:00:00",  # T before a blank is a zone of PHP's, which is seven hours behind
        "2026-11-23T24:00:01Z",
        "2026-11-23T24:00:00.5Z",
        "Tue, 23 Nov 2026 14:00:00 GMT",  # which PHP takes for the Tuesday after that Monday
        "Mon, 23 Nov 2026 24:00:00 GMT",  # which PHP takes for the Monday after
        "Mon, 23 Nov 26 14:00:00 GMT",
        "Mon, 23 Now 2026 14:00:00 GMT",
        "23 Nov 2026",
        "2026-W54-1",
        "2025-W53-1",
        "2026-327T14:00:00Z",
        "2026-11-23T14:00:00 BST",
        "2026-11-23T14:00:00 EXT",
        "2026-10-25 02:30:00 Europe/Berlin",  # comes twice
        "2026-03-29 02:30:00 Europe/Berlin",  # never comes
        "2026-11-23 14:00:00 Europe/Atlantis",
        "2026-11-23 14:00:00 Europe/../Berlin",
        "2026-11-23 14:00:00 America/Argentina",
        "9999-12-31T24:00:00Z",
        "@",
        "@1795442400.1234567",
        "2026-11-23_14:00:00Z",
        "2026-11-23T14:00:00,5Z",
        "2026-11-23T14:00:00+24:00",
        "2026-11-23T14:00:00+02:60",
        "2026-11-23T14:60:00Z",
        "2026-11-23T14:00:60Z",
        "2016-12-31T23:59:60+01:00",
        "2026-11-23T14:00:61Z",
        "2026-02-29T14:00:00Z",
        "2026-13-01T14:00:00Z",
        "2026-00-10T14:00:00Z",
        "0000-00-00 00:00:00",
        "٢٠٢٦-11-23T14:00:00Z",
        "0x6b",
        "2026-11-23T14:00:00Z\0",
        "\ud800",
        True,
        [],
        [1795442400],
        {},
    ],
    ids=named,
)
def test_anything_else_is_invalid(value: object) -> None:
    assert reason(value) is Reason.TIMESTAMP_INVALID


@pytest.mark.parametrize(
    "value",
    [
        "1970-01-01T00:00:00.999999Z",
        "1969-12-31T23:59:59Z",
        "0001-01-01T00:00:00Z",
        "2038-01-19T03:14:08Z",
        "9999-12-31T23:59:59Z",
        0,
        -1,
        0.999,
        2_147_483_648,
        99_999_999_999,
        -1795442400,
        10**30,
        10**5000,
        math.inf,
        -math.inf,
        "0",
        "-5",
        "1e999",
        "1e-999",
        "0e999999999999999999999",
        "1e-999999999999999999999",
        "1e999999999999999999999",
        "9" * 60_000,
        "-" + "9" * 60_000,
    ],
    ids=named,
)
def test_times_beyond_the_column_are_out_of_range(value: object) -> None:
    assert reason(value) is Reason.TIMESTAMP_OUT_OF_RANGE


@pytest.mark.parametrize("form", forms(), ids=lambda form: named(form.text))
def test_what_devices_really_send_is_read_as_php_reads_it_or_refused(form: Form) -> None:
    found = read_timestamp(form.text)
    if form.here in ("refused", "beyond"):
        assert isinstance(found, Problem)
        assert (found.reason is Reason.TIMESTAMP_OUT_OF_RANGE) is (form.here == "beyond")
    else:
        assert isinstance(found, str)
        assert form.here == "unix" or found == form.php_reads


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("now", EXPECTED),
        ("11/20/2026 10:00:00", "YYYY-MM-DD, since the order of day and month is not certain"),
        ("20.11.2026", "YYYY-MM-DD, since the order of day and month is not certain"),
        ("2026-324T10:00:00Z", "YYYY-MM-DD: a day of the year is no date to PHP"),
        ("2026-11-20T10:00:00,5Z", "RFC 3339 with a point before the fraction"),
    ],
)
def test_the_form_that_was_expected_is_named(text: str, expected: str) -> None:
    detail = f"timestamp is '{text}'; it must be {expected}"
    assert read_timestamp(text) == Problem(Reason.TIMESTAMP_INVALID, detail)


@pytest.mark.parametrize(
    ("value", "reason", "detail"),
    [
        (
            0,
            Reason.TIMESTAMP_OUT_OF_RANGE,
            "timestamp is 0; it must be from 1970-01-01 00:00:01 to 2038-01-19 03:14:07 UTC",
        ),
        ([], Reason.TIMESTAMP_INVALID, f"timestamp is an array; it must be {EXPECTED}"),
    ],
)
def test_what_is_wrong_with_a_timestamp_is_said_with_what_was_found(
    value: object, reason: Reason, detail: str
) -> None:
    assert read_timestamp(value) == Problem(reason, detail)


def test_a_timestamp_before_the_earliest_is_refused_with_what_the_device_lacks() -> None:
    earliest = "2000-01-01 00:00:00.000000"
    assert check_earliest(earliest, earliest) == earliest
    assert check_earliest("1999-12-31 23:59:59.999999", earliest) == Problem(
        Reason.TIMESTAMP_OUT_OF_RANGE,
        "timestamp is 1999-12-31 23:59:59.999999 UTC; it must not lie before MIN_TIMESTAMP "
        "(2000-01-01 00:00:00.000000 UTC): the device's clock is probably not set",
    )


def test_the_earliest_time_that_is_taken_can_be_set() -> None:
    assert read_earliest("2000-01-01") == "2000-01-01 00:00:00.000000"
    assert read_earliest("1970-01-01") == EARLIEST
    for bad in ("", "now", "11/20/2026", "2039-01-01"):
        with pytest.raises(ValueError, match="must be a time"):
            read_earliest(bad)


@given(moments_us, st.integers(-1439, 1439), st.sampled_from("Tt "))
def test_rfc_3339_is_read_to_the_microsecond(time_us: int, offset_minutes: int, separator: str) -> None:
    zone = timezone(timedelta(minutes=offset_minutes))
    text = (EPOCH + timedelta(microseconds=time_us)).astimezone(zone).isoformat(separator, "microseconds")
    assert read_timestamp(text) == format_timestamp(time_us)


@given(moments_us)
def test_what_is_written_is_read_back(time_us: int) -> None:
    text = format_timestamp(time_us)
    assert read_timestamp(text) == text
    assert text == (EPOCH + timedelta(microseconds=time_us)).strftime("%Y-%m-%d %H:%M:%S.%f")


@given(st.integers(1, 2**80), st.integers(0, 30))
def test_decimal_notation_is_read_exactly_and_truncated(digits: int, places: int) -> None:
    exact = Fraction(digits, 10**places)
    unit = "s" if exact < 10**11 else "ms" if exact < 10**14 else "µs" if exact < 10**17 else "ns"
    expected = int(exact * UNITS_US[unit])
    found = read_timestamp(f"{digits}e-{places}")
    if EARLIEST_US <= expected <= LATEST_US:
        assert found == format_timestamp(expected)
    else:
        assert isinstance(found, Problem)
        assert found.reason is Reason.TIMESTAMP_OUT_OF_RANGE


@given(st.integers(1, 2_147_483_647), st.integers(0, 999_999))
def test_a_double_of_seconds_keeps_its_microseconds(seconds: int, microseconds: int) -> None:
    expected = format_timestamp(seconds * 10**6 + microseconds)
    assert read_timestamp(float(f"{seconds}.{microseconds:06}")) == expected


@given(st.integers() | st.floats() | st.text() | st.text("0123456789.eE+-:TZ "))
def test_nothing_makes_it_raise(value: object) -> None:
    assert isinstance(read_timestamp(value), str | Problem)


def test_a_time_may_lie_ahead_of_its_arrival_by_the_allowed_skew() -> None:
    received, latest = "2026-11-23 14:00:00.000000", "2026-11-24 14:00:00.000000"
    beyond = "2026-11-24 14:00:00.000001"
    assert check_skew(received, received, 0) == received
    assert check_skew(latest, received, 86_400) == latest
    assert check_skew(beyond, received, math.inf) == beyond
    assert check_skew(beyond, received, 86_400) == Problem(
        Reason.TIMESTAMP_OUT_OF_RANGE,
        "timestamp is 2026-11-24 14:00:00.000001 UTC, the message came 2026-11-23 14:00:00.000000 UTC; "
        "it may lie at most MAX_CLOCK_SKEW_S (86400 s) ahead",
    )


@given(
    moments_us.map(lambda time_us: (EPOCH + timedelta(microseconds=time_us)).strftime("%Y-%m-%dT%H:%M:%S.%f"))
    | st.from_regex(
        r"[0-9]{4}-[01][0-9]-[0-3][0-9]T[0-2][0-9]:[0-5][0-9]:[0-6][0-9]\.[0-9]{6}", fullmatch=True
    ),
    st.sampled_from((3, 6)),
    st.none() | st.tuples(st.integers(0, 26), st.characters()),
)
def test_the_usual_form_is_read_as_any_other(text: str, places: int, change: tuple[int, str] | None) -> None:
    """One digit more makes it unusual, and changes nothing that is kept."""
    usual = f"{text[: 20 + places]}Z"
    if change is not None:
        at, character = change
        usual = f"{usual[:at]}{character}{usual[at + 1 :]}"
    unusual = f"{usual[:-1]}{'0' * (6 - places)}9{usual[-1:]}"
    found, expected = read_timestamp(usual), read_timestamp(unusual)
    if isinstance(found, str) or isinstance(expected, str):
        assert found == expected
