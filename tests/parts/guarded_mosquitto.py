"""A real Mosquitto for devices that nobody trusts, with the file that the project ships for that."""

import os
from pathlib import Path

from streams.mqtt.address import Address
from streams.tls import TlsFiles
from tests.parts.authority import Authority, Certificate
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
        accounts: a directory with its accounts; without one they are made.
        certificate: its own; without one it is made.
    """

    def __init__(
        self, authority: Authority, *, accounts: Path | None = None, certificate: Certificate | None = None
    ) -> None:
        super().__init__()
        self._certificate = certificate or authority.server("mosquitto", self.host)
        self._authority = authority
        self._inner_port = free_port()
        self.accounts = accounts or self.directory / "accounts"
        if accounts is None:
            made = call("metric-streams", "provision", "init", str(self.accounts))
            assert made.returncode == 0, made.stderr
        self.admin_password, self.bridge_password = (
            (self.accounts / f"{name}.password").read_text().strip() for name in ("admin", "bridge")
        )
        self.client_id = (self.accounts / "bridge.client-id").read_text().strip()

    @property
    def url(self) -> str:
        """The URL of the listener that is for the bridge and the administrator."""
        return f"mqtts://{self.host}:{self._inner_port}"

    def device(self, username: str, password: str) -> Address:
        """Return where a device connects, and as whom."""
        certificates = TlsFiles(str(self._authority.ca))
        return Address("mqtts", self.host, self.port, username, password, certificates=certificates)

    @property
    def bridge(self) -> dict[str, str]:
        """The settings of the bridge."""
        known = {"MQTT_USERNAME": "bridge", "MQTT_PASSWORD": self.bridge_password}
        return {**self._place, **known, "MQTT_CLIENT_ID": self.client_id}

    @property
    def admin(self) -> dict[str, str]:
        """The settings of who lets devices in."""
        return {**self._place, "MQTT_ADMIN_PASSWORD": self.admin_password}

    @property
    def _place(self) -> dict[str, str]:
        return {"MQTT_URL": self.url, "MQTT_CA_FILE": str(self._authority.ca)}

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
            "/run/secrets/mosquitto.pem": str(self._certificate.path),
            "/run/secrets/mosquitto.key": str(self._certificate.key),
            "/run/secrets/ca.pem": str(self._authority.ca),
            "/mosquitto/data/": f"{self.directory}/",
        }
        for before, after in places.items():
            assert before in text, before
            text = text.replace(before, after)
        # Started by root it would become the user mosquitto, who may not enter our directory.
        return text + ("user root\n" if os.geteuid() == 0 else "")
