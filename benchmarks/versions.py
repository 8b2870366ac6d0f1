"""What was measured, and on what: a figure without this says little."""

import os
import platform
import re
import subprocess
from collections.abc import Callable
from importlib.metadata import version
from pathlib import Path

from tests.parts.kafka import Kafka
from tests.parts.process import MissingPartError, find_program

PACKAGES = ("faust-streaming", "aiokafka", "aiomqtt", "msgspec", "redis", "asyncpg")
_VERSION = re.compile(r"\d+\.\d+[\w.-]*")


def versions() -> dict[str, str | None]:
    """Return the versions of Python, the packages and the servers; None for what is not installed."""
    servers = {
        "mosquitto": _if_there(lambda: _answer("mosquitto", "-h")),
        "redis-server": _if_there(lambda: _answer("redis-server", "--version")),
        "postgresql": _if_there(lambda: _answer("psql", "--version")),
        "kafka": _if_there(Kafka.version),
    }
    packages = {package: version(package) for package in PACKAGES}
    return {"python": platform.python_version(), **packages, **servers}


def machine() -> dict[str, object]:
    """Return what the machine has."""
    return {"cpu": _cpu(), "cores": os.cpu_count(), "load_before": round(_LOAD_BEFORE, 2)}


_LOAD_BEFORE = os.getloadavg()[0]


def _cpu() -> str:
    names = re.findall(r"(?m)^model name\s*: (.+)$", _text(Path("/proc/cpuinfo")))
    return names[0] if names else platform.processor() or platform.machine()


def _text(path: Path) -> str:
    return path.read_text() if path.exists() else ""


def _if_there(version: Callable[[], str]) -> str | None:
    """Return a version; None where what it is of is not installed: a benchmark may need no server at all."""
    try:
        return version()
    except MissingPartError:
        return None


def _answer(*command: str) -> str:
    program = find_program(command[0], package=command[0])
    return first_version(
        subprocess.run([program, *command[1:]], capture_output=True, text=True, check=False).stdout
    )


def first_version(text: str) -> str:
    """Return the first version that a program names of itself."""
    found = _VERSION.search(text)
    return found[0] if found else "unknown"
