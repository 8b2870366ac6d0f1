"""A process of a benchmark's own that goes on until it is told to end, and then says what came of it.

It says that it is under way when what it does was answered for the first time. It ends with its standard
input, so also where whoever started it is killed.
"""

import json
import subprocess
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

END_S = 20.0


class ToldProcess:
    """The process, which goes on until `end`."""

    def __init__(self, process: "subprocess.Popen[str]") -> None:
        self._process = process

    @property
    def is_going(self) -> bool:
        """Whether it goes on; by itself it ends only where it has failed."""
        return self._process.poll() is None

    def end(self) -> Any:
        """Let it cease; return what it has said, read from JSON.

        Raises:
            ConnectionError: it had ceased by itself; it has said why.
        """
        output, _ = self._process.communicate(timeout=END_S)
        if self._process.returncode:
            raise ConnectionError("the process has ended before its time")
        return json.loads(output)


@contextmanager
def going(module: str, order: Mapping[str, object]) -> Iterator[ToldProcess]:
    """Start a module as a process, and go on when it is under way.

    Raises:
        ConnectionError: it has ended before it was.
    """
    command = [sys.executable, "-m", module, json.dumps(order)]
    pipe = subprocess.PIPE
    with subprocess.Popen(command, stdin=pipe, stdout=pipe, text=True, bufsize=1) as process:
        try:
            if process.stdout is None or not process.stdout.readline():
                raise ConnectionError(f"{module} was not answered")
            yield ToldProcess(process)
        finally:
            process.kill()
