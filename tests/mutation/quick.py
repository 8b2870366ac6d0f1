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
    """Let what mutmut has imported once, before it forks for each mutant, be no matter for the collector.

    Pytest collects garbage in the end, and would look at all of it again: half of what a mutant takes.
    """
    if session.config.option.collectonly:
        gc.collect()
        gc.freeze()


def _is_property(item: pytest.Item) -> bool:
    return item.get_closest_marker("hypothesis") is not None
