"""A real Apache Kafka 4: a KRaft node that is broker and controller, alone or one of several."""

import contextlib
import os
import socket
import struct
import subprocess
import uuid
from base64 import urlsafe_b64encode
from collections.abc import Sequence
from pathlib import Path

from tests.parts.ports import free_port
from tests.parts.process import MissingPartError, Part, PartFailedError, find_program

_REPOSITORY = Path(__file__).parents[2]
_METADATA_API, _METADATA_VERSION = 3, 1
# A small heap and no late compilation: it starts sooner, and a test's load is small.
# What .ci/kafka/archive keeps saves it loading its classes.
_JVM = ("-Xms256m", "-Xmx512m", "-XX:TieredStopAtLevel=1", "-XX:+UseSerialGC", "-Xshare:auto")
_LOG4J = """\
status = warn
rootLogger.level = info
rootLogger.appenderRef.console.ref = console
appender.console.type = Console
appender.console.name = console
appender.console.layout.type = PatternLayout
appender.console.layout.pattern = %d{HH:mm:ss,SSS} %p %c{1} %m%n
"""


class Kafka(Part):
    """A Kafka broker that creates no topic by itself.

    Args:
        settings: further broker settings, such as ``{"log.retention.ms": "1000"}``.
        node: its id.

    Attributes:
        voters: the nodes of its quorum, ``id@host:port`` of each controller.
        cluster: the id of its cluster.
    """

    name = "kafka"
    start_timeout_s = 90.0
    stop_timeout_s = 60.0

    def __init__(self, settings: dict[str, str] | None = None, *, node: int = 1) -> None:
        self._java = find_program("java", package="openjdk-17-jre-headless")
        self._libraries = _libraries()
        super().__init__()
        self._controller_port = free_port()
        self.node = node
        self.voters = [self.voter]
        self.cluster = urlsafe_b64encode(uuid.uuid4().bytes).decode().rstrip("=")
        self._more_settings = dict(settings or {})
        self._configuration = self.directory / "server.properties"

    @property
    def voter(self) -> str:
        """Its controller, as a quorum names it."""
        return f"{self.node}@{self.host}:{self._controller_port}"

    @property
    def url(self) -> str:
        """The URL as Faust takes it."""
        return f"kafka://{self.bootstrap}"

    @property
    def bootstrap(self) -> str:
        """``host:port``, as every other client takes it."""
        return f"{self.host}:{self.port}"

    @staticmethod
    def version() -> str:
        """Return the version that is installed, by the name of its jar: ``kafka_2.13-4.0.0.jar``."""
        return next(_libraries().glob("kafka_*.jar")).stem.rpartition("-")[2]

    def start(self) -> None:
        """Start the broker, formatting its storage on the first call."""
        if not self._configuration.exists():
            self._format()
        super().start()

    def is_ready(self) -> bool:
        """Tell whether the broker answers and counts itself in: a fenced one can create no topic yet."""
        with contextlib.suppress(OSError, struct.error):
            return _broker_count(self.host, self.port) > 0
        return False

    def _argv(self) -> Sequence[str]:
        return [*self.main("kafka.Kafka"), str(self._configuration)]

    def main(self, name: str) -> list[str]:
        """Return how a program of Kafka is run, by the name of its class."""
        logging = f"-Dlog4j2.configurationFile={self.directory / 'log4j2.properties'}"
        archive = self._libraries.with_name("classes.jsa")
        loaded = [f"-XX:SharedArchiveFile={archive}"] if archive.exists() else []
        return [str(self._java), *_JVM, *loaded, logging, "-cp", f"{self._libraries}/*", name]

    def _format(self) -> None:
        (self.directory / "log4j2.properties").write_text(_LOG4J)
        self._configuration.write_text(
            "".join(f"{name}={value}\n" for name, value in self._settings().items())
        )
        command = [*self.main("kafka.tools.StorageTool"), *self._format_arguments()]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        if done.returncode != 0:
            self._configuration.unlink()
            raise PartFailedError(f"kafka.tools.StorageTool format failed\n{done.stdout}{done.stderr}")

    def _format_arguments(self) -> list[str]:
        # The id in one word with its option: one in sixty-four begins with a dash.
        return ["format", f"--cluster-id={self.cluster}", "-c", str(self._configuration)]

    def _settings(self) -> dict[str, str]:
        controller = f"{self.host}:{self._controller_port}"
        return {
            "process.roles": "broker,controller",
            "node.id": str(self.node),
            "controller.quorum.voters": ",".join(self.voters),
            "controller.listener.names": "CONTROLLER",
            "listeners": f"PLAINTEXT://{self.bootstrap},CONTROLLER://{controller}",
            "advertised.listeners": f"PLAINTEXT://{self.bootstrap}",
            "listener.security.protocol.map": "PLAINTEXT:PLAINTEXT,CONTROLLER:PLAINTEXT",
            "log.dirs": str(self.directory / "data"),
            "auto.create.topics.enable": "false",
            "group.initial.rebalance.delay.ms": "0",
            # A killed broker may come back only when its former self has been given up (default 9 s).
            "broker.session.timeout.ms": "2000",
            "broker.heartbeat.interval.ms": "250",
            "offsets.topic.num.partitions": "4",
            "offsets.topic.replication.factor": "1",
            "transaction.state.log.num.partitions": "1",
            "transaction.state.log.replication.factor": "1",
            "transaction.state.log.min.isr": "1",
            "share.coordinator.state.topic.replication.factor": "1",
            "share.coordinator.state.topic.min.isr": "1",
            **self._more_settings,
        }


def cluster(nodes: int) -> dict[int, Kafka]:
    """Return brokers of one cluster by their ids, none of them started; every log on three of them."""
    replicated = {
        "offsets.topic.replication.factor": "3",
        "transaction.state.log.replication.factor": "3",
        "transaction.state.log.min.isr": "2",
        "min.insync.replicas": "2",
        "unclean.leader.election.enable": "false",
    }
    brokers = {node: Kafka(replicated, node=node) for node in range(1, nodes + 1)}
    for broker in brokers.values():
        broker.voters = [each.voter for each in brokers.values()]
        broker.cluster = brokers[1].cluster
    return brokers


def _libraries() -> Path:
    """Find the directory with Kafka's jars."""
    named = os.environ.get("KAFKA_LIBS")
    libraries = Path(named) if named else _REPOSITORY / ".cache" / "kafka" / "libs"
    if not any(libraries.glob("kafka_*.jar")):
        raise MissingPartError(
            f"there are no jars of Kafka in {libraries}, and KAFKA_LIBS names no other place"
        )
    return libraries.resolve()


def _broker_count(host: str, port: int) -> int:
    """Ask the broker for its metadata and return how many brokers it names.

    The request and the start of its response: https://kafka.apache.org/protocol (Metadata, version 1).
    A client library would need an event loop, which a test may already be running.
    """
    no_client_id, no_topics, correlation = -1, 0, 7
    request = struct.pack(">hhihi", _METADATA_API, _METADATA_VERSION, correlation, no_client_id, no_topics)
    with socket.create_connection((host, port), timeout=2) as connection:
        connection.sendall(struct.pack(">i", len(request)) + request)
        answer = connection.makefile("rb").read(12)
    _size, _correlation, brokers = struct.unpack(">iii", answer)
    return int(brokers)
