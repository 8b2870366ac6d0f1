"""What the log and the exceptions say is so, wherever the worker runs: held on the syntax trees."""

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

REPOSITORY = Path(__file__).parents[2]
DESCRIBES_SETTINGS = {"settings.py"}
"""Describes settings by the topics' default names."""
DEMONSTRATION = "demo"
"""Runs with settings of its own, in which the topics have these names."""
FAKES = ("fake", "testing")

PROMISES = re.compile(
    r"(?:nothing|no \w+) (?:is|are|was|gets) lost|los(?:e|es|ing) nothing|never lost", re.IGNORECASE
)
DEFAULT_TOPICS = re.compile(r"metrics\.(?:raw|unique|rejected)\b")


SOURCES = [
    path for package in ("agents", "tables", "streams") for path in (REPOSITORY / package).rglob("*.py")
]
NAMES_TOPICS = [
    path
    for path in SOURCES
    if path.name not in DESCRIBES_SETTINGS
    and DEMONSTRATION not in path.parts
    and not path.name.startswith(FAKES)
]


def _texts(tree: ast.AST) -> Iterator[tuple[int, str]]:
    """Yield every string of the program that is no docstring, with its line."""
    documentation = {
        id(statement.value)
        for statement in ast.walk(tree)
        if isinstance(statement, ast.Expr) and isinstance(statement.value, ast.Constant)
    }
    for node in ast.walk(tree):
        if isinstance(node, ast.Constant) and isinstance(node.value, str) and id(node) not in documentation:
            yield node.lineno, node.value


def found(pattern: re.Pattern[str], source: str) -> list[int]:
    """Return the lines of a program in which a text says what `pattern` looks for."""
    return [line for line, text in _texts(ast.parse(source)) if pattern.search(text)]


@pytest.mark.parametrize("path", SOURCES, ids=lambda path: str(path.relative_to(REPOSITORY)))
def test_no_text_promises_what_was_not_checked(path: Path) -> None:
    assert not found(PROMISES, path.read_text())


@pytest.mark.parametrize("path", NAMES_TOPICS, ids=lambda path: str(path.relative_to(REPOSITORY)))
def test_no_text_names_a_topic_but_by_the_setting(path: Path) -> None:
    assert not found(DEFAULT_TOPICS, path.read_text())


@pytest.mark.parametrize(
    ("pattern", "text"),
    [
        (PROMISES, 'log.warning("waiting for %s, nothing is lost: %s", part, why)'),
        (PROMISES, 'log.warning("%s; no job is lost, waiting", why)'),
        (PROMISES, 'log.info("QoS 1 "\n"loses nothing")'),
        (DEFAULT_TOPICS, 'log.error("a record of metrics.raw is no chunk")'),
        (DEFAULT_TOPICS, 'raise Bad(f"partition {n} of metrics.unique")'),
    ],
)
def test_the_test_sees_such_a_text(pattern: re.Pattern[str], text: str) -> None:
    assert found(pattern, text)
    assert not found(pattern, f'"""{text!r}"""')
