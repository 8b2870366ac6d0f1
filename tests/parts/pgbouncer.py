"""A real pgbouncer in front of a PostgreSQL."""

import os
import shutil
from collections.abc import Sequence
from urllib.parse import urlsplit

from streams.demo.parts import unprivileged_user
from tests.parts.ports import accepts
from tests.parts.postgres import Postgres
from tests.parts.process import Part, find_program


class PgBouncer(Part):
    """Lends few connections to many clients.

    Args:
        postgres: the server behind it.
        settings: of pgbouncer's own section, such as ``{"pool_mode": "session"}``.
    """

    name = "pgbouncer"

    def __init__(self, postgres: Postgres, settings: dict[str, str] | None = None) -> None:
        self._program = find_program("pgbouncer", package="pgbouncer")
        self.user = unprivileged_user() if os.geteuid() == 0 else None  # it refuses to run as root
        super().__init__()
        self._file = self.directory / "pgbouncer.ini"
        ours = {
            "listen_addr": self.host,
            "listen_port": str(self.port),
            "unix_socket_dir": "",
            "auth_type": "any",
            "pool_mode": "transaction",
            "default_pool_size": "2",
            **(settings or {}),
        }
        lines = [f"{name} = {value}" for name, value in ours.items()]
        server = f"* = host={postgres.host} port={postgres.port} user=postgres"
        self._file.write_text("\n".join(["[databases]", server, "[pgbouncer]", *lines, ""]))
        self.directory.chmod(0o755)
        if self.user:
            shutil.chown(self._file, self.user.uid, self.user.gid)

    def url_of(self, database_url: str) -> str:
        """Return the URL by which a database of the server is reached through the pooler."""
        return urlsplit(database_url)._replace(netloc=f"postgres@{self.host}:{self.port}").geturl()

    def is_ready(self) -> bool:
        """Tell whether it takes connections."""
        return accepts(self.host, self.port)

    def _argv(self) -> Sequence[str]:
        return [str(self._program), str(self._file)]
