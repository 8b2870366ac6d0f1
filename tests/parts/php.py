"""The real PHP with the components of Laravel that Debian packages."""

import json
import os
import subprocess
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from threading import Timer
from typing import Any

from tests.parts.process import MissingPartError, find_program

_EXTENSIONS = {
    "redis": "php-redis",
    "pdo_pgsql": "php-pgsql",
    "pdo_sqlite": "php-sqlite3",
    "pdo_mysql": "php-mysql",
}
_SHARE = Path("/usr/share/php")
_TIMEOUT_S = 30.0


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
        timeout_s: float = _TIMEOUT_S,
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


class PhpScript:
    """A script that runs on, and answers each line of JSON with another.

    Args:
        php: the interpreter.
        path: the script.
        env: more of the environment.
    """

    def __init__(self, php: Php, path: Path, env: Mapping[str, str]) -> None:
        self._path = path
        self._errors = tempfile.TemporaryFile("w+")  # noqa: SIM115 - closed with the script
        self._process = subprocess.Popen(
            [str(php.program), str(path)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self._errors,
            text=True,
            env={**os.environ, **env},
        )

    def send(self, *line: object) -> None:
        """Send a line."""
        assert self._process.stdin is not None
        self._process.stdin.write(json.dumps(line) + "\n")
        self._process.stdin.flush()

    def answer(self) -> Any:
        """Return the next line.

        Raises:
            AssertionError: if the script has ended instead, or takes too long; with all that it said.
        """
        assert self._process.stdout is not None
        too_late = Timer(_TIMEOUT_S, self._process.kill)
        too_late.start()
        line = self._process.stdout.readline()
        too_late.cancel()
        try:
            return json.loads(line)
        except ValueError:
            rest = self._process.communicate()[0]
            self._errors.seek(0)
            raise AssertionError(f"{self._path.name} failed\n{line}{rest}{self._errors.read()}") from None

    def close(self) -> None:
        """Wait for its end: there is no more to come."""
        self._process.communicate(timeout=_TIMEOUT_S)
        self._errors.close()
