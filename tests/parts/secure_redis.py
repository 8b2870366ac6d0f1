"""A real Redis with TLS."""

import shutil

from tests.parts.authority import Authority, Certificate
from tests.parts.ports import free_port
from tests.parts.redis import Redis


class SecureRedis(Redis):
    """A server with a certificate that an authority has signed, and a password; it also listens in clear.

    Args:
        authority: signs it.
        password: of its default user.
    """

    def __init__(self, authority: Authority, password: str) -> None:
        super().__init__(append_only=True)
        self._authority, self._password = authority, password
        self._tls_port = free_port()
        self._certificate, self._key = self.directory / "server.pem", self.directory / "server.key"
        self._options |= {
            "tls-port": str(self._tls_port),
            "tls-cert-file": str(self._certificate),
            "tls-key-file": str(self._key),
            "tls-ca-cert-file": str(authority.ca),
            "tls-auth-clients": "no",
            "requirepass": password,
        }

    @property
    def tls_url(self) -> str:
        """The URL by which a client logs in, and looks at the certificate."""
        return f"rediss://:{self._password}@{self.host}:{self._tls_port}/0?ssl_ca_certs={self._authority.ca}"

    def start(self) -> None:
        """Start it with a certificate, if it has none yet."""
        if not self._key.exists():
            self.certify(self._authority.server("redis", self.host))
        super().start()

    def certify(self, certificate: Certificate) -> None:
        """Take another certificate, from the next start on."""
        shutil.copyfile(certificate.path, self._certificate)
        shutil.copyfile(certificate.key, self._key)
