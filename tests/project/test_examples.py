"""The examples in docstrings do what they show."""

import doctest
import importlib
from pathlib import Path

import pytest

REPOSITORY = Path(__file__).parents[2]
WITH_EXAMPLES = sorted(
    ".".join(path.relative_to(REPOSITORY).with_suffix("").parts)
    for package in ("agents", "streams", "tables")
    for path in (REPOSITORY / package).rglob("*.py")
    if " >>> " in path.read_text()
)


@pytest.mark.parametrize("name", WITH_EXAMPLES)
def test_the_examples_of_a_module_do_what_they_show(name: str) -> None:
    done = doctest.testmod(importlib.import_module(name))
    assert done.attempted > 0
    assert done.failed == 0


def test_the_interfaces_to_others_have_examples() -> None:
    assert {"streams.laravel.job", "streams.settings", "streams.topics"} <= set(WITH_EXAMPLES)
