"""A second host on this machine: a network of its own (Linux's namespaces), joined to ours by one cable."""

import random
import shutil
import subprocess
import uuid
from collections.abc import Mapping, Sequence
from typing import Self

from tests.parts.process import MissingPartError
from tests.parts.worker import Worker


class SecondHost:
    """A context manager: entering lays the cable.

    Attributes:
        ours: our end's address.
        address: its end's.
    """

    def __init__(self) -> None:
        self._ip = shutil.which("ip") or ""
        if not self._ip or subprocess.run([self._ip, "netns"], capture_output=True, check=False).returncode:
            raise MissingPartError("ip is not installed: it belongs to iproute2")
        self.name = f"ms{uuid.uuid4().hex[:8]}"
        third = random.randint(0, 255)  # noqa: S311 - nothing secret about an address
        self.ours, self.address = f"10.213.{third}.1", f"10.213.{third}.2"
        self._end = f"{self.name}a"

    def __enter__(self) -> Self:
        other = f"{self.name}b"
        self._run("netns", "add", self.name)
        self._run("link", "add", self._end, "type", "veth", "peer", "name", other, "netns", self.name)
        self._run("addr", "add", f"{self.ours}/24", "dev", self._end)
        self._run("link", "set", self._end, "up")
        for command in (
            ("addr", "add", f"{self.address}/24", "dev", other),
            ("link", "set", other, "up"),
            ("link", "set", "lo", "up"),
        ):
            self._run("-n", self.name, *command)
        return self

    def __exit__(self, *_: object) -> None:
        self._run("netns", "delete", self.name)

    def cut(self) -> None:
        """Pull the cable out: what is sent is lost, and nobody is told."""
        self._run("link", "set", self._end, "down")

    def heal(self) -> None:
        """Put it back."""
        self._run("link", "set", self._end, "up")

    def command(self, argv: Sequence[str]) -> list[str]:
        """Return how a command is run there."""
        return [self._ip, "netns", "exec", self.name, *argv]

    def _run(self, *arguments: str) -> None:
        done = subprocess.run([self._ip, *arguments], capture_output=True, text=True, check=False)
        if done.returncode:
            raise MissingPartError(f"no second host can be made here: {done.stderr.strip()}")


class DistantWorker(Worker):
    """A worker on the second host."""

    def __init__(self, environment: Mapping[str, str], host: SecondHost) -> None:
        web = {"WEB_BIND": host.address, "WEB_TOKEN": "a-token"}
        super().__init__({**environment, **web})
        self.host = host.address
        self._second = host

    def _argv(self) -> Sequence[str]:
        return self._second.command(super()._argv())
