"""A real MariaDB."""

import os
import subprocess
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager

from tests.parts.ports import accepts
from tests.parts.process import Part, PartFailedError, find_program

_PACKAGE = "mariadb-server"
_CLIENTS_PACKAGE = "mariadb-client"
_USER = "root"
_SMALL_FILES = ("--innodb-log-file-size=8M", "--aria-log-file-size=8M")
_NO_WAIT_FOR_THE_DISK = (
    "--innodb-flush-log-at-trx-commit=0",
    "--innodb-flush-method=nosync",
    "--innodb-doublewrite=OFF",
)


class MariaDb(Part):
    """A MariaDB server that trusts everyone on this machine and does not wait for the disk.

    Its SQL mode is MariaDB's own, which is strict; Laravel sets a stricter one for each connection.

    Args:
        time_zone: of the server and of the sessions that set none, as the environment's TZ names it.
    """

    name = "mariadb"

    def __init__(self, *, time_zone: str = "UTC") -> None:
        self._server = find_program("mariadbd", package=_PACKAGE)
        self._installer = find_program("mariadb-install-db", package=_PACKAGE)
        self._client = find_program("mariadb", package=_CLIENTS_PACKAGE)
        self._time_zone = time_zone
        super().__init__()
        self.data = self.directory / "data"

    @contextmanager
    def new_database(self, name: str) -> Iterator[str]:
        """Create an empty database and yield its name; drop it in the end."""
        self.execute(f"create database `{name}` character set utf8mb4 collate utf8mb4_unicode_ci")
        try:
            yield name
        finally:
            self.heal()
            self.execute(f"drop database `{name}`")

    def execute(self, statement: str, database: str = "mysql") -> str:
        """Run one statement and return what the client prints, unaligned and without headings."""
        where = [f"--host={self.host}", f"--port={self.port}", "--protocol=tcp", f"--user={_USER}"]
        how = ["--batch", "--skip-column-names", "--default-character-set=utf8mb4"]
        return _run([str(self._client), "--no-defaults", *where, *how, f"--execute={statement}", database])

    def start(self) -> None:
        """Start the server, making its system tables on the first call."""
        if not self.data.exists():
            self._initialise()
        super().start()

    def is_ready(self) -> bool:
        """Tell whether it takes connections: it listens when its tables are open."""
        return accepts(self.host, self.port)

    def _argv(self) -> Sequence[str]:
        return [
            str(self._server),
            *self._options(),
            f"--bind-address={self.host}",
            f"--port={self.port}",
            "--socket=socket",  # within the data: a long path would be refused
            "--skip-name-resolve",
            "--innodb-buffer-pool-size=32M",
            *_NO_WAIT_FOR_THE_DISK,
        ]

    def _environment(self) -> Mapping[str, str]:
        return {**os.environ, "TZ": self._time_zone}

    def _initialise(self) -> None:
        method = "--auth-root-authentication-method=normal"  # no password
        _run([str(self._installer), *self._options(), method, "--skip-test-db", *_NO_WAIT_FOR_THE_DISK])

    def _options(self) -> list[str]:
        # It runs as root only where it is told to.
        user = ["--user=root"] if os.geteuid() == 0 else []
        return ["--no-defaults", f"--datadir={self.data}", *_SMALL_FILES, *user]


def _run(command: Sequence[str]) -> str:
    done = subprocess.run(command, capture_output=True, text=True, check=False, cwd="/")
    if done.returncode != 0:
        raise PartFailedError(f"{' '.join(command)}\n{done.stdout}{done.stderr}")
    return done.stdout.strip()
