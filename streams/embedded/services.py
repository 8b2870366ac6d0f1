"""The project's own processes as parts of the stack: the worker and ``ingest``."""

import asyncio
import sys
import urllib.request
from collections.abc import Mapping
from http import HTTPStatus
from pathlib import Path
from typing import ClassVar

from streams.embedded.part import PROBE_TIMEOUT_S, Part
from streams.embedded.ports import HOST


class Service(Part):
    """One of the project's own processes.

    Args:
        directory: where it works.
        port: of its web pages.
        settings: the settings that tell it where the other parts are, as an environment.
    """

    command: ClassVar[list[str]]
    origin = "this project"
    uses_others = True
    start_timeout_s = 60.0
    stop_timeout_s = 40.0

    def __init__(self, directory: Path, port: int, settings: Mapping[str, str]) -> None:
        super().__init__(directory, port)
        self._settings = settings

    @property
    def url(self) -> str:
        """Its web pages."""
        return f"http://{HOST}:{self.port}/"

    async def is_ready(self) -> bool:
        """Tell whether all parts answer it; of the worker also whether its positions are known."""
        return await asyncio.to_thread(_is_ok, f"{self.url}health/ready")

    def argv(self) -> list[str]:
        """Return the command line."""
        return [sys.executable, "-m", "faust", "-A", "streams", "--loglevel", "info", *self.command]

    def environment(self) -> Mapping[str, str]:
        """Return the settings; unbuffered, so that the log is there when something goes wrong."""
        return {**self._settings, "PYTHONUNBUFFERED": "1"}


class Worker(Service):
    """``faust -A streams worker``."""

    name = "worker"
    command: ClassVar[list[str]] = ["worker"]


class Ingest(Service):
    """``faust -A streams ingest``."""

    name = "ingest"
    command: ClassVar[list[str]] = ["ingest"]


def _is_ok(url: str) -> bool:
    try:
        with urllib.request.urlopen(url, timeout=PROBE_TIMEOUT_S) as answer:  # noqa: S310 - our own http URL
            return bool(answer.status == HTTPStatus.OK)
    except OSError:  # refused, or an answer such as 503
        return False
