"""A certificate authority, made by the script that the project ships."""

import os
import subprocess
from pathlib import Path
from typing import NamedTuple

from tests.parts.process import find_program

_SCRIPT = Path(__file__).parents[2] / "docker" / "certificates"


class Certificate(NamedTuple):
    """A certificate and its key, both PEM."""

    path: Path
    key: Path


class Authority:
    """Signs certificates.

    Args:
        directory: where all of it is kept.
    """

    def __init__(self, directory: Path) -> None:
        find_program("openssl", package="openssl")
        self._directory = directory

    @property
    def ca(self) -> Path:
        """Its own certificate."""
        return self._directory / "ca.pem"

    def server(self, name: str, *others: str, days: int = 2) -> Certificate:
        """Sign a server's; one for fewer than no days has expired. A second call for a name renews it."""
        return self._sign("server", name, *others, days=days)

    def client(self, name: str, *, days: int = 2) -> Certificate:
        """Sign a client's."""
        return self._sign("client", name, days=days)

    def _sign(self, kind: str, name: str, *others: str, days: int) -> Certificate:
        command = [str(_SCRIPT), str(self._directory), kind, name, *others]
        subprocess.run(command, check=True, capture_output=True, env={**os.environ, "DAYS": str(days)})
        return Certificate(self._directory / f"{name}.pem", self._directory / f"{name}.key")
