"""A real Mosquitto with TLS, which may ask for a client's certificate."""

from tests.parts.authority import Authority
from tests.parts.mosquitto import Mosquitto
from tests.parts.ports import free_port


class SecureMosquitto(Mosquitto):
    """A broker with TLS on its main listener, and another one in clear.

    Args:
        authority: signs its certificate, and those of clients that it lets in.
        asks: it asks for a certificate, and takes the name in it for the user's.
    """

    def __init__(self, authority: Authority, *, asks: bool = False) -> None:
        super().__init__()
        self._authority, self._asks = authority, asks
        self._certificate = authority.server("mosquitto", self.host)
        self._plain_port = free_port()

    @property
    def tls_url(self) -> str:
        """The URL of the listener with TLS."""
        return f"mqtts://{self.host}:{self.port}"

    @property
    def url(self) -> str:
        """The URL of the one in clear."""
        return f"mqtt://{self.host}:{self._plain_port}"

    def configuration(self) -> str:
        """Return the configuration, with what TLS needs behind the listener that it is for."""
        listener = f"listener {self.port} {self.host}\n"
        tls = f"certfile {self._certificate.path}\nkeyfile {self._certificate.key}\n"
        if self._asks:
            tls += f"cafile {self._authority.ca}\nrequire_certificate true\nuse_identity_as_username true\n"
        text = super().configuration().replace(listener, listener + tls)
        return f"{text}\nlistener {self._plain_port} {self.host}\n"
