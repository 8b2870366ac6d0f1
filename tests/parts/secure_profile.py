"""What docker-compose.secure.yml mounts, run on this machine: only ports and paths are others.

``docker/secure/init`` makes the secrets, and each server runs on the file that its container is given. What
an image does before its server starts is left out: there is no Docker here.
"""

import os
import shutil
import socket
import ssl
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

from tests.parts.authority import Authority, Certificate
from tests.parts.compose import as_compose_reads, secured
from tests.parts.guarded_mosquitto import GuardedMosquitto
from tests.parts.kafka import Kafka
from tests.parts.ports import free_port
from tests.parts.postgres import Postgres
from tests.parts.process import Part, PartFailedError, find_program
from tests.parts.redis import Redis

REPOSITORY = Path(__file__).parents[2]
SHIPPED = REPOSITORY / "docker" / "secure"
GIVEN = "/run/secrets/"
"""Where a container finds its secrets."""
TOOLS = {
    "kafka-storage.sh": "kafka.tools.StorageTool",
    "kafka-server-start.sh": "kafka.Kafka",
    "kafka-configs.sh": "kafka.admin.ConfigCommand",
    "kafka-acls.sh": "org.apache.kafka.tools.AclCommand",
}
"""Kafka's own programs, which lie beside the jars in its image, and what they run."""


def run(*command: str | Path, **environment: str) -> str:
    """Run what an operator, or a container that ends, runs; return what it printed."""
    kept = {"PATH": os.environ["PATH"]}
    done = subprocess.run(command, capture_output=True, text=True, check=False, env={**kept, **environment})
    if done.returncode != 0:
        raise PartFailedError(f"{command[0]}\n{done.stdout}{done.stderr}")
    return done.stdout


def replaced(text: str, places: Mapping[str, str]) -> str:
    """Return a file with other places in it, each of which it must name.

    Raises:
        PartFailedError: it does not, so that it is another file than the one that was thought of.
    """
    for before, after in places.items():
        if before not in text:
            raise PartFailedError(f"{before} is not in the file that is shipped")
        text = text.replace(before, after)
    return text


class Secrets:
    """What ``docker/secure/init`` makes.

    Args:
        directory: where.
    """

    def __init__(self, directory: Path) -> None:
        find_program("openssl", package="openssl")
        self.directory = directory
        provision = f"{sys.executable} -m metric_streams provision"
        paths = {"PYTHONPATH": str(REPOSITORY), "SECURE_DIRECTORY": str(directory)}
        self.said = run(SHIPPED / "init", "mqtt.example.com", PROVISION=provision, **paths)

    @property
    def path(self) -> Path:
        """The directory with the secrets."""
        return self.directory / "secrets"

    def of(self, name: str) -> str:
        """Return a secret."""
        return (self.path / name).read_text().strip()


class ProfileKafka(Kafka):
    """Kafka on docker/secure/kafka/server.properties; its port is that of the administrator's listener."""

    def __init__(self, secrets: Secrets) -> None:
        super().__init__()
        self._secrets = secrets
        self.login_port, self._host_port = free_port(), free_port()

    def start(self) -> None:
        """Start it as its container does."""
        here, login, outside = (
            self.bootstrap,
            f"{self.host}:{self.login_port}",
            f"{self.host}:{self._host_port}",
        )
        places = {
            "CLIENT://:9092": f"CLIENT://{login}",
            "CLIENT://kafka:9092": f"CLIENT://{login}",
            "HOST://:19092": f"HOST://{outside}",
            "HOST://localhost:19092": f"HOST://{outside}",
            "127.0.0.1:19093": here,
            "127.0.0.1:19094": f"{self.host}:{self._controller_port}",
            GIVEN: f"{self._secrets.path}/",
            "/var/lib/kafka/data": f"{self.directory}/data",
        }
        shipped = SHIPPED / "kafka"
        self._configuration.write_text(replaced((shipped / "server.properties").read_text(), places))
        shutil.copy(shipped / "log4j2.properties", self.directory)
        self._tools.mkdir(exist_ok=True)
        for name, main in TOOLS.items():
            tool = self._tools / name
            words = " ".join(f"'{word}'" for word in self.main(main))
            tool.write_text(f'#!/bin/sh\nexec {words} "$@"\n')
            tool.chmod(0o755)
        Part.start(self)

    @property
    def _tools(self) -> Path:
        return self.directory / "bin"

    def _argv(self) -> Sequence[str]:
        return [str(SHIPPED / "kafka" / "start")]

    def _environment(self) -> Mapping[str, str]:
        return {
            **os.environ,
            "KAFKA_CONFIG": str(self._configuration),
            "KAFKA_BIN": str(self._tools),
        }

    def make_users(self) -> None:
        """Do what the container kafka-users does."""
        run(
            SHIPPED / "kafka" / "users",
            KAFKA_ADMIN=self.bootstrap,
            KAFKA_BIN=str(self._tools),
            SECRETS=str(self._secrets.path),
            KAFKA_ACLS=str(SHIPPED / "kafka-acls"),
        )


class ProfileRedis(Redis):
    """Redis on docker/secure/redis.conf."""

    def __init__(self, secrets: Secrets) -> None:
        super().__init__()
        self._secrets = secrets

    def context(self) -> ssl.SSLContext:
        """Return what trusts its certificate."""
        return ssl.create_default_context(cafile=str(self._secrets.path / "ca.pem"))

    def is_ready(self) -> bool:
        """Tell whether it says that it wants a login, as the container's check asks."""
        try:
            with (
                socket.create_connection((self.host, self.port), timeout=1) as connection,
                self.context().wrap_socket(connection, server_hostname=self.host) as encrypted,
            ):
                encrypted.sendall(b"PING\r\n")
                return encrypted.recv(16).startswith(b"-NOAUTH")
        except OSError:
            return False

    def _argv(self) -> Sequence[str]:
        places = {
            "tls-port 6379": f"tls-port {self.port}",
            GIVEN: f"{self._secrets.path}/",
            "dir /data": f"dir {self.directory}",
        }
        path = self.directory / "redis.conf"
        path.write_text(replaced((SHIPPED / "redis.conf").read_text(), places))
        return [str(self._program), str(path)]


class ProfilePostgres(Postgres):
    """PostgreSQL on docker/secure/postgres, with the database and the owner that its image makes."""

    def __init__(self, secrets: Secrets) -> None:
        super().__init__()
        self._secrets = secrets

    def url_of(self, database: str) -> str:
        """Return the URL of a database for the owner."""
        ca = self._secrets.path / "ca.pem"
        owner = f"metrics:{self._secrets.of('postgres-owner')}"
        tls = f"sslmode=verify-full&sslrootcert={ca}"
        return f"postgresql://{owner}@{self.host}:{self.port}/{database}?{tls}"

    def start(self) -> None:
        """Start it, and make what its image makes."""
        is_new = not self.data.exists()
        super().start()
        if is_new:
            password = self._secrets.of("postgres-owner")
            for statement in (f"alter role metrics password '{password}'", "create database metrics"):
                within = {"PGHOST": str(self.directory), "PGPORT": str(self.port), "PGUSER": "metrics"}
                run(self._program("psql"), "-X", "-q", "-d", "postgres", "-c", statement, **within)

    def make_users(self) -> None:
        """Do what the container postgres-users does."""
        rights = str(SHIPPED / "postgres.sql")
        place = {"PGHOST": self.host, "PGPORT": str(self.port), "POSTGRES_RIGHTS": rights}
        run(SHIPPED / "postgres" / "users", SECRETS=str(self._secrets.path), **place)

    def _initialise(self) -> None:
        self._prepare()
        self.directory.chmod(0o777)  # the socket is made there, by another user
        key = self.directory / "server.key"
        shutil.copyfile(self._secrets.path / "postgres.key", key)
        key.chmod(0o600)
        shutil.copyfile(self._secrets.path / "postgres.pem", self.directory / "server.pem")
        shipped = SHIPPED / "postgres"
        shutil.copyfile(shipped / "pg_hba.conf", self.directory / "pg_hba.conf")
        places = {
            "/secure/postgres/pg_hba.conf": f"{self.directory}/pg_hba.conf",
            f"{GIVEN}postgres.pem": f"{self.directory}/server.pem",
            "/var/lib/postgresql/server.key": str(key),
        }
        configuration = replaced((shipped / "postgresql.conf").read_text(), places)
        moved = f"port = {self.port}\nunix_socket_directories = '{self.directory}'\n"
        (self.directory / "postgresql.conf").write_text(configuration + moved)
        if self.user:
            shutil.chown(key, self.user.uid, self.user.gid)  # it reads its own alone
        command = [self._program("initdb"), "--username", "metrics", "--auth", "trust", "--encoding", "UTF8"]
        done = subprocess.run(
            [*command, "--no-sync", "--locale", "C", "-D", str(self.data)],
            capture_output=True,
            text=True,
            check=False,
            cwd="/",
            **(self.user.options if self.user else {}),
        )
        if done.returncode != 0:
            raise PartFailedError(done.stdout + done.stderr)

    def _argv(self) -> Sequence[str]:
        configuration = f"config_file={self.directory / 'postgresql.conf'}"
        return [self._program("postgres"), "-D", str(self.data), "-c", configuration]


class Profile:
    """All servers of docker-compose.secure.yml, none of them started, and the settings of its programs.

    Args:
        directory: where the secrets are made.
    """

    def __init__(self, directory: Path) -> None:
        self.secrets = made = Secrets(directory / "made")
        self.kafka, self.redis, self.postgres = ProfileKafka(made), ProfileRedis(made), ProfilePostgres(made)
        certificate = Certificate(made.path / "mosquitto.pem", made.path / "mosquitto.key")
        authority = Authority(made.directory / "certificates")
        self.mosquitto = GuardedMosquitto(
            authority, accounts=made.directory / "accounts", certificate=certificate
        )
        self._given = directory / "given"
        self._given.mkdir()

    @property
    def parts(self) -> list[Part]:
        """The servers."""
        return [self.kafka, self.mosquitto, self.redis, self.postgres]

    def settings(self, service: str) -> dict[str, str]:
        """Return the settings that a service has in the compose file, with the places of this machine."""
        defined = secured()[service]
        for name in defined["secrets"]:
            (self._given / name).write_text(self._moved((self.secrets.path / name).read_text()))
        return {name: self._moved(as_compose_reads(value)) for name, value in defined["environment"].items()}

    def _moved(self, text: str) -> str:
        places = {
            "//kafka:9092": f"//{self.kafka.host}:{self.kafka.login_port}",
            "//mosquitto:1884": f"//{self.mosquitto.url.partition('://')[2]}",
            "@redis:6379": f"@{self.redis.host}:{self.redis.port}",
            "@postgres:5432": f"@{self.postgres.host}:{self.postgres.port}",
            GIVEN: f"{self._given}/",
        }
        for before, after in places.items():
            text = text.replace(before, after)
        return text
