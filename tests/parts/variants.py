"""Cases of one test that run with ``--long`` alone: they take long, and tell little that another does not."""

from collections.abc import Collection, Iterable
from typing import Any

import pytest


def long(*case: Any) -> Any:
    """Return a case that takes long."""
    return pytest.param(*case, marks=pytest.mark.long)


def long_but(always: Collection[Any], cases: Iterable[Any]) -> list[Any]:
    """Return cases of one argument, of which all but these take long."""
    return [case if case in always else long(case) for case in cases]
