"""What a device sent is shown on one short line."""

import pytest

from streams.rules.problem import shown


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        ({"a": 1}, "an object"),
        ([1], "an array"),
        (True, "true"),
        (False, "false"),
        (None, "None"),
        (42.17, "42.17"),
        (-7, "-7"),
        ("a\nb\ud800", r"'a\nb\ud800'"),
        ("x" * 40, f"'{'x' * 40}'"),
        ("x" * 41, f"'{'x' * 39}…"),
        ("x" * 60_000, f"'{'x' * 39}…"),
        (10**41, str(10**41)),
        (10**42, f"1{'0' * 39}…"),
        (2**160 - 1, f"{str(2**160 - 1)[:40]}…"),
        (2**160, "an integer of very many digits"),
        (10**5000, "an integer of very many digits"),
    ],
    ids=range(16),
)
def test_a_value_is_shown_as_it_is_written_and_a_long_one_by_its_beginning(
    value: object, expected: str
) -> None:
    assert shown(value) == expected
