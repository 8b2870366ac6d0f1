"""A real Kafka whose listeners ask for TLS, for a login, or for a client's certificate."""

import subprocess

from tests.parts.authority import Authority, Certificate
from tests.parts.kafka import Kafka
from tests.parts.ports import free_port
from tests.parts.process import PartFailedError

USER, PASSWORD = "bridge", "a-password-of-kafka"
_MODULE = "org.apache.kafka.common.security"


class SecureKafka(Kafka):
    """A broker with listeners beside its own: SASL over TLS, TLS with client certificates, SASL in clear.

    Args:
        authority: signs its certificate, and those of clients that it lets in.
        settings: further broker settings.
    """

    def __init__(self, authority: Authority, settings: dict[str, str] | None = None) -> None:
        super().__init__(settings)
        self._authority = authority
        self.login_port, self.mutual_port, self.clear_port = free_port(), free_port(), free_port()
        self.certify(authority.server("kafka", self.host))

    def certify(self, certificate: Certificate) -> None:
        """Take another certificate, from the next start on."""
        store = self.directory / "kafka.pem"
        store.write_text(certificate.key.read_text() + certificate.path.read_text())

    def login(self, **others: str) -> dict[str, str]:
        """Return the settings of a client that logs in over TLS."""
        return {
            "BROKER_URL": f"kafka://{self.host}:{self.login_port}",
            "KAFKA_SECURITY_PROTOCOL": "SASL_SSL",
            "KAFKA_SASL_USERNAME": USER,
            "KAFKA_SASL_PASSWORD": PASSWORD,
            "KAFKA_CA_FILE": str(self._authority.ca),
            **others,
        }

    def mutual(self, certificate: Certificate) -> dict[str, str]:
        """Return the settings of a client that shows a certificate."""
        return {
            "BROKER_URL": f"kafka://{self.host}:{self.mutual_port}",
            "KAFKA_SECURITY_PROTOCOL": "SSL",
            "KAFKA_CA_FILE": str(self._authority.ca),
            "KAFKA_CERT_FILE": str(certificate.path),
            "KAFKA_KEY_FILE": str(certificate.key),
        }

    def set_password(self, password: str, user: str = USER) -> None:
        """Give a user another password, by Kafka's own tool."""
        scram = f"SCRAM-SHA-512=[iterations=4096,password={password}]"
        arguments = ["--alter", "--add-config", scram, "--entity-type", "users", "--entity-name", user]
        self._tool("kafka.admin.ConfigCommand", *arguments)

    def _tool(self, main: str, *arguments: str) -> None:
        command = [*self.main(main), "--bootstrap-server", self.bootstrap, *arguments]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        if done.returncode != 0:
            raise PartFailedError(f"{main} failed\n{done.stdout}{done.stderr}")

    def _format_arguments(self) -> list[str]:
        scram = f"SCRAM-SHA-512=[name={USER},password={PASSWORD}]"
        return [*super()._format_arguments(), "--add-scram", scram]

    def _settings(self) -> dict[str, str]:
        plain = f'{_MODULE}.plain.PlainLoginModule required user_{USER}="{PASSWORD}";'
        scram = f"{_MODULE}.scram.ScramLoginModule required;"
        oauth = f"{_MODULE}.oauthbearer.OAuthBearerLoginModule required;"
        listeners = {"LOGIN": self.login_port, "MUTUAL": self.mutual_port, "CLEAR": self.clear_port}
        places = ",".join(f"{name}://{self.host}:{port}" for name, port in listeners.items())
        settings = super()._settings()
        for name in ("listeners", "advertised.listeners"):
            settings[name] += f",{places}"
        settings["listener.security.protocol.map"] += ",LOGIN:SASL_SSL,MUTUAL:SSL,CLEAR:SASL_PLAINTEXT"
        for name in ("login", "clear"):
            prefix = f"listener.name.{name}"
            settings |= {
                f"{prefix}.sasl.enabled.mechanisms": "PLAIN,SCRAM-SHA-512,OAUTHBEARER",
                f"{prefix}.plain.sasl.jaas.config": plain,
                f"{prefix}.scram-sha-512.sasl.jaas.config": scram,
                f"{prefix}.oauthbearer.sasl.jaas.config": oauth,
            }
        for name in ("login", "mutual"):
            prefix = f"listener.name.{name}.ssl"
            settings |= {
                f"{prefix}.keystore.type": "PEM",
                f"{prefix}.keystore.location": str(self.directory / "kafka.pem"),
                f"{prefix}.truststore.type": "PEM",
                f"{prefix}.truststore.location": str(self._authority.ca),
            }
        return {**settings, "listener.name.mutual.ssl.client.auth": "required", **self._more_settings}
