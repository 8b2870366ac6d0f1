"""Points our commands at a running ``./dev run``: it leaves its settings in a file.

The file lies in the run's own directory, and goes with it. So several runs have one each. Of those that were
started from this checkout the newest counts: what changes something must not go to somebody else's.
"""

import os
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple, NoReturn

from streams.demo.stack import ROOT, inherited_environment, temporary_directory

FILE = "settings.env"
PREFIX = "metric-streams-"
OF = "# of process "
"""How the first line begins, with the process that the file is good for."""
FROM = "# from "
"""How the second line begins, with the checkout."""
HELP = {"-h", "--help"}


@contextmanager
def attachable(directory: Path, settings: Mapping[str, str]) -> Iterator[None]:
    """Let commands find a run for the block.

    Args:
        directory: the run's own.
        settings: as an environment.
    """
    file = directory / FILE
    lines = [f"{OF}{os.getpid()}", f"{FROM}{ROOT}", *(f"{name}={value}" for name, value in settings.items())]
    file.touch(mode=0o600)  # it may hold what others must not read
    file.write_text("\n".join(lines) + "\n")
    try:
        yield
    finally:
        file.unlink(missing_ok=True)


class Run(NamedTuple):
    """A run that is under way."""

    checkout: str
    settings: Mapping[str, str]


def runs() -> list[Run]:
    """Return our user's runs, those of other checkouts too; the one that was started last comes first."""
    found = sorted(temporary_directory().glob(f"{PREFIX}*/{FILE}"), key=_started_at, reverse=True)
    return [run for file in found if (run := _read(file)) is not None]


def newest_run() -> Mapping[str, str] | None:
    """Return the settings of this checkout's run that was started last; None if none is under way."""
    return next((run.settings for run in runs() if run.checkout == str(ROOT)), None)


def call_on_a_run(command: str, arguments: list[str]) -> NoReturn:
    """Turn into one of our commands, with the settings of a run; its help needs none.

    Raises:
        SystemExit: none runs.
    """
    settings = newest_run()
    if settings is None and HELP.isdisjoint(arguments):
        elsewhere = "".join(f" (there is one of {run.checkout})" for run in runs()[:1])
        sys.exit(
            f"./dev {command}: no ./dev run runs here{elsewhere}: start one, or call "
            f"metric-streams {command} with your own settings"
        )
    argv = [sys.executable, "-m", "metric_streams", command, *arguments]
    os.execve(sys.executable, argv, {**inherited_environment(), **(settings or {})})  # noqa: S606 - no shell is what we want


def _started_at(file: Path) -> float:
    try:
        return file.stat().st_mtime
    except OSError:  # it went meanwhile
        return 0.0


def _read(file: Path) -> Run | None:
    """Return a run of ours; None of one that has ended, or is somebody else's."""
    try:
        if file.stat().st_uid != os.geteuid():
            return None
        first, second, *lines = file.read_text().splitlines()
        os.kill(int(first.removeprefix(OF)), 0)
    except (OSError, ValueError):
        return None
    settings = dict(line.split("=", 1) for line in lines)
    return Run(second.removeprefix(FROM), settings) if second.startswith(FROM) else None
