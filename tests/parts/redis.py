"""A real Redis, or the Valkey of a wheel where this machine has none."""

import itertools
import socket
from collections.abc import Sequence

from streams.embedded.programs import redis_server
from tests.parts.process import Part, of_the_stack

_DATABASES = 10_000


class Redis(Part):
    """A Redis server, of which every test takes a database of its own.

    Args:
        append_only: whether what was written survives a kill; without it, it survives nothing.
        options: further options by name, such as ``{"maxmemory": "10mb"}``.
    """

    name = "redis"

    def __init__(self, *, append_only: bool = False, options: dict[str, str] | None = None) -> None:
        self._program = of_the_stack(redis_server)
        super().__init__()
        self._options = {
            "bind": self.host,
            "port": str(self.port),
            "dir": str(self.directory),
            "databases": str(_DATABASES),
            "save": "",
            "appendonly": "yes" if append_only else "no",
            "appendfsync": "always",
            "daemonize": "no",
            **(options or {}),
        }
        self._numbers = itertools.count(1)

    @property
    def url(self) -> str:
        """The URL of database 0."""
        return self.url_of(0)

    def url_of(self, database: int) -> str:
        """Return the URL of a database by its number."""
        return f"redis://{self.host}:{self.port}/{database}"

    def new_database_url(self) -> str:
        """Return the URL of a database that nobody has been given yet."""
        return self.url_of(next(self._numbers))

    def is_ready(self) -> bool:
        """Tell whether it answers a PING (it does not while it loads its data)."""
        try:
            with socket.create_connection((self.host, self.port), timeout=1) as connection:
                connection.sendall(b"PING\r\n")
                return connection.recv(16).startswith(b"+PONG")
        except OSError:
            return False

    def _argv(self) -> Sequence[str]:
        options = (part for name, value in self._options.items() for part in (f"--{name}", value))
        return [str(self._program), *options]
