"""A real nginx with the file that the project ships for the login before Redpanda Console."""

from collections.abc import Sequence
from pathlib import Path

from tests.parts.ports import accepts
from tests.parts.process import Part, find_program
from tests.parts.secure_profile import GIVEN, SHIPPED, replaced


class ConsoleLogin(Part):
    """What stands before Console; only ports and paths are not those of the file.

    Args:
        secrets: a directory with the users.
        console: ``host:port`` of what it leads to.
    """

    name = "nginx"

    def __init__(self, secrets: Path, console: str) -> None:
        self._program = find_program("nginx", package="nginx-light")
        super().__init__()
        places = {
            "/tmp/": f"{self.directory}/",  # noqa: S108 - the place in its container; first, since ours begins so
            "listen 8080": f"listen {self.host}:{self.port}",
            GIVEN: f"{secrets}/",
            "console:8080": console,
        }
        self._file = self.directory / "nginx.conf"
        # Started by root its workers would become another user, who may not enter the directory.
        moved = replaced((SHIPPED / "console.conf").read_text(), places)
        self._file.write_text(f"user root;\n{moved}")

    def is_ready(self) -> bool:
        """Tell whether it takes connections."""
        return accepts(self.host, self.port)

    def _argv(self) -> Sequence[str]:
        return [str(self._program), "-c", str(self._file), "-g", "daemon off;"]
