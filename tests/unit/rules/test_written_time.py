"""A time in words and digits, as microseconds since 1970: also before then, where no timestamp may lie."""

import pytest

from streams.rules.written_time import read_written


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("@0", 0),
        ("@1.5", 1_500_000),
        ("@1.05", 1_050_000),
        ("@1.000001", 1_000_001),
        ("@-1", -1_000_000),
        ("@-1.5", -1_500_000),
        ("@-0.25", -250_000),
        ("1969-12-31T23:59:59.5Z", -500_000),
        ("1970-01-01T00:00:00.000001Z", 1),
    ],
)
def test_a_fraction_goes_on_in_the_direction_of_time(text: str, expected: int) -> None:
    assert read_written(text) == expected
