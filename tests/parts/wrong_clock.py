"""A clock that is wrong, and can be set while a process runs: a small library between it and the C library.

So Python, Faust, aiokafka and every extension see the same wall clock, and none is patched. The monotonic
clock, which no administrator sets, stays right. With Debian's libfaketime Python's sleep fails.
"""

import subprocess
from collections.abc import Mapping
from pathlib import Path

from tests.parts.process import find_program

_SOURCE = Path(__file__).with_suffix(".c")


class WrongClock:
    """The wall clock of the processes that are started with its environment.

    Args:
        directory: where the library is built, and the file is kept that tells how wrong the clock is.
    """

    def __init__(self, directory: Path) -> None:
        self._library = directory / "wrong_clock.so"
        self._file = directory / "clock"
        compiler = find_program("cc", package="gcc libc6-dev")
        options = ["-shared", "-fPIC", "-O2", "-Wall", "-Werror"]
        subprocess.run([compiler, *options, "-o", self._library, _SOURCE, "-ldl"], check=True)
        self.set(0)

    def set(self, ahead_s: float) -> None:
        """Let the clock be ahead of the true one by so many seconds, or behind it."""
        new = self._file.with_suffix(".new")
        new.write_text(f"{ahead_s:.0f}\n")
        new.replace(self._file)  # at once, for who reads it meanwhile

    @property
    def environment(self) -> Mapping[str, str]:
        """What a process is to be started with."""
        return {"LD_PRELOAD": str(self._library), "WRONG_CLOCK": str(self._file)}
