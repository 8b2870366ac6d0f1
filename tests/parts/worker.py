"""A process of the project itself: the worker or ingest, as an operator would start it."""

import contextlib
import os
import signal
import sys
import urllib.error
import urllib.request
from collections.abc import Mapping, Sequence
from pathlib import Path

from tests.parts.process import Part

_REPOSITORY = Path(__file__).parents[2]


class FaustProcess(Part):
    """``metric-streams COMMAND`` with an environment of its own.

    Args:
        command: the command and its arguments.
        environment: the settings; nothing of the tests' own environment but what a process needs.
    """

    name = "faust"
    start_timeout_s = 60.0
    stop_timeout_s = 60.0
    dying_words = signal.SIGABRT  # Python's fault handler

    def __init__(self, command: Sequence[str], environment: Mapping[str, str]) -> None:
        super().__init__()
        self.command = list(command)
        self._settings = dict(environment)

    @property
    def web_url(self) -> str:
        """Where its web pages are."""
        return f"http://{self.host}:{self.port}"

    def is_ready(self) -> bool:
        """Tell whether the process runs; a subclass asks for more."""
        return self.is_running

    def _argv(self) -> Sequence[str]:
        return [sys.executable, "-m", "metric_streams", *self.command]

    def _environment(self) -> Mapping[str, str]:
        kept = {name: os.environ[name] for name in ("PATH", "HOME", "LANG", "TMPDIR") if name in os.environ}
        paths = {"PYTHONPATH": str(_REPOSITORY), "PYTHONUNBUFFERED": "1", "PYTHONFAULTHANDLER": "1"}
        return kept | paths | self._settings

    def status(self, path: str) -> int | None:
        """Return the HTTP status of a page, or None if nobody answers."""
        with contextlib.suppress(OSError):
            try:
                with urllib.request.urlopen(self.web_url + path, timeout=3) as response:  # noqa: S310 - loopback
                    return int(response.status)
            except urllib.error.HTTPError as error:
                return error.code
        return None


class Worker(FaustProcess):
    """The worker; ready when its readiness page says so."""

    name = "worker"

    def __init__(self, environment: Mapping[str, str], *, wait: str = "/health/ready") -> None:
        super().__init__(["worker", "-l", "info"], environment)
        self._settings["WEB_PORT"] = str(self.port)
        self._wait = wait

    def is_ready(self) -> bool:
        """Tell whether the page that `wait` names answers with 200."""
        return self.status(self._wait) == 200


class Ingest(FaustProcess):
    """The job runner for those without Laravel."""

    name = "ingest"

    def __init__(self, environment: Mapping[str, str], *, pages: bool = False) -> None:
        super().__init__(["ingest"], environment)
        self._settings["INGEST_WEB_PORT"] = str(self.port) if pages else "0"
