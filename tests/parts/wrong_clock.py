"""A clock that is wrong, and can be set while a process runs: Debian's libfaketime.

It stands between a process and the C library, so that Python, Faust, aiokafka and every extension see the
same wall clock. The monotonic clock, which no administrator sets, stays right.
"""

import os
from collections.abc import Mapping
from pathlib import Path

from tests.parts.process import MissingPartError

_PLACES = ("/usr/lib", "/usr/lib64", "/usr/local/lib")


class WrongClock:
    """The wall clock of the processes that are started with its environment.

    Args:
        directory: where the file is kept that tells how wrong it is.
    """

    def __init__(self, directory: Path) -> None:
        self._library = _library()
        self._file = directory / "clock"
        self.set(0)

    def set(self, ahead_s: float) -> None:
        """Let the clock go ahead of the true one by so many seconds, or behind it; seen within a second."""
        new = self._file.with_suffix(".new")
        new.write_text(f"{ahead_s:+.0f}\n")
        os.replace(new, self._file)  # noqa: PTH105 - at once, for who reads it meanwhile

    @property
    def environment(self) -> Mapping[str, str]:
        """What a process is to be started with."""
        return {
            "LD_PRELOAD": str(self._library),
            "FAKETIME_TIMESTAMP_FILE": str(self._file),
            "FAKETIME_CACHE_DURATION": "1",
            "FAKETIME_DONT_FAKE_MONOTONIC": "1",
            "DONT_FAKE_MONOTONIC": "1",
        }


def _library() -> Path:
    for place in _PLACES:
        for found in Path(place).glob("**/faketime/libfaketimeMT.so.1"):
            return found
    raise MissingPartError("libfaketime is not installed (Debian: apt-get install faketime)")
