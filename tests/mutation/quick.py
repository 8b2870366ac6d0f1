"""What pytest is told while mutants run: the same examples each time, few of them, and plain tests first.

A mutant that a plain test notices costs a few milliseconds then, and not the search for an example.
"""

import gc

import hypothesis
import pytest

EXAMPLES = 15
"""Of each property. A mutant that a property can notice mostly falls to the first few."""


def pytest_configure() -> None:
    """Load the profile, after ``tests/conftest.py`` has loaded its own."""
    hypothesis.settings.register_profile(
        "mutation",
        deadline=None,
        derandomize=True,
        database=None,
        max_examples=EXAMPLES,
        phases=[hypothesis.Phase.explicit, hypothesis.Phase.generate],  # nobody reads what it would shrink to
        suppress_health_check=[*hypothesis.HealthCheck],
    )
    hypothesis.settings.load_profile("mutation")


@pytest.hookimpl(trylast=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Put properties behind plain tests; each kind stays in its order."""
    items.sort(key=_is_property)


def pytest_collection_finish(session: pytest.Session) -> None:
    """Leave what mutmut has collected once, before it forks for each mutant, as if it were not there.

    Pytest keeps the names of a test's parameters, and escapes them again when it collects again: a mutant's
    tests would not be found under the names that they had. In the end it collects garbage, which is half of
    what a mutant takes where it looks at all that was imported.
    """
    if session.config.option.collectonly:
        for item in session.items:
            for mark in item.iter_markers("parametrize"):
                object.__setattr__(mark._param_ids_from or mark, "_param_ids_generated", None)
        gc.collect()
        gc.freeze()


def _is_property(item: pytest.Item) -> bool:
    return item.get_closest_marker("hypothesis") is not None
