"""A server in a process of its own: started with a log file, waited for, stopped, killed, paused."""

import atexit
import contextlib
import os
import shutil
import signal
import subprocess
import tempfile
import time
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Self

from streams.demo.child import PartFailed, User
from streams.demo.programs import FoundProgram, which
from tests.parts.ports import free_port

_LOG_TAIL_LINES = 30
_POLL_S = 0.02
_DYING_S = 5.0

# The death signal below follows the *thread* that started the process, so one that lives as long as the
# interpreter starts them all; a test may then restart a server from a thread that ends.
_starter = ThreadPoolExecutor(max_workers=1, thread_name_prefix="parts")


class MissingPartError(Exception):
    """A real part is not installed on this machine. The message says which and what to do."""


class PartFailedError(Exception):
    """A real part did not start or did not stop. The message ends with its log's tail."""


class Part(ABC):
    """A real server, with its data in a temporary directory of its own.

    A context manager: entering starts it, leaving stops it and removes its directory.

    Attributes:
        address: where all of them listen, unless a test wants them elsewhere.
        user: whom it becomes; None for our own user.
        dying_words: the signal on which it writes to its log where it hangs, and ends; None for no such one.
    """

    name: str
    address = "127.0.0.1"
    user: User | None = None
    dying_words: signal.Signals | None = None
    start_timeout_s = 30.0
    stop_timeout_s = 20.0

    def __init__(self) -> None:
        self.host = self.address
        self.port = free_port()
        self.directory = Path(tempfile.mkdtemp(prefix=f"metric-streams-{self.name}-"))
        self.log_path = self.directory / "server.log"
        self._process: subprocess.Popen[bytes] | None = None
        self._paused = False

    @abstractmethod
    def _argv(self) -> Sequence[str]:
        """Return the command line that runs the server in the foreground."""

    @abstractmethod
    def is_ready(self) -> bool:
        """Tell whether the server does its work now. Must not raise and must not block for long."""

    def _environment(self) -> Mapping[str, str]:
        return os.environ

    @property
    def pid(self) -> int:
        """The process id of the running server."""
        if self._process is None:
            raise PartFailedError(f"{self.name} is not running")
        return self._process.pid

    @property
    def is_running(self) -> bool:
        """Whether the process is there, paused or not."""
        return self._process is not None and self._process.poll() is None

    @property
    def exit_code(self) -> int | None:
        """How a process has ended that was neither stopped nor killed from here; negative for a signal."""
        return None if self._process is None else self._process.poll()

    def log_text(self) -> str:
        """Return its log."""
        return self.log_path.read_text(errors="replace")

    def start(self) -> None:
        """Start the server and return when it is ready; does nothing if it runs.

        Raises:
            PartFailedError: if it ends or is not ready in time.
        """
        if self.is_running:
            return
        with self.log_path.open("ab") as log:
            self._process = _starter.submit(self._spawn, log.fileno()).result()
        atexit.register(self.kill)
        self._wait_until_ready()

    def stop(self) -> None:
        """Stop it the orderly way (SIGTERM) and wait for its end; what it persists stays for `start`.

        Raises:
            PartFailedError: if it had to be killed in the end.
        """
        self.resume()
        if not self._end(signal.SIGTERM, self.stop_timeout_s):
            if self.dying_words is not None:
                self._end(self.dying_words, _DYING_S)
            self.kill()
            raise PartFailedError(
                f"{self.name} did not stop within {self.stop_timeout_s:g} s\n{self.log_tail()}"
            )

    def kill(self) -> None:
        """End it at once, as a crash would (SIGKILL)."""
        self._end(signal.SIGKILL, self.stop_timeout_s)
        self._paused = False

    def restart(self) -> None:
        """Stop it and start it again, on the same port with the same data."""
        self.stop()
        self.start()

    def pause(self) -> None:
        """Let it hang: connections stay open, nothing answers (SIGSTOP)."""
        os.kill(self.pid, signal.SIGSTOP)
        self._paused = True

    def resume(self) -> None:
        """Let a paused server go on (SIGCONT)."""
        if self._paused and self.is_running:
            os.kill(self.pid, signal.SIGCONT)
        self._paused = False

    def heal(self) -> None:
        """Bring it back to work, whatever a test has done to it."""
        self.resume()
        self.start()

    def remove(self) -> None:
        """Kill it and delete its directory."""
        self.kill()
        shutil.rmtree(self.directory, ignore_errors=True)

    def log_tail(self) -> str:
        """Return the last lines of its log."""
        lines = self.log_path.read_text(errors="replace").splitlines() if self.log_path.exists() else []
        return "\n".join([f"--- end of {self.log_path}", *lines[-_LOG_TAIL_LINES:]])

    def _spawn(self, log: int) -> subprocess.Popen[bytes]:
        return subprocess.Popen(
            [*_die_with_us(), *self._argv()],
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=subprocess.STDOUT,
            cwd=self.directory,
            env=dict(self._environment()),
            start_new_session=True,  # Ctrl+C is for the tests; they stop their servers themselves
            **(self.user.options if self.user else {}),
        )

    def _wait_until_ready(self) -> None:
        deadline = time.monotonic() + self.start_timeout_s
        while not self.is_ready():
            if not self.is_running:
                raise PartFailedError(f"{self.name} ended while starting\n{self.log_tail()}")
            if time.monotonic() >= deadline:
                self.kill()
                raise PartFailedError(
                    f"{self.name} was not ready after {self.start_timeout_s:g} s\n{self.log_tail()}"
                )
            time.sleep(_POLL_S)

    def _end(self, how: signal.Signals, timeout_s: float) -> bool:
        """Send the signal; return whether the process has ended in time."""
        process = self._process
        if process is None:
            return True
        if process.poll() is None:
            process.send_signal(how)
            with contextlib.suppress(subprocess.TimeoutExpired):
                process.wait(timeout_s)
        if process.poll() is None:
            return False
        self._process = None
        atexit.unregister(self.kill)
        return True

    def __enter__(self) -> Self:
        try:
            self.start()
        except BaseException:
            self.remove()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        try:
            self.stop()
        finally:
            self.remove()


def find_program(name: str, *, package: str) -> Path:
    """Find a program on PATH, or in an ``sbin`` that is usually left out of it.

    Raises:
        MissingPartError: naming the Debian package that has it.
    """
    found = which(name)
    if found is None:
        raise MissingPartError(f"{name} is not installed (Debian: apt-get install {package})")
    return Path(found)


def of_the_stack(find: Callable[[], FoundProgram]) -> Path:
    """Find a program as the embedded stack does: where this machine lacks it, a wheel has it.

    Raises:
        MissingPartError: if there is none for this machine.
    """
    try:
        return find().path
    except PartFailed as error:
        raise MissingPartError(str(error)) from error


def _die_with_us() -> list[str]:
    """Return a prefix that lets the kernel kill the server when the tests die without a chance to stop it."""
    setpriv = shutil.which("setpriv")  # util-linux; elsewhere atexit has to do
    return [setpriv, "--pdeathsig", "KILL", "--"] if setpriv else []
