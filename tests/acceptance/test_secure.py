"""Everything encrypted, and everybody known: the whole pipeline and every command, on servers that insist."""

import json
import time
import uuid
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import asyncpg
import pytest

from streams.database.schema import ensure_tables
from streams.mqtt.address import Address
from streams.mqtt.publisher import MqttPublisher
from streams.settings import Settings
from tests.acceptance.conftest import Own
from tests.conftest import real
from tests.parts.authority import Authority
from tests.parts.commands import call
from tests.parts.eventually import eventually
from tests.parts.process import MissingPartError, Part
from tests.parts.secure_kafka import PASSWORD, SecureKafka
from tests.parts.secure_mosquitto import SecureMosquitto
from tests.parts.secure_postgres import SecurePostgres
from tests.parts.secure_redis import SecureRedis
from tests.parts.two_hosts import DistantWorker, SecondHost
from tests.parts.worker import Ingest, Worker

KNOWN_TO_REDIS = "a-word-of-redis"
PATIENCE_S = 90.0
CUT_S = 60.0


@dataclass
class Scene:
    """The servers, and the settings of who is let in to all of them."""

    authority: Authority
    kafka: SecureKafka
    mosquitto: SecureMosquitto
    redis: SecureRedis
    postgres: SecurePostgres
    environment: dict[str, str]
    tenant: str

    async def publish(self, *values: object) -> None:
        """Publish as a device does, over the same listener."""
        address = Address.of(Settings.from_mapping(self.environment))
        async with MqttPublisher(address) as publisher:
            for value in values:
                assert await publisher.publish(
                    f"metrics/{self.tenant}/edge-1/cpu", b'{"value": %s}' % json.dumps(value).encode(), 1
                )

    async def rows(self, count: int) -> None:
        """Wait until so many readings are rows."""

        async def are_there() -> bool:
            connection = await asyncpg.connect(self.postgres.url)
            try:
                return bool(await connection.fetchval("select count(*) from metrics_raw") == count)
            finally:
                await connection.close()

        await eventually(are_there, PATIENCE_S, interval_s=0.3)


@pytest.fixture
async def scene(own: Own, tmp_path: Path, unique: str) -> Scene:
    """Servers of this test's own; nothing of the pipeline runs yet."""
    return await secured(own, tmp_path, unique)


async def secured(own: Own, tmp_path: Path, unique: str) -> Scene:
    """Start servers that insist on being known."""
    authority = real(lambda: Authority(tmp_path / "authority"))
    kafka, mosquitto = SecureKafka(authority), SecureMosquitto(authority, asks=True)
    redis, postgres = SecureRedis(authority, KNOWN_TO_REDIS), SecurePostgres(authority)
    for part in (kafka, mosquitto, redis, postgres):
        own(lambda part=part: part)
    bridge = authority.client("bridge")
    environment = kafka.login(
        MQTT_URL=mosquitto.tls_url,
        MQTT_CA_FILE=str(authority.ca),
        MQTT_CERT_FILE=str(bridge.path),
        MQTT_KEY_FILE=str(bridge.key),
        REDIS_URL=redis.tls_url,
        DATABASE_URL=postgres.tls_url_of("postgres"),
        TOPIC_PREFIX=unique,
        CONSUMER_GROUP=unique,
        TOPIC_PARTITIONS="2",
    )
    tenant = str(uuid.uuid4())
    await ensure_tables(environment["DATABASE_URL"])
    return Scene(authority, kafka, mosquitto, redis, postgres, environment, tenant)


async def test_the_whole_pipeline_and_every_command_run_over_tls(scene: Scene, own: Own) -> None:
    def run(*arguments: str) -> str:
        done = call("metric-streams", *arguments, **scene.environment)
        assert done.returncode == 0, f"{arguments}: {done.stdout}{done.stderr}"
        for secret in (PASSWORD, KNOWN_TO_REDIS):
            assert secret not in done.stdout + done.stderr
        return done.stdout

    assert "created" in run("setup", "--database")
    (added,) = json.loads(run("tenants", "add", "first", "--json"))
    scene.tenant = added["id"]
    worker = own(lambda: Worker(scene.environment))
    ingest = own(lambda: Ingest(scene.environment))
    scene.environment["WEB_PORT"] = str(worker.port)
    await scene.publish(1, 2, "no number", 3)
    await scene.rows(3)
    run("doctor")  # which ends with 1 if anything is broken
    assert "edge-1" in run("rejected", "list")
    assert "no number" in run("rejected", "export")
    assert json.loads(run("rejected", "count", "--json"))["messages"] == 1
    assert "edge-1" in run("devices", "list")
    assert scene.tenant in run("tenants", "list")
    run("simulate", "--tenant", scene.tenant, "--count", "20")
    await eventually(lambda: worker.status("/health/ready") == 200, PATIENCE_S)
    for part in (worker, ingest):
        part.stop()
        for secret in (PASSWORD, KNOWN_TO_REDIS):
            assert secret not in part.log_text()


@pytest.mark.long
async def test_a_certificate_that_runs_out_is_told_and_mended_without_a_restart(
    scene: Scene, own: Own
) -> None:
    """Kafka's, Redis's and PostgreSQL's, one after the other, under a worker that runs."""
    made = call("metric-streams", "tenants", "add", "first", "--json", **scene.environment)
    (added,) = json.loads(made.stdout)
    scene.tenant = added["id"]
    worker = own(lambda: Worker(scene.environment))
    ingest = own(lambda: Ingest(scene.environment))
    count = 0
    for part, name in ((scene.kafka, "kafka"), (scene.redis, "redis"), (scene.postgres, "postgres")):
        count += 1
        await scene.publish(count)
        await scene.rows(count)
        part.stop()
        part.certify(scene.authority.server("past", part.host, days=-1))
        part.start()

        def is_told(name: str = name) -> bool:
            said = worker.log_text() + ingest.log_text()
            return any(f"{name}" in line and "expired" in line for line in said.splitlines())

        await eventually(is_told, PATIENCE_S)
        count += 1
        await scene.publish(count)
        part.stop()
        part.certify(scene.authority.server("good", part.host))
        part.start()
        await scene.rows(count)
    await eventually(lambda: worker.status("/health/ready") == 200, PATIENCE_S)


@pytest.fixture
def second_host(monkeypatch: pytest.MonkeyPatch) -> Iterator[SecondHost]:
    """Another host; what this test starts listens where it is reached from there."""
    try:
        made = SecondHost()
        with made:
            monkeypatch.setattr(Part, "address", made.ours)
            yield made
    except MissingPartError as missing:
        pytest.skip(f"{missing} (it takes the rights of root)")


@pytest.mark.long
async def test_a_host_that_is_cut_off_for_a_minute_loses_and_doubles_nothing(
    second_host: SecondHost, own: Own, tmp_path: Path, unique: str
) -> None:
    """The servers and ingest here, the worker there; a device goes on publishing."""
    scene = await secured(own, tmp_path, unique)
    made = call("metric-streams", "tenants", "add", "first", "--json", **scene.environment)
    (added,) = json.loads(made.stdout)
    scene.tenant = added["id"]
    own(lambda: Ingest(scene.environment))
    worker = own(lambda: DistantWorker(scene.environment, second_host))
    await scene.publish(*range(20))
    await scene.rows(20)
    second_host.cut()
    until, sent = time.monotonic() + CUT_S, 20
    while time.monotonic() < until:
        await scene.publish(sent)
        sent += 1
    second_host.heal()
    await scene.publish(sent)
    await scene.rows(sent + 1)
    values = scene.postgres.execute("select value from metrics_raw order by value").split()
    assert [float(value) for value in values] == list(range(sent + 1))
    await eventually(lambda: worker.status("/health/ready") == 200, PATIENCE_S)
