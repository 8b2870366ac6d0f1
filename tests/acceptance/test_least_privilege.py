"""The whole pipeline under the rights that the shipped files give, and no others."""

import json
import os
import subprocess
import uuid
from pathlib import Path

import pytest

from streams.database.schema import ensure_tables
from streams.errors import StartupRefused
from streams.kafka.rights import missing_rights, require_rights
from streams.mqtt.publisher import MqttPublisher
from streams.settings import Settings
from tests.acceptance.conftest import Own, Pipeline
from tests.conftest import real
from tests.parts.authority import Authority
from tests.parts.commands import call
from tests.parts.eventually import eventually
from tests.parts.guarded_mosquitto import GuardedMosquitto
from tests.parts.postgres import Postgres
from tests.parts.redis import Redis
from tests.parts.secure_kafka import USER, SecureKafka
from tests.parts.worker import Ingest, Worker

REPOSITORY = Path(__file__).parents[2]
SHIPPED = REPOSITORY / "docker" / "secure"
MESSAGES = (b'{"value": 1, "dedupe_id": "a"}', b'{"value": 2, "dedupe_id": "a"}', b"no metric")
AUTHORIZER = {
    "authorizer.class.name": "org.apache.kafka.metadata.authorizer.StandardAuthorizer",
    "super.users": "User:ANONYMOUS",  # the listener in clear, which no client of ours uses here
}
GROUP = "metric-streams"
PATIENCE_S = 90.0


@pytest.fixture
def authority(tmp_path: Path) -> Authority:
    return real(lambda: Authority(tmp_path / "authority"))


@pytest.fixture
def kafka(own: Own, authority: Authority) -> SecureKafka:
    """A Kafka that asks for every right."""
    made = own(lambda: SecureKafka(authority, AUTHORIZER))
    assert isinstance(made, SecureKafka)
    return made


def run(*command: str | Path, **environment: str) -> None:
    """Run what an administrator runs."""
    done = subprocess.run(
        command, capture_output=True, text=True, check=False, env={"PATH": os.environ["PATH"], **environment}
    )
    assert done.returncode == 0, done.stdout + done.stderr


def grant(kafka: SecureKafka, **settings: str) -> None:
    """Give our user its rights at Kafka, by the script that is shipped."""
    tool = [*kafka.main("org.apache.kafka.tools.AclCommand"), "--bootstrap-server", kafka.bootstrap]
    run(SHIPPED / "kafka-acls", USER, *tool, **settings)


def take_away(kafka: SecureKafka, *what: str) -> None:
    """Take a right from our user."""
    tool = [*kafka.main("org.apache.kafka.tools.AclCommand"), "--bootstrap-server", kafka.bootstrap]
    run(*tool, "--remove", "--force", "--allow-principal", f"User:{USER}", *what)


async def test_the_pipeline_runs_on_what_the_shipped_files_allow(
    own: Own, authority: Authority, kafka: SecureKafka, postgres: Postgres, database_url: str
) -> None:
    broker, redis = own(lambda: GuardedMosquitto(authority)), own(lambda: Redis(append_only=True))
    assert isinstance(broker, GuardedMosquitto)
    assert isinstance(redis, Redis)
    grant(kafka)
    await ensure_tables(database_url)
    database = database_url.rpartition("/")[2]
    passwords = ["-v", "worker_password=w", "-v", "ingest_password=i"]
    run("psql", "-X", "-q", *passwords, "-f", SHIPPED / "postgres.sql", database_url)
    try:
        run("redis-cli", "-u", redis.url, *redis_rules())
        tenant = str(uuid.uuid4())
        place = f"@{postgres.host}:{postgres.port}/{database}"
        common = kafka.login(
            **broker.bridge,
            REDIS_URL=redis.url.replace("redis://", "redis://metric-streams:secret@"),
            CONSUMER_GROUP=GROUP,
            TOPIC_PARTITIONS="2",
        )
        worker_settings = {**common, "DATABASE_URL": f"postgresql://metric_streams_worker:w{place}"}
        ingest_settings = {**common, "DATABASE_URL": f"postgresql://metric_streams_ingest:i{place}"}
        assert call("metric-streams", "setup", **worker_settings).returncode == 0
        added = call("metric-streams", "tenants", "add", "first", "--id", tenant, DATABASE_URL=database_url)
        assert added.returncode == 0, added.stderr
        worker = own(lambda: Worker(worker_settings))
        own(lambda: Ingest(ingest_settings, pages=True))
        told = call("metric-streams", "provision", "add", tenant, "edge-1", "--json", **broker.admin)
        (device,) = json.loads(told.stdout)
        async with MqttPublisher(broker.device(device["username"], device["password"])) as publisher:
            for payload in MESSAGES:
                assert await publisher.publish(f"metrics/{tenant}/edge-1/cpu", payload, 1)

        def landed() -> bool:
            return postgres.execute("select value from metrics_raw", database).split() == ["2"]

        await eventually(landed, PATIENCE_S, interval_s=0.3)
        assert worker.status("/health/ready") == 200
        listed = call("metric-streams", "rejected", "list", **worker_settings)
        assert "edge-1" in listed.stdout, listed.stderr
        doctor = call("metric-streams", "doctor", **{**worker_settings, "WEB_PORT": str(worker.port)})
        assert "lack" not in doctor.stdout, doctor.stdout
        worker.stop()
    finally:
        postgres.execute("drop owned by metric_streams_worker, metric_streams_ingest", database)
        postgres.execute("drop role metric_streams_worker, metric_streams_ingest")


def redis_rules() -> list[str]:
    """Return the command of docs/redis.md that makes its user."""
    text = (REPOSITORY / "docs" / "redis.md").read_text()
    return text[text.index("ACL SETUSER metric-streams on") :].split("```")[0].split()


def test_a_right_at_kafka_that_is_missing_is_named_at_the_start(kafka: SecureKafka) -> None:
    settings = kafka.login(CONSUMER_GROUP=GROUP, TOPIC_PARTITIONS="2")
    refused = call("metric-streams", "setup", **settings)
    assert (refused.returncode, "grant us Create on it" in refused.stderr) == (1, True)
    grant(kafka, CREATE="no")
    refused = call("metric-streams", "setup", **settings)
    assert (refused.returncode, "grant us Create on it" in refused.stderr) == (1, True)
    clear = call("metric-streams", "setup", BROKER_URL=kafka.url, CONSUMER_GROUP=GROUP, TOPIC_PARTITIONS="2")
    assert clear.returncode == 0, clear.stderr
    assert call("metric-streams", "setup", **settings).returncode == 0


async def test_each_right_that_the_worker_misses_is_named_before_it_starts(kafka: SecureKafka) -> None:
    made = call("metric-streams", "setup", BROKER_URL=kafka.url, CONSUMER_GROUP=GROUP, TOPIC_PARTITIONS="2")
    assert made.returncode == 0, made.stderr
    grant(kafka, CREATE="no")
    settings = Settings.from_mapping(kafka.login(CONSUMER_GROUP=GROUP, TOPIC_PARTITIONS="2"))
    assert await missing_rights(settings) == []
    prefixed = ["--resource-pattern-type", "prefixed"]
    for what, told in (
        (["--operation", "Write", "--topic", "metrics.", *prefixed], "lacks Write on metrics.unique"),
        (["--operation", "Read", "--topic", f"{GROUP}-", *prefixed], f"lacks Read on {GROUP}-seen-changelog"),
        (["--operation", "Read", "--group", GROUP], f"lacks Read on the group {GROUP}"),
    ):
        take_away(kafka, *what)

        async def is_named(told: str = told) -> bool:
            return any(told in line for line in await missing_rights(settings))

        await eventually(is_named, PATIENCE_S)
    with pytest.raises(StartupRefused, match="docker/secure/kafka-acls grants what is needed"):
        await require_rights(settings)


async def test_a_kafka_that_asks_for_no_rights_lacks_none(pipeline: Pipeline) -> None:
    assert call("metric-streams", "setup", **pipeline.environment).returncode == 0
    assert await missing_rights(Settings.from_mapping(pipeline.environment)) == []
