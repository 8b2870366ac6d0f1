"""A real PostgreSQL: this machine's, or that of a wheel where it has none."""

import contextlib
import os
import shutil
import signal
import subprocess
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from streams.demo.child import User
from streams.demo.parts import unprivileged_user
from streams.demo.programs import copy_for_all, is_open_to_all
from streams.demo.programs import postgres as postgres_of_the_stack
from tests.parts.ports import accepts
from tests.parts.process import Part, PartFailedError, of_the_stack

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
        self._server = _server()
        self.user = unprivileged_user() if os.geteuid() == 0 else None  # it refuses to run as root
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

    def follow(self, primary: "Postgres") -> None:
        """Become a standby of another server, from its data of now on; what this one held is gone.

        Behind the primary's end it is read-only, until ``select pg_promote()``.
        """
        self.stop()
        shutil.rmtree(self.data, ignore_errors=True)
        self._prepare()
        copy = [self._program("pg_basebackup"), "--pgdata", str(self.data), "--checkpoint", "fast"]
        _run([*copy, "--write-recovery-conf", "--no-sync", "--dbname", primary.url], self.user)
        super().start()

    def turn_read_only(self) -> None:
        """Let no transaction that begins from now on write; sessions stay as they are."""
        self.execute("alter system set default_transaction_read_only = on")
        self.execute("select pg_reload_conf()")

    def has_ended_all_from_before(self, time: str) -> bool:
        """Tell whether no client is in a transaction that began before some time of the server's clock."""
        oldest = "select min(xact_start) from pg_stat_activity where backend_type = 'client backend'"
        return self.execute(f"select coalesce(({oldest}) >= '{time}', true)") == "t"

    def has_replayed(self, lsn: str) -> bool:
        """Tell whether a standby has all that stands before a place in the primary's log."""
        return self.execute(f"select pg_last_wal_replay_lsn() >= '{lsn}'") == "t"

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
        return [self._program("postgres"), "-D", str(self.data), *options]

    def _prepare(self) -> None:
        self.data.mkdir(mode=0o700)
        self.directory.chmod(0o755)
        if self.user:
            shutil.chown(self.data, self.user.uid, self.user.gid)
            if not is_open_to_all(self._server):
                self._server = copy_for_all(self._server, self.directory / "programs")

    def _initialise(self) -> None:
        self._prepare()
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
        _run([self._program("initdb"), *options, "-D", str(self.data)], self.user)

    def _program(self, name: str) -> str:
        return str(self._server.with_name(name))

    def _signal_children(self, how: signal.Signals) -> None:
        for child in _children(self.pid):
            with contextlib.suppress(ProcessLookupError):
                os.kill(child, how)


def _server() -> Path:
    """Find the server; initdb and psql lie beside it, not beside a link to it.

    Debian's are on nobody's PATH.
    """
    lib = [Path(each, "../lib") for each in os.environ.get("PATH", os.defpath).split(os.pathsep) if each]
    debian = [found for each in lib for found in each.glob("postgresql/*/bin/postgres")]
    newest = max(debian, key=lambda path: int(path.parts[-3]), default=None)
    return newest or of_the_stack(postgres_of_the_stack).resolve()


def _children(pid: int) -> list[int]:
    listed = Path(f"/proc/{pid}/task/{pid}/children")  # proc(5); not every machine has ps
    if listed.exists():
        return [int(child) for child in listed.read_text().split()]
    ps = ["ps", "-A", "-o", "pid=,ppid="]
    pairs = (line.split() for line in _run(ps).splitlines())
    return [int(child) for child, parent in pairs if int(parent) == pid]


def _run(command: Sequence[str], user: User | None = None) -> str:
    become = user.options if user else {}
    done = subprocess.run(command, capture_output=True, text=True, check=False, cwd="/", **become)
    if done.returncode != 0:
        raise PartFailedError(f"{' '.join(command)}\n{done.stdout}{done.stderr}")
    return done.stdout.strip()
