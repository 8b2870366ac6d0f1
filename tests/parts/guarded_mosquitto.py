"""A real Mosquitto for devices that nobody trusts, with the file that the project ships for that."""

import os
from pathlib import Path

from streams.mqtt.address import Address
from streams.tls import TlsFiles
from tests.parts.authority import Authority
from tests.parts.commands import call
from tests.parts.mosquitto import Mosquitto
from tests.parts.ports import accepts, free_port

CONFIGURATION = Path(__file__).parents[2] / "docker" / "secure" / "mosquitto.conf"
_PLUGINS = ("/usr/lib", "/usr/lib/x86_64-linux-gnu", "/usr/lib/aarch64-linux-gnu")
_PLUGIN = "mosquitto_dynamic_security.so"


class GuardedMosquitto(Mosquitto):
    """A broker whose accounts `provision init` has made; only ports and paths are not those of the file.

    Args:
        authority: signs its certificate.
    """

    def __init__(self, authority: Authority) -> None:
        super().__init__()
        self._certificate = authority.server("mosquitto", self.host)
        self._authority = authority
        self._inner_port = free_port()
        self.accounts = self.directory / "accounts"
        made = call("metric-streams", "provision", "init", str(self.accounts))
        assert made.returncode == 0, made.stderr
        self.admin_password, self.bridge_password = (
            (self.accounts / f"{name}.password").read_text().strip() for name in ("admin", "bridge")
        )

    @property
    def url(self) -> str:
        """The URL of the listener that is for the bridge and the administrator."""
        return f"mqtt://{self.host}:{self._inner_port}"

    def device(self, username: str, password: str) -> Address:
        """Return where a device connects, and as whom."""
        certificates = TlsFiles(str(self._authority.ca))
        return Address("mqtts", self.host, self.port, username, password, certificates=certificates)

    @property
    def bridge(self) -> dict[str, str]:
        """The settings of the bridge."""
        return {"MQTT_URL": self.url, "MQTT_USERNAME": "bridge", "MQTT_PASSWORD": self.bridge_password}

    @property
    def admin(self) -> dict[str, str]:
        """The settings of who lets devices in."""
        return {"MQTT_URL": self.url, "MQTT_ADMIN_PASSWORD": self.admin_password}

    def is_ready(self) -> bool:
        """Tell whether both listeners accept connections."""
        return accepts(self.host, self.port) and accepts(self.host, self._inner_port)

    def configuration(self) -> str:
        """Return the project's configuration with this broker's ports and paths."""
        text = CONFIGURATION.read_text()
        plugin = next(path for each in _PLUGINS if (path := Path(each) / _PLUGIN).exists())
        places = {
            "listener 8883": f"listener {self.port} {self.host}",
            "listener 1884": f"listener {self._inner_port} {self.host}",
            f"/usr/lib/{_PLUGIN}": str(plugin),
            "/mosquitto/accounts": str(self.accounts),
            "/mosquitto/certificates/mosquitto.pem": str(self._certificate.path),
            "/mosquitto/certificates/mosquitto.key": str(self._certificate.key),
            "/mosquitto/certificates/ca.pem": str(self._authority.ca),
            "/mosquitto/data/": f"{self.directory}/",
        }
        for before, after in places.items():
            assert before in text, before
            text = text.replace(before, after)
        # Started by root it would become the user mosquitto, who may not enter our directory.
        return text + ("user root\n" if os.geteuid() == 0 else "")
