"""The real PHP with the components of Laravel that Debian packages."""

import os
import subprocess
from collections.abc import Sequence
from pathlib import Path

from tests.parts.process import MissingPartError, find_program

_EXTENSIONS = {
    "redis": "php-redis",
    "pdo_pgsql": "php-pgsql",
    "pdo_sqlite": "php-sqlite3",
    "pdo_mysql": "php-mysql",
}
_SHARE = Path("/usr/share/php")


class Php:
    """The PHP interpreter.

    Attributes:
        program: its path.
        illuminate: the directory of Laravel's components ; its parent is on PHP's include path.
    """

    def __init__(self) -> None:
        self.program = find_program("php", package="php-cli")
        self.illuminate = Path(os.environ.get("ILLUMINATE", _SHARE / "Illuminate"))
        if not (self.illuminate / "Queue" / "Worker.php").exists():
            raise MissingPartError(
                f"no Laravel components in {self.illuminate} (Debian: apt-get install php-laravel-framework)"
            )
        loaded = set(self.run("-m").lower().split())
        missing = [package for name, package in _EXTENSIONS.items() if name not in loaded]
        if missing:
            raise MissingPartError(f"PHP lacks extensions (Debian: apt-get install {' '.join(missing)})")

    def evaluate(self, code: str, standard_input: str = "") -> str:
        """Run a piece of PHP code (without ``<?php``) and return what it prints."""
        return self.run("-r", code, standard_input=standard_input)

    def run(
        self,
        *arguments: str | Path,
        standard_input: str = "",
        timeout_s: float = 30,
        env: dict[str, str] | None = None,
    ) -> str:
        """Run PHP with these arguments and return what it prints.

        Raises:
            AssertionError: if it exits with an error, with all that it printed.
        """
        command: Sequence[str] = [str(self.program), *map(str, arguments)]
        done = subprocess.run(
            command,
            input=standard_input,
            capture_output=True,
            text=True,
            timeout=timeout_s,
            check=False,
            env={**os.environ, **(env or {})},
        )
        if done.returncode != 0:
            raise AssertionError(f"{' '.join(command)} exited {done.returncode}\n{done.stdout}{done.stderr}")
        return done.stdout
