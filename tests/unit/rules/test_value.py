import json
import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from streams.models import Reason
from streams.rules.problem import Problem
from streams.rules.value import BOUND, read_value
from tests.parts.names import named


def reason(value: object) -> Reason:
    problem = read_value(value)
    assert isinstance(problem, Problem), problem
    return problem.reason


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (0, 0),
        (-1, -1),
        (42.17, 42.17),
        (1.0, 1.0),
        ("1", 1),
        ("+007", 7),
        (" \t\n\r\v\f-12.5 \t\n\r\v\f", -12.5),
        (".5", 0.5),
        ("1.", 1.0),
        ("1e3", 1000.0),
        ("1.E-3", 0.001),
        ("1e-999", 0.0),
        ("0" * 60_000 + "1", 1),
        ("0." + "0" * 60_000 + "1", 0.0),
        (999_999_999_999, 999_999_999_999),
        (-999_999_999_999.99, -999_999_999_999.99),
        ("999999999999.99", 999_999_999_999.99),
    ],
    ids=named,
)
def test_numbers_and_numeric_strings_are_values(value: object, expected: float) -> None:
    found = read_value(value)
    assert (type(found), found) == (type(expected), expected)


@pytest.mark.parametrize("value", [-0.0, "-0.0", "-0", "-.0e9"])
def test_negative_zero_is_zero(value: object) -> None:
    found = read_value(value)
    assert isinstance(found, int | float)
    assert math.copysign(1, found) == 1


def test_null_is_missing() -> None:
    assert reason(None) is Reason.VALUE_MISSING


@pytest.mark.parametrize(
    "value",
    [
        True,
        False,
        "",
        " ",
        ".",
        "abc",
        "1,5",
        "1_000",
        "0x1A",
        "0b1",
        "1e",
        "e5",
        "--1",
        "1 2",
        "NaN",
        "Infinity",
        "-inf",
        "١٢",
        "\uff11\uff12",
        "\u00a01",
        "1\0",
        "\ud800",
        [],
        [1],
        {},
        {"a": 1},
        "1" * 60_000 + "x",
    ],
    ids=named,
)
def test_anything_else_is_not_a_number(value: object) -> None:
    assert reason(value) is Reason.VALUE_NOT_A_NUMBER


@pytest.mark.parametrize(
    "value",
    [
        10**12,
        -(10**12),
        10**4000,
        10**5000,
        1e12,
        math.inf,
        -math.inf,
        "1000000000000",
        "1e999",
        "-1e999999999999999999999",
        "9" * 60_000,
        "999999999999.9999",
        999_999_999_999.991,
    ],
    ids=named,
)
def test_numbers_beyond_the_column_are_out_of_range(value: object) -> None:
    assert reason(value) is Reason.VALUE_OUT_OF_RANGE


def test_what_is_wrong_with_a_value_is_said_with_what_was_found() -> None:
    for value, reason_, detail in (
        (None, Reason.VALUE_MISSING, "value is absent or null; it must be a number or a numeric string"),
        ("abc", Reason.VALUE_NOT_A_NUMBER, "value is 'abc'; it must be a number or a numeric string"),
        ([1], Reason.VALUE_NOT_A_NUMBER, "value is an array; it must be a number or a numeric string"),
        (10**12, Reason.VALUE_OUT_OF_RANGE, "value is 1000000000000; it must be within ±999,999,999,999.99"),
    ):
        assert read_value(value) == Problem(reason_, detail)


@given(st.integers(-(10**12) + 1, 10**12 - 1))
def test_an_integer_is_the_same_as_a_number_and_as_a_string(value: int) -> None:
    assert read_value(value) == read_value(str(value)) == value
    assert isinstance(read_value(str(value)), int)


@given(st.floats(-BOUND, BOUND))
def test_a_double_is_the_same_as_a_number_and_as_a_string(value: float) -> None:
    assert read_value(value) == read_value(repr(value)) == json.loads(json.dumps(value))


@given(st.text())
def test_a_detail_is_one_short_line_that_can_be_encoded(text: str) -> None:
    problem = read_value(f"x{text}")
    assert isinstance(problem, Problem)
    assert problem.detail.isprintable()
    assert len(problem.detail.encode()) < 500
