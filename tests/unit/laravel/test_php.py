import math
from contextlib import suppress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from streams.errors import MalformedRecord
from streams.laravel.php import MAX_DEPTH, PhpObject, PhpValue, serialize, unserialize

integers = st.integers(-(2**63), 2**63 - 1)
scalars = st.none() | st.booleans() | integers | st.floats(allow_nan=False) | st.text()
# With a key that is no index, so that the array comes back as a mapping.
keys = st.text().map(lambda text: f"k{text}")
values = st.recursive(
    scalars,
    lambda inner: (
        st.lists(inner)
        | st.dictionaries(keys | integers.filter(bool), inner, min_size=1)
        | st.builds(
            PhpObject,
            st.from_regex(r"[A-Z][a-z]+(\\[A-Z][a-z]+)?", fullmatch=True),
            st.dictionaries(keys, inner),
        )
    ),
    max_leaves=10,
)


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (None, "N;"),
        (True, "b:1;"),
        (False, "b:0;"),
        (-7, "i:-7;"),
        (42.17, "d:42.17;"),
        (1.0, "d:1;"),
        (-0.0, "d:-0;"),
        (0.0001, "d:0.0001;"),
        (0.00001, "d:1.0E-5;"),
        (99999999999999990.0, "d:99999999999999980;"),
        (1e17, "d:1.0E+17;"),
        (1.5e300, "d:1.5E+300;"),
        (math.inf, "d:INF;"),
        (-math.inf, "d:-INF;"),
        ("", 's:0:"";'),
        ("€", 's:3:"€";'),
        ('";', 's:2:"";";'),
        ([], "a:0:{}"),
        ([1, "a"], 'a:2:{i:0;i:1;i:1;s:1:"a";}'),
        ({"a": [None]}, 'a:1:{s:1:"a";a:1:{i:0;N;}}'),
        ({5: 1, "05": 2, "-3": 3, "-0": 4}, 'a:4:{i:5;i:1;s:2:"05";i:2;i:-3;i:3;s:2:"-0";i:4;}'),
        (PhpObject("App\\Job", {"tries": 5}), 'O:7:"App\\Job":1:{s:5:"tries";i:5;}'),
        (PhpObject("stdClass", {}), 'O:8:"stdClass":0:{}'),
    ],
)
def test_values_are_written_as_php_does(value: PhpValue, text: str) -> None:
    assert serialize(value) == text


@given(values)
def test_values_come_back_as_they_went(value: PhpValue) -> None:
    assert repr(unserialize(serialize(value).encode())) == repr(value)


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("i:+05;", 5),
        ("d:.5;", 0.5),
        ("d:5.;", 5.0),
        ("d:0.1E+3;", 100.0),
        ('a:1:{s:1:"5";N;}', {5: None}),
        ("a:2:{i:1;N;i:0;N;}", {1: None, 0: None}),
        ("a:2:{i:0;i:1;i:0;i:2;}", [2]),
        (
            'O:1:"J":3:{s:1:"a";i:1;s:4:"\0*\0b";i:2;s:4:"\0J\0c";i:3;}',
            PhpObject("J", {"a": 1, "b": 2, "c": 3}),
        ),
    ],
)
def test_other_forms_of_php_are_read(text: str, value: PhpValue) -> None:
    assert unserialize(text.encode()) == value


def test_nan_is_read_and_written() -> None:
    assert serialize(math.nan) == "d:NAN;"
    found = unserialize(b"d:NAN;")
    assert isinstance(found, float)
    assert math.isnan(found)


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"N",
        b"N;N;",
        b"b:2;",
        b"i:;",
        b"i:1.5;",
        b"i:9223372036854775808;",
        b"i:-9223372036854775809;",
        b"i:" + b"9" * 5000 + b";",
        b"d:1e;",
        b"d:nan;",
        b"d:1_0;",
        b's:1:"";',
        b's:3:"ab";',
        b's:1:"ab";',
        b's:9999999999:"a";',
        b's:-1:"a";',
        b's:1:"\xff";',
        b's:1:"\xc3\xa9";',
        b"a:1:{}",
        b"a:0:{i:0;N;}",
        b"a:9999999999:{i:0;N;}",
        b"a:1:{N;N;}",
        b"a:1:{b:1;N;}",
        b"a:1:{d:1;N;}",
        b"a:1:{a:0:{}N;}",
        b"a:1:{i:0;N;",
        b'O:1:"J":0:{',
        b'O:1:"J";0:{}',
        b'O:2:"J":0:{}',
    ],
)
def test_what_is_not_serialized_data_is_malformed(data: bytes) -> None:
    with pytest.raises(MalformedRecord, match=r"PHP-serialized data: expected .* at byte [0-9]+, not "):
        unserialize(data)


@pytest.mark.parametrize(
    "data",
    [
        b"a:2:{i:0;i:1;i:1;R:2;}",
        b'a:2:{i:0;O:1:"J":0:{}i:1;r:2;}',
        b'E:3:"S:A";',
        b'C:1:"J":2:{ab}',
    ],
)
def test_references_and_classes_with_a_form_of_their_own_are_refused(data: bytes) -> None:
    with pytest.raises(MalformedRecord, match="no reference, enumeration or class with a form of its own"):
        unserialize(data)


def test_the_depth_is_bounded() -> None:
    def nested(levels: int) -> bytes:
        return b"a:1:{i:0;" * levels + b"N;" + b"}" * levels

    unserialize(nested(MAX_DEPTH - 1))
    for levels in (MAX_DEPTH, 100_000):
        with pytest.raises(MalformedRecord, match="no more than 64 levels"):
            unserialize(nested(levels))


def test_an_integer_that_php_does_not_have_is_our_fault() -> None:
    with pytest.raises(ValueError, match="PHP has no integer"):
        serialize([2**63])


@given(st.binary() | st.text('NbidsaO:;{}"0123456789.-E').map(str.encode))
def test_nothing_else_is_raised(data: bytes) -> None:
    with suppress(MalformedRecord):
        unserialize(data)
