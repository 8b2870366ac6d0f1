"""The value: a JSON number or numeric string that fits the column ``double(16,4)`` behind the job."""

from streams.laravel.numeric import is_integral, read_numeric
from streams.models import Reason
from streams.rules.problem import Problem, shown

BOUND = 999_999_999_999.99
"""Beyond it MySQL refuses a value, and the whole job with it. The column itself ends at 999,999,999,999.9999,
but PHP hands a double to the database in 14 digits (its ``precision``), which would make 10¹² of that."""

_EXPECTED = "a number or a numeric string"


def read_value(value: object) -> int | float | Problem:
    """Return the value as an int where it is written as one, else as a float; never NaN, infinite or -0.0.

    Args:
        value: as decoded from JSON, None where it is absent; infinite where a number exceeds all doubles.
    """
    kind = type(value)
    if kind is float or kind is int:
        return _bounded(value)  # type: ignore[arg-type]  # mypy does not narrow on `kind`
    if isinstance(value, str):
        return _from_string(value)
    if value is None:
        return Problem(Reason.VALUE_MISSING, f"value is absent or null; it must be {_EXPECTED}")
    return _not_a_number(value)


def _bounded(number: float) -> int | float | Problem:
    if -BOUND <= number <= BOUND:
        return number or abs(number)  # -0.0 and 0.0 are one value to the database, and so to dedupe
    return Problem(
        Reason.VALUE_OUT_OF_RANGE, f"value is {shown(number)}; it must be within ±999,999,999,999.99"
    )


def _from_string(text: str) -> int | float | Problem:
    numeric = read_numeric(text)
    if numeric is None:
        return _not_a_number(text)
    # Through the double, because Python refuses to read an integer of very many digits; within the bound
    # every integer is a double.
    bounded = _bounded(float(numeric))
    return int(bounded) if isinstance(bounded, float) and is_integral(numeric) else bounded


def _not_a_number(value: object) -> Problem:
    return Problem(Reason.VALUE_NOT_A_NUMBER, f"value is {shown(value)}; it must be {_EXPECTED}")
