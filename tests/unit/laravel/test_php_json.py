import json
import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from streams.laravel.php_json import Json, encode

# Up to where each integral double, which PHP writes like an integer, is read as the same integer.
scalars = st.none() | st.booleans() | st.integers() | st.floats(-1e15, 1e15) | st.text()
values = st.recursive(
    scalars, lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner), max_leaves=10
)


@pytest.mark.parametrize(
    ("value", "text", "unescaped"),
    [
        (None, "null", "null"),
        ([True, False], "[true,false]", "[true,false]"),
        ({"a": {}, "b": []}, '{"a":{},"b":[]}', '{"a":{},"b":[]}'),
        (1.0, "1", "1"),
        (1e-7, "1.0e-7", "1.0e-7"),
        (1.5e25, "1.5e+25", "1.5e+25"),
        ("a/b", r'"a\/b"', r'"a\/b"'),
        ('"\\\b\f\n\r\t\x01\x1f', r'"\"\\\b\f\n\r\t\u0001\u001f"', r'"\"\\\b\f\n\r\t\u0001\u001f"'),
        ("\x7f\\u007f\x7f", '"\x7f\\\\u007f\x7f"', '"\x7f\\\\u007f\x7f"'),
        ("é€\U0001f600", r'"\u00e9\u20ac\ud83d\ude00"', '"é€\U0001f600"'),
        ("\u2028\u2029", r'"\u2028\u2029"', r'"\u2028\u2029"'),
    ],
)
def test_json_is_written_as_php_does(value: Json, text: str, unescaped: str) -> None:
    assert encode(value) == text
    assert encode(value, unescaped_unicode=True) == unescaped


@given(value=values, unescaped=st.booleans())
def test_values_come_back_as_they_went(value: Json, *, unescaped: bool) -> None:
    assert json.loads(encode(value, unescaped_unicode=unescaped)) == value


@given(st.floats(allow_nan=False, allow_infinity=False))
def test_every_double_comes_back_as_it_went(number: float) -> None:
    assert json.loads(encode(number), parse_int=float) == number


@pytest.mark.parametrize("number", [math.nan, math.inf, -math.inf])
def test_what_json_cannot_hold_is_our_fault(number: float) -> None:
    with pytest.raises(ValueError, match="has no digits"):
        encode([number])
