"""Setting a server back: its data as it was some time ago, while everything else goes on.

A copy is taken while the server stands still (SIGSTOP), so it is what a kill at that moment would have left.
"""

import shutil
from collections.abc import Iterator
from contextlib import contextmanager

from tests.parts.process import Part


class Copy:
    """What a server held at one moment.

    Args:
        part: a running server.
        name: the directory or file within the server's own that holds its data.
    """

    def __init__(self, part: Part, name: str) -> None:
        self._part = part
        self._data = part.directory / name
        self._kept = part.directory / f"{name}-of-before"
        shutil.rmtree(self._kept, ignore_errors=True)
        with standing_still(part):
            shutil.copytree(self._data, self._kept, symlinks=True)

    def restore(self) -> None:
        """Kill the server, give it what it held then, and start it."""
        self._part.kill()
        shutil.rmtree(self._data)
        shutil.copytree(self._kept, self._data, symlinks=True)
        self._part.start()


@contextmanager
def standing_still(part: Part) -> Iterator[None]:
    """Let a server do nothing for a moment."""
    part.pause()
    try:
        yield
    finally:
        part.resume()
