"""Ends what the stack has started, and removes its directory, however the stack itself ends.

`Reaper` starts this very file as a process of its own, outside the terminal's reach, and tells it through a
pipe which process groups there are. When the pipe closes, also because the stack was killed, it kills those
that are left. So no server outlives ``./dev run``, on any POSIX system and whatever user it runs as.

The process needs the standard library alone, so that it starts fast and works in an isolated interpreter.
"""

import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterable
from pathlib import Path
from types import TracebackType
from typing import Self

KEEP = "keep"


class Reaper:
    """The stack's end of the pipe.

    A context manager: leaving waits until the groups that were not forgotten are killed and the directory is
    removed.

    Args:
        directory: to be removed in the end.
    """

    def __init__(self, directory: Path) -> None:
        self._directory = directory

    def __enter__(self) -> Self:
        self._process = subprocess.Popen(  # noqa: S603 - this file, by our own interpreter
            [sys.executable, "-I", __file__, str(self._directory)],
            stdin=subprocess.PIPE,
            start_new_session=True,
            text=True,
        )
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._process.communicate()

    def watch(self, group: int) -> None:
        """Have a process group killed in the end."""
        self._say(f"+{group}")

    def forget(self, group: int) -> None:
        """Leave a group alone that has ended: its number may be another's by then."""
        self._say(f"-{group}")

    def keep_directory(self) -> None:
        """Leave the directory for a person to look at."""
        self._say(KEEP)

    def _say(self, line: str) -> None:
        pipe = self._process.stdin
        if pipe is not None:
            print(line, file=pipe, flush=True)


def reap(directory: Path, lines: Iterable[str]) -> None:
    """Follow what the stack says until it says no more, then clean up."""
    groups: set[int] = set()
    keep = False
    for line in map(str.strip, lines):
        if line == KEEP:
            keep = True
        elif line.startswith("+"):
            groups.add(int(line[1:]))
        elif line.startswith("-"):
            groups.discard(int(line[1:]))
    for group in groups:
        _kill(group)
    if not keep:
        shutil.rmtree(directory, ignore_errors=True)


def _kill(group: int) -> None:
    try:
        os.killpg(group, signal.SIGKILL)
    except ProcessLookupError:
        return


if __name__ == "__main__":
    reap(Path(sys.argv[1]), sys.stdin)
