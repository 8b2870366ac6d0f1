"""A real Mosquitto with the project's own configuration, moved to free ports and a temporary directory."""

import os
import re
from collections.abc import Mapping, Sequence
from pathlib import Path

from tests.parts.ports import accepts, free_port
from tests.parts.process import Part, find_program

CONFIGURATION = Path(__file__).parents[2] / "docker" / "mosquitto" / "config" / "mosquitto.conf"


class Mosquitto(Part):
    """An MQTT broker.

    Args:
        options: options to set in place of the configuration's own (None removes one), such as
            ``{"allow_anonymous": "false", "password_file": "/…"}``.

    Attributes:
        websocket_port: where it speaks MQTT over WebSockets.
    """

    name = "mosquitto"

    def __init__(self, options: Mapping[str, str | None] | None = None) -> None:
        self._program = find_program("mosquitto", package="mosquitto")
        super().__init__()
        self.websocket_port = free_port()
        self._options = dict(options or {})

    @property
    def url(self) -> str:
        """The URL of the plain listener."""
        return f"mqtt://{self.host}:{self.port}"

    @property
    def websocket_url(self) -> str:
        """The URL of the WebSocket listener."""
        return f"ws://{self.host}:{self.websocket_port}"

    def is_ready(self) -> bool:
        """Tell whether both listeners accept connections."""
        return accepts(self.host, self.port) and accepts(self.host, self.websocket_port)

    def _argv(self) -> Sequence[str]:
        path = self.directory / "mosquitto.conf"
        path.write_text(self.configuration())
        return [str(self._program), "-c", str(path)]

    def configuration(self) -> str:
        """Return the project's configuration with this broker's ports, directories and options."""
        text = CONFIGURATION.read_text()
        places = {
            "listener 1883": f"listener {self.port} {self.host}",
            "listener 9001": f"listener {self.websocket_port} {self.host}",
            "/mosquitto/data/": f"{self.directory}/",
            "/mosquitto/log/": f"{self.directory}/",
        }
        for before, after in places.items():
            text = text.replace(before, after)
        # Started by root it would become the user mosquitto, who may not enter our directory.
        as_root: dict[str, str | None] = {"user": "root"} if os.geteuid() == 0 else {}
        for name, value in {**as_root, **self._options}.items():
            text = _with_option(text, name, value)
        return text


def _with_option(text: str, name: str, value: str | None) -> str:
    without = re.sub(rf"(?m)^{re.escape(name)} .*\n", "", text)
    return without if value is None else f"{without}{name} {value}\n"
