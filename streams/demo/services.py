"""The project's own processes as parts of the stack: the worker and ``ingest``."""

import asyncio
import sys
import urllib.error
import urllib.request
from collections.abc import Mapping
from pathlib import Path
from typing import Any, ClassVar

import msgspec

from streams.demo.part import PROBE_TIMEOUT_S, Part
from streams.demo.ports import HOST


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
        page = await self.page("health/ready")
        return page is not None and bool(page["ready"])

    async def page(self, path: str = "") -> dict[str, Any] | None:
        """Return what one of its web pages says, also that a part is missing; None if it says nothing."""
        return await asyncio.to_thread(_read, f"{self.url}{path}")

    def argv(self) -> list[str]:
        """Return the command line."""
        return [sys.executable, "-m", "metric_streams", "--loglevel", "info", *self.command]

    def environment(self) -> Mapping[str, str]:
        """Return the settings; unbuffered, so that the log is there when something goes wrong."""
        return {**self._settings, "PYTHONUNBUFFERED": "1"}


class WorkerPart(Service):
    """``metric-streams worker``."""

    name = "worker"
    command: ClassVar[list[str]] = ["worker"]


class IngestPart(Service):
    """``metric-streams ingest``."""

    name = "ingest"
    command: ClassVar[list[str]] = ["ingest"]


def _read(url: str) -> dict[str, Any] | None:
    try:
        with urllib.request.urlopen(url, timeout=PROBE_TIMEOUT_S) as answer:  # noqa: S310 - our own http URL
            body = answer.read()
    except urllib.error.HTTPError as refusal:  # such as the 503 of what is not ready
        body = refusal.read()
    except OSError:  # refused, or not answered in time
        return None
    try:
        page: dict[str, Any] = msgspec.json.decode(body, type=dict[str, Any])
    except msgspec.DecodeError:
        return None
    return page
