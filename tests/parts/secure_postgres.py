"""A real PostgreSQL with TLS."""

import shutil

from tests.parts.authority import Authority, Certificate
from tests.parts.postgres import Postgres


class SecurePostgres(Postgres):
    """A server with a certificate that an authority has signed; it also takes connections in clear.

    Args:
        authority: signs it.
    """

    def __init__(self, authority: Authority) -> None:
        super().__init__()
        self._authority = authority
        self._certificate, self._key = self.directory / "server.pem", self.directory / "server.key"
        self._more_settings |= {
            "ssl": "on",
            "ssl_cert_file": str(self._certificate),
            "ssl_key_file": str(self._key),
        }

    def tls_url_of(self, database: str) -> str:
        """Return the URL by which a client looks at everything that TLS offers to be looked at."""
        return f"{self.url_of(database)}?sslmode=verify-full&sslrootcert={self._authority.ca}"

    def start(self) -> None:
        """Start it with a certificate, if it has none yet."""
        if not self._key.exists():
            self.certify(self._authority.server("postgres", self.host))
        super().start()

    def _initialise(self) -> None:
        super()._initialise()
        with (self.data / "pg_hba.conf").open("a") as rules:
            rules.write("host all all 10.213.0.0/16 trust\n")  # those of `tests.parts.two_hosts`

    def certify(self, certificate: Certificate) -> None:
        """Take another certificate, from the next start on."""
        shutil.copyfile(certificate.path, self._certificate)
        shutil.copyfile(certificate.key, self._key)
        self._key.chmod(0o600)
        if self.user:
            shutil.chown(self._key, self.user.uid, self.user.gid)  # it reads its own alone
