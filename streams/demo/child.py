"""A process of the stack: started with a log file, watched, stopped; at worst ended by the reaper."""

import asyncio
import os
import signal
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from streams.demo.reaper import Reaper
from streams.errors import MetricStreamsError

LOG_TAIL_LINES = 25
LOG_TAIL_BYTES = 64 * 1024


class PartFailed(MetricStreamsError):  # noqa: N818 - states what happened
    """A part of the embedded stack did not start, or ended by itself."""


class User(NamedTuple):
    """Whom a process becomes."""

    uid: int
    gid: int

    @property
    def options(self) -> dict[str, Any]:
        """The arguments of ``subprocess.Popen`` that make a process this user's, without our groups."""
        return {"user": self.uid, "group": self.gid, "extra_groups": []}


class Child:
    """A process in a session of its own, so that Ctrl+C reaches it through us alone.

    Args:
        name: for messages and the log file.
        argv: the command line.
        directory: where it works.
        log_path: takes what it says.
        environment: all of its environment.
        user: whom it becomes; None for our own user.

    Attributes:
        ended: done when the process has ended; its result is the exit code.
    """

    ended: "asyncio.Task[int]"

    def __init__(
        self,
        name: str,
        argv: Sequence[str],
        *,
        directory: Path,
        log_path: Path,
        environment: Mapping[str, str],
        user: User | None = None,
    ) -> None:
        self.name = name
        self.log_path = log_path
        self._argv = argv
        self._directory = directory
        self._environment = environment
        self._user = user

    async def start(self, reaper: Reaper) -> None:
        """Start the process.

        Raises:
            PartFailed: if it cannot be run at all.
        """
        with self.log_path.open("ab") as log:
            try:
                self._process = await asyncio.create_subprocess_exec(
                    *self._argv,
                    stdin=asyncio.subprocess.DEVNULL,
                    stdout=log,
                    stderr=log,
                    cwd=self._directory,
                    env=self._environment,
                    start_new_session=True,
                    **(self._user.options if self._user else {}),
                )
            except OSError as error:
                raise PartFailed(f"{self.name} cannot be started: {error}") from error
        reaper.watch(self._process.pid)
        self._reaper = reaper
        self.ended = asyncio.create_task(self._process.wait(), name=f"{self.name} ends")

    async def stop(self, how: signal.Signals, timeout_s: float) -> bool:
        """Ask the process to end and wait for it; kill it if it does not.

        Returns:
            Whether it ended by itself.
        """
        if not self.ended.done():
            self._process.send_signal(how)
            await asyncio.wait([self.ended], timeout=timeout_s)
        in_time = self.ended.done()
        if not in_time:
            os.killpg(self._process.pid, signal.SIGKILL)
            await self.ended
        self._reaper.forget(self._process.pid)
        return in_time

    @property
    def end(self) -> str:
        """How the process ended, in words."""
        code = self.ended.result()
        if code >= 0:
            return f"ended by itself with code {code}"
        return f"was killed ({signal.Signals(-code).name})"

    def failure(self, what: str) -> PartFailed:
        """Return what to say about this process, with the end of its log."""
        return PartFailed(f"{self.name} {what}. The end of {self.log_path}:\n{self.log_tail()}")

    def log_tail(self) -> str:
        """Return the last lines of the log, indented."""
        with self.log_path.open("rb") as log:
            log.seek(max(0, log.seek(0, os.SEEK_END) - LOG_TAIL_BYTES))
            lines = log.read().decode(errors="replace").splitlines()
        return "\n".join(f"  | {line}" for line in lines[-LOG_TAIL_LINES:]) or "  | (nothing)"
