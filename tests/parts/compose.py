"""Both compose files, as Compose merges them when it is called with both."""

import json
import os
import re
import subprocess
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import yaml

from tests.parts.process import MissingPartError

REPOSITORY = Path(__file__).parents[2]
COMPOSE, SECURE = REPOSITORY / "docker-compose.yml", REPOSITORY / "docker-compose.secure.yml"
READER = Path(".cache") / "compose" / "config"

Services = dict[str, dict[str, Any]]


class Overriding(yaml.SafeLoader):
    """Reads ``!override``, by which a value stands in place of another one."""


class Overridden(dict[str, Any]):
    """What stands in place of another value."""

    def __init__(self, value: Any) -> None:
        super().__init__(value=value)


def _plain(loader: yaml.SafeLoader, node: yaml.Node) -> Any:
    if isinstance(node, yaml.SequenceNode):
        return loader.construct_sequence(node, deep=True)
    return loader.construct_mapping(node, deep=True)


Overriding.add_constructor("!override", lambda loader, node: Overridden(_plain(loader, node)))


def read(path: Path) -> dict[str, Any]:
    """Return a file as it stands."""
    document: dict[str, Any] = yaml.load(path.read_text(), Overriding)  # noqa: S506 - a safe one
    return document


def secured() -> Services:
    """Return the services of both files; lists that Compose would join stand in one of them alone."""
    merged: Services = {name: dict(service) for name, service in read(COMPOSE)["services"].items()}
    for name, change in read(SECURE)["services"].items():
        service = merged.setdefault(name, {})
        for key, value in change.items():
            if isinstance(value, Overridden):
                service[key] = value["value"]
            elif isinstance(value, dict):
                service[key] = {**service.get(key, {}), **value}
            else:
                assert not (isinstance(value, list) and key in service and key != "entrypoint"), (name, key)
                service[key] = value
    return merged


def as_compose_reads(value: str, environment: Mapping[str, str] | None = None) -> str:
    """Replace ``${NAME:-default}`` as Compose does."""
    values = environment or {}
    return re.sub(r"\$\{(\w+):-([^}]*)\}", lambda found: values.get(found[1]) or found[2], value)


def as_compose_merges(
    *paths: Path, environment: Mapping[str, str] | None = None, is_plain: bool = False
) -> dict[str, Any]:
    """Return the files as Docker Compose's own reader merges and checks them.

    Args:
        paths: the files, each over those before it.
        environment: what their variables are replaced by.
        is_plain: leave variables, paths and what is not said as they stand.

    Raises:
        MissingPartError: the reader is not built.
        AssertionError: Compose refuses the files.
    """
    reader = REPOSITORY / READER
    if not reader.exists():
        raise MissingPartError(f"the reader of compose files is not in {READER}")
    plain = ["-plain"] if is_plain else []
    done = subprocess.run(
        [reader, *plain, *paths],
        capture_output=True,
        text=True,
        check=False,
        cwd=REPOSITORY,
        env={"PATH": os.environ["PATH"], **(environment or {})},
    )
    assert done.returncode == 0, done.stderr
    merged: dict[str, Any] = json.loads(done.stdout)
    return merged
