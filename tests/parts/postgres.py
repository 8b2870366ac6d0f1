"""A real PostgreSQL."""

import contextlib
import os
import pwd
import shutil
import signal
import subprocess
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from tests.parts.ports import accepts
from tests.parts.process import MissingPartError, Part, PartFailedError, find_program

_DEBIAN = Path("/usr/lib/postgresql")
_SUPERUSER = "postgres"


class Postgres(Part):
    """A PostgreSQL server that trusts everyone on this machine and does not wait for the disk.

    Args:
        settings: further ones, such as ``{"synchronous_commit": "on"}``: killed without it, the server
            forgets what it has committed last.
    """

    name = "postgres"

    def __init__(self, settings: dict[str, str] | None = None) -> None:
        self._more_settings = dict(settings or {})
        versions = sorted(_DEBIAN.glob("*/bin"), key=lambda path: int(path.parent.name), reverse=True)
        self._bin = find_program("initdb", *versions, package="postgresql").resolve().parent
        self._become = _unprivileged()
        super().__init__()
        self.data = self.directory / "data"

    @property
    def url(self) -> str:
        """The URL of the database ``postgres``."""
        return self.url_of("postgres")

    def url_of(self, database: str) -> str:
        """Return the URL of a database by its name."""
        return f"postgresql://{_SUPERUSER}@{self.host}:{self.port}/{database}"

    @contextmanager
    def new_database(self, name: str) -> Iterator[str]:
        """Create an empty database and yield its URL; drop it in the end, whoever is still connected."""
        self.execute(f'create database "{name}"')
        try:
            yield self.url_of(name)
        finally:
            self.heal()
            self.execute(f'drop database "{name}" with (force)')

    def execute(self, statement: str, database: str = "postgres") -> str:
        """Run one statement and return what psql prints, unaligned and without headings."""
        psql = [self._program("psql"), "-X", "-A", "-t", "-v", "ON_ERROR_STOP=1", "-c", statement]
        return _run([*psql, self.url_of(database)])

    def start(self) -> None:
        """Start the server, making its cluster on the first call."""
        if not self.data.exists():
            self._initialise()
        super().start()

    def stop(self) -> None:
        """Stop it without waiting for its clients to leave (PostgreSQL's fast shutdown)."""
        self.resume()
        if not self._end(signal.SIGINT, self.stop_timeout_s):
            self.kill()
            raise PartFailedError(f"postgres did not stop\n{self.log_tail()}")

    def pause(self) -> None:
        """Let every one of its processes hang, those that serve connections included."""
        super().pause()
        self._signal_children(signal.SIGSTOP)

    def resume(self) -> None:
        """Let it go on."""
        if self._paused and self.is_running:
            self._signal_children(signal.SIGCONT)
        super().resume()

    def is_ready(self) -> bool:
        """Tell whether it takes connections."""
        if not accepts(self.host, self.port):
            return False
        asked = subprocess.run(
            [self._program("pg_isready"), "-q", "-h", self.host, "-p", str(self.port)], check=False
        )
        return asked.returncode == 0

    def _argv(self) -> Sequence[str]:
        settings = {
            "listen_addresses": self.host,
            "port": str(self.port),
            "unix_socket_directories": "",
            "max_connections": "200",
            "fsync": "off",
            "synchronous_commit": "off",
            "full_page_writes": "off",
            "timezone": "UTC",
            **self._more_settings,
        }
        options = (part for name, value in settings.items() for part in ("-c", f"{name}={value}"))
        return [*self._become, self._program("postgres"), "-D", str(self.data), *options]

    def _initialise(self) -> None:
        self.data.mkdir(mode=0o700)
        self.directory.chmod(0o755)
        if self._become:
            shutil.chown(self.data, _SUPERUSER, _SUPERUSER)
        options = [
            "--username",
            _SUPERUSER,
            "--auth",
            "trust",
            "--no-sync",
            "--encoding",
            "UTF8",
            "--locale",
            "C",
        ]
        _run([*self._become, self._program("initdb"), *options, "-D", str(self.data)])

    def _program(self, name: str) -> str:
        return str(self._bin / name)

    def _signal_children(self, how: signal.Signals) -> None:
        for child in _children(self.pid):
            with contextlib.suppress(ProcessLookupError):
                os.kill(child, how)


def _unprivileged() -> list[str]:
    """Return a prefix that runs a command as a user whom PostgreSQL accepts: it refuses root."""
    if os.geteuid() != 0:
        return []
    try:
        pwd.getpwnam(_SUPERUSER)
    except KeyError:
        raise MissingPartError("PostgreSQL refuses to run as root, and there is no user postgres") from None
    setpriv = find_program("setpriv", package="util-linux")
    ids = ["--reuid", _SUPERUSER, "--regid", _SUPERUSER, "--init-groups"]
    return [
        str(setpriv),
        *ids,
        "--pdeathsig",
        "KILL",
        "--",
    ]  # a change of user clears an earlier death signal


def _children(pid: int) -> list[int]:
    listed = Path(f"/proc/{pid}/task/{pid}/children")  # proc(5); not every machine has ps
    if listed.exists():
        return [int(child) for child in listed.read_text().split()]
    ps = ["ps", "-A", "-o", "pid=,ppid="]
    pairs = (line.split() for line in _run(ps).splitlines())
    return [int(child) for child, parent in pairs if int(parent) == pid]


def _run(command: Sequence[str]) -> str:
    done = subprocess.run(command, capture_output=True, text=True, check=False, cwd="/")
    if done.returncode != 0:
        raise PartFailedError(f"{' '.join(command)}\n{done.stdout}{done.stderr}")
    return done.stdout.strip()
