"""Points our commands at a running ``./dev run``: it leaves its settings in a file.

The file lies in the run's own directory, and goes with it. So several runs have one each; the newest counts.
"""

import os
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import NoReturn

from streams.embedded.stack import inherited_environment, temporary_directory

FILE = "settings.env"
PREFIX = "metric-streams-"
OF = "# of process "
"""How the first line begins, with the process that the file is good for."""


@contextmanager
def attachable(directory: Path, settings: Mapping[str, str]) -> Iterator[None]:
    """Let commands find a run for the block.

    Args:
        directory: the run's own.
        settings: as an environment.
    """
    file = directory / FILE
    lines = [f"{OF}{os.getpid()}", *(f"{name}={value}" for name, value in settings.items())]
    file.touch(mode=0o600)  # it may hold what others must not read
    file.write_text("\n".join(lines) + "\n")
    try:
        yield
    finally:
        file.unlink(missing_ok=True)


def newest_run() -> Mapping[str, str] | None:
    """Return the settings of the run that was started last and still runs; None if none does."""
    found = sorted(temporary_directory().glob(f"{PREFIX}*/{FILE}"), key=_started_at, reverse=True)
    return next((settings for file in found if (settings := _read(file)) is not None), None)


def call_on_a_run(command: str, arguments: list[str]) -> NoReturn:
    """Turn into one of our commands, with the settings of a run.

    Raises:
        SystemExit: none runs.
    """
    settings = newest_run()
    if settings is None:
        sys.exit(
            f"./dev {command}: no ./dev run runs here: start one, or call metric-streams {command} with your "
            "own settings"
        )
    argv = [sys.executable, "-m", "metric_streams", command, *arguments]
    os.execve(sys.executable, argv, {**inherited_environment(), **settings})  # noqa: S606 - no shell is what we want


def _started_at(file: Path) -> float:
    try:
        return file.stat().st_mtime
    except OSError:  # it went meanwhile
        return 0.0


def _read(file: Path) -> Mapping[str, str] | None:
    """Return the settings of a run of ours; None of one that has ended, or is somebody else's."""
    try:
        if file.stat().st_uid != os.geteuid():
            return None
        first, *lines = file.read_text().splitlines()
        os.kill(int(first.removeprefix(OF)), 0)
    except (OSError, ValueError):
        return None
    return dict(line.split("=", 1) for line in lines)
