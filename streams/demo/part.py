"""What every process of the stack tells about itself."""

import asyncio
import signal
from abc import ABC, abstractmethod
from collections.abc import Mapping
from pathlib import Path
from typing import ClassVar

from streams.demo.child import User
from streams.demo.ports import HOST

PROBE_TIMEOUT_S = 2.0


class Part(ABC):
    """One process of the stack, described; `streams.demo.stack` runs it.

    Args:
        directory: for its data and configuration.
        port: where it listens, on the loopback address.

    Attributes:
        origin: where its program comes from, in words.
        user: whom it must run as; None for our own user.
    """

    name: ClassVar[str]
    uses_others: ClassVar[bool] = False
    """Whether it must be stopped before the others."""
    stop_signal: ClassVar[signal.Signals] = signal.SIGTERM
    start_timeout_s: ClassVar[float] = 30.0
    stop_timeout_s: ClassVar[float] = 20.0
    origin: str
    user: User | None = None

    def __init__(self, directory: Path, port: int) -> None:
        self.directory = directory
        self.port = port

    @property
    @abstractmethod
    def url(self) -> str:
        """Where clients find it."""

    @abstractmethod
    def argv(self) -> list[str]:
        """Return the command line that runs it in the foreground."""

    def environment(self) -> Mapping[str, str]:
        """Return what it needs in its environment beyond ours."""
        return {}

    def prepare(self) -> None:
        """Make its directory and write its configuration."""
        self.directory.mkdir()

    def set_up_argv(self) -> list[str] | None:
        """Return a command to run once before the start, after `prepare`."""
        return None

    async def is_ready(self) -> bool:
        """Tell whether it does its work; does not raise."""
        return await answers(self.port)


async def answers(port: int, *, ask: bytes = b"", answer: bytes = b"") -> bool:
    """Tell whether something accepts connections on a port, and answers as it should if it is asked."""
    try:
        async with asyncio.timeout(PROBE_TIMEOUT_S):
            reader, writer = await asyncio.open_connection(HOST, port)
            try:
                writer.write(ask)
                return await reader.readexactly(len(answer)) == answer
            finally:
                writer.close()
    except (OSError, asyncio.IncompleteReadError):
        return False
