"""Other MQTT brokers than Mosquitto, as ``.ci/brokers/install`` has fetched them: each has its own habits."""

import os
from collections.abc import Sequence
from pathlib import Path

from tests.parts.ports import accepts
from tests.parts.process import MissingPartError, Part, find_program

BROKERS = Path(__file__).parents[2] / ".cache" / "brokers"


class Broker(Part):
    """An MQTT broker.

    Attributes:
        versions: of MQTT that it speaks.
        drops_hasty_subscribers: whether it may close a connection whose SUBSCRIBE comes right behind the
            CONNACK. Whoever connects again is served, as ingress does it.
    """

    versions: tuple[str, ...] = ("5", "3.1.1")
    drops_hasty_subscribers = False

    def __init__(self) -> None:
        self._home = _installed(self.name)
        super().__init__()

    @property
    def url(self) -> str:
        """Where it listens."""
        return f"mqtt://{self.host}:{self.port}"

    def is_ready(self) -> bool:
        """Tell whether it accepts connections."""
        return accepts(self.host, self.port)


class Mochi(Broker):
    """mochi-mqtt: one table of packet ids for both directions, and aliases that outlive a connection."""

    name = "mochi"

    def _argv(self) -> Sequence[str]:
        return [str(self._home / "broker"), f"{self.host}:{self.port}"]


class Aedes(Broker):
    """aedes: leaves the retain flag on what it has queued."""

    name = "aedes"
    versions = ("3.1.1",)

    def _argv(self) -> Sequence[str]:
        return [str(self._home / "node"), str(self._home / "main.mjs"), f"{self.host}:{self.port}"]


class Moquette(Broker):
    """Moquette: marks a client as connected only after its CONNACK is out, and drops what comes before that.

    Version 0.17 says "SUBSCRIBE received on already closed connection" then: 8 of 3,000 under load.
    """

    name = "moquette"
    versions = ("3.1.1",)
    drops_hasty_subscribers = True

    def _argv(self) -> Sequence[str]:
        (self.directory / "config").mkdir(exist_ok=True)
        (self.directory / "data").mkdir(exist_ok=True)
        (self.directory / "config" / "moquette.conf").write_text(
            f"host {self.host}\nport {self.port}\n"
            "allow_anonymous true\nallow_zero_byte_client_id true\ntelemetry_enabled false\n"
            f"persistence_enabled true\ndata_path {self.directory}/data/\n"
        )
        java = find_program("java", package="openjdk-17-jre-headless")
        classes = f"{self._home}/libs/*"
        return [str(java), f"-Dmoquette.path={self.directory}", "-cp", classes, "io.moquette.broker.Server"]


def _installed(name: str) -> Path:
    home = Path(os.environ.get("MQTT_BROKERS", BROKERS)) / name
    if not (home / "stamp").exists():
        raise MissingPartError(f"the MQTT broker {name} is not in {home}")
    return home
