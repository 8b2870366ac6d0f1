"""docker-compose.secure.yml as it is shipped, but for ports and paths: the pipeline runs, and no more can."""

import json
import ssl
import stat
from collections.abc import Iterator
from contextlib import ExitStack
from typing import Any

import aiomqtt
import asyncpg
import pytest
from aiokafka import AIOKafkaConsumer, AIOKafkaProducer
from aiokafka.admin import AIOKafkaAdminClient, NewTopic
from aiokafka.errors import KafkaError, TopicAuthorizationFailedError
from redis.asyncio import Redis
from redis.exceptions import AuthenticationError, NoPermissionError, RedisError

from streams.mqtt.publisher import MqttPublisher
from streams.settings import Settings
from tests.acceptance.conftest import Own
from tests.conftest import real
from tests.parts.commands import call
from tests.parts.eventually import eventually
from tests.parts.secure_profile import Profile
from tests.parts.worker import Ingest, Worker

MESSAGES = (b'{"value": 1, "dedupe_id": "a"}', b'{"value": 2, "dedupe_id": "a"}', b"no metric")
FENCE = "laravel_database_metric-streams:metrics:fence"
QUEUE = "laravel_database_queues:default"
SOME_TENANT = "00000000-0000-0000-0000-000000000000"
PATIENCE_S = 90.0


@pytest.fixture(scope="module")
def profile(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Profile]:
    """The servers, with all their users; what one test leaves hinders none of the others."""
    made = real(lambda: Profile(tmp_path_factory.mktemp("profile")))
    with ExitStack() as running:
        for part in made.parts:
            running.enter_context(part)
        made.kafka.make_users()
        setup = call("metric-streams", "setup", "--database", **made.settings("setup"))
        assert setup.returncode == 0, setup.stderr
        made.postgres.make_users()
        yield made


def known_to_kafka(profile: Profile, user: str) -> dict[str, Any]:
    """Return how a client of Kafka logs in."""
    return {
        "bootstrap_servers": f"{profile.kafka.host}:{profile.kafka.login_port}",
        "security_protocol": "SASL_SSL",
        "ssl_context": profile.redis.context(),
        "sasl_mechanism": "SCRAM-SHA-512",
        "sasl_plain_username": user,
        "sasl_plain_password": profile.secrets.of(f"kafka-{user}"),
    }


async def test_the_pipeline_and_the_commands_run_on_what_is_shipped(profile: Profile, own: Own) -> None:
    def run(*arguments: str) -> str:
        done = call("metric-streams", *arguments, **profile.settings("setup"))
        assert done.returncode == 0, f"{arguments}: {done.stdout}{done.stderr}"
        return done.stdout

    (tenant,) = json.loads(run("tenants", "add", "first", "--json"))
    worker = own(lambda: Worker(profile.settings("worker")))
    ingest = own(lambda: Ingest(profile.settings("ingest"), pages=True))
    (device,) = json.loads(run("provision", "add", tenant["id"], "edge-1", "--json"))
    address = profile.mosquitto.device(device["username"], device["password"])
    async with MqttPublisher(address) as publisher:
        for payload in MESSAGES:
            assert await publisher.publish(f"metrics/{tenant['id']}/edge-1/cpu", payload, 1)

    def landed() -> bool:
        return profile.postgres.execute("select value from metrics_raw", "metrics").split() == ["2"]

    await eventually(landed, PATIENCE_S, interval_s=0.3)
    assert worker.status("/health/ready") == 200
    assert ingest.status("/health/ready") == 200
    assert "edge-1" in run("rejected", "list")
    asked = profile.settings("setup") | {"WEB_PORT": str(worker.port), "INGEST_WEB_PORT": str(ingest.port)}
    doctor = json.loads(call("metric-streams", "doctor", "--json", **asked).stdout)
    assert [each for each in doctor["findings"] if each["state"] == "broken"] == []
    worker.stop()
    ingest.stop()
    for secret in (
        "kafka-metric-streams",
        "redis-worker",
        "postgres-worker",
        "web-token",
        "mqtt-bridge.password",
    ):
        assert profile.secrets.of(secret) not in worker.log_text() + ingest.log_text()


async def test_nobody_is_let_in_to_any_server_without_a_login_or_in_clear(profile: Profile) -> None:
    host = profile.kafka.host
    trusting = profile.redis.context()
    for options in (
        {"security_protocol": "PLAINTEXT"},
        {"security_protocol": "SSL", "ssl_context": trusting},
        {
            "security_protocol": "SASL_SSL",
            "ssl_context": trusting,
            "sasl_mechanism": "SCRAM-SHA-512",
            "sasl_plain_username": "metric-streams",
            "sasl_plain_password": "wrong",
        },
    ):
        admin = AIOKafkaAdminClient(
            bootstrap_servers=f"{host}:{profile.kafka.login_port}", request_timeout_ms=3_000, **options
        )
        with pytest.raises(KafkaError):
            await admin.start()
        await admin.close()

    ca = str(profile.secrets.path / "ca.pem")
    encrypted = f"@{host}:{profile.redis.port}/0?ssl_ca_certs={ca}"
    for user in (":", "default:", "worker:wrong"):
        redis = Redis.from_url(f"rediss://{user}{encrypted}")
        with pytest.raises(AuthenticationError):
            await redis.ping()
        await redis.aclose()
    clear = Redis.from_url(
        f"redis://worker:{profile.secrets.of('redis-worker')}@{host}:{profile.redis.port}/0"
    )
    with pytest.raises(RedisError):
        await clear.ping()
    await clear.aclose()

    place = f"{host}:{profile.postgres.port}/metrics"
    owner = profile.secrets.of("postgres-owner")
    for url, tls in (
        (f"postgresql://metrics:{owner}@{place}?sslmode=disable", None),
        (f"postgresql://metrics:wrong@{place}", trusting),
        (f"postgresql://metrics@{place}", trusting),
    ):
        with pytest.raises((asyncpg.PostgresError, OSError)):
            await asyncpg.connect(url, **({} if tls is None else {"ssl": tls}))

    for port in (profile.mosquitto.port, int(profile.mosquitto.url.rpartition(":")[2])):
        for options in ({"tls_context": trusting}, {"tls_context": None, "timeout": 3}):
            with pytest.raises(aiomqtt.MqttError):
                async with aiomqtt.Client(host, port, **options):
                    pass


class Telling(aiomqtt.Client):
    """Tells whether the broker had kept its session."""

    session_present = False

    def _on_connect(
        self, client: Any, userdata: Any, flags: Any, reason_code: Any, properties: Any = None
    ) -> None:
        self.session_present = bool(flags.session_present)
        super()._on_connect(client, userdata, flags, reason_code, properties)


async def test_the_bridges_password_takes_no_session_on_the_devices_port(profile: Profile) -> None:
    broker, client_id = profile.mosquitto, profile.secrets.of("mqtt-bridge.client-id")

    def as_bridge(port: int, *, clean: bool) -> Telling:
        return Telling(
            broker.host,
            port,
            identifier=client_id,
            username="bridge",
            password=broker.bridge_password,
            clean_session=clean,
            tls_context=profile.redis.context(),
        )

    inner = int(broker.url.rpartition(":")[2])
    async with as_bridge(inner, clean=False) as client:
        await client.subscribe("metrics/#", qos=1)
    async with as_bridge(broker.port, clean=True):
        pass
    async with as_bridge(inner, clean=False) as client:
        assert client.session_present
    async with as_bridge(inner, clean=True):
        pass
    async with as_bridge(inner, clean=False) as client:
        assert not client.session_present


@pytest.mark.parametrize(
    ("user", "may", "may_not"),
    [
        (
            "worker",
            ["LLEN", QUEUE],
            [
                ["PUBLISH", f"laravel_database_tenant.{SOME_TENANT}.metrics", "x"],
                ["GET", "laravel_database_cache"],
                ["ZADD", f"{QUEUE}:reserved", "1", "job"],
                ["LPUSH", "laravel_database_queues:mail", "job"],
                ["SUBSCRIBE", "laravel_database_tenant.x.metrics"],
            ],
        ),
        (
            "ingest",
            ["LLEN", QUEUE],
            [
                ["HSET", FENCE, "0", "1:1:1"],
                ["HMGET", FENCE, "0"],
                ["PUBLISH", "laravel_database_other", "x"],
                ["SUBSCRIBE", "laravel_database_tenant.x.metrics"],
            ],
        ),
        (
            "laravel",
            ["SET", "laravel_database_cache", "1"],
            [["SET", "others", "1"], ["PUBLISH", "others", "x"]],
        ),
    ],
)
async def test_each_user_of_redis_does_its_own_work_and_no_other(
    profile: Profile, user: str, may: list[str], may_not: list[list[str]]
) -> None:
    ca = profile.secrets.path / "ca.pem"
    known = f"{user}:{profile.secrets.of(f'redis-{user}')}@{profile.redis.host}:{profile.redis.port}"
    redis = Redis.from_url(f"rediss://{known}/0?ssl_ca_certs={ca}")
    await redis.execute_command(*may)
    everybody = [
        ["FLUSHALL"],
        ["CONFIG", "GET", "dir"],
        ["ACL", "LIST"],
        ["KEYS", "*"],
        ["SHUTDOWN"],
        ["DEBUG", "JMAP"],
    ]
    for command in (*may_not, *everybody):
        with pytest.raises((NoPermissionError, RedisError), match=r"(?i)no permission|not allowed"):
            await redis.execute_command(*command)
    await redis.aclose()


async def test_each_user_of_kafka_does_its_own_work_and_no_other(profile: Profile) -> None:
    admin = AIOKafkaAdminClient(**known_to_kafka(profile, "metric-streams"))
    await admin.start()
    refused = await admin.create_topics([NewTopic("others", 1, 1)])
    assert refused.topic_errors[0][1] == TopicAuthorizationFailedError.errno
    await admin.close()

    producer = AIOKafkaProducer(**known_to_kafka(profile, "console"), enable_idempotence=False)
    await producer.start()
    with pytest.raises(TopicAuthorizationFailedError):
        await producer.send_and_wait("metrics.raw", b"forged", partition=0)
    await producer.stop()
    consumer = AIOKafkaConsumer("metrics.raw", **known_to_kafka(profile, "console"))
    await consumer.start()
    assert consumer.partitions_for_topic("metrics.raw")
    await consumer.stop()


@pytest.mark.parametrize(
    ("user", "may_not"),
    [
        (
            "worker",
            [
                "select name from tenants",
                "select 1 from metrics_raw",
                "insert into tenants (id) values (null)",
            ],
        ),
        ("ingest", ["select name from tenants", "delete from metrics_raw", "select 1 from failed_jobs"]),
    ],
)
async def test_each_user_of_postgres_does_its_own_work_and_no_other(
    profile: Profile, user: str, may_not: list[str]
) -> None:
    settings = profile.settings(user)
    connection = await asyncpg.connect(Settings.from_mapping(settings).database_url.get_secret_value())
    await connection.fetch("select id from tenants")
    for statement in (
        *may_not,
        "create table mine (id int)",
        "create role other",
        "copy tenants to program 'id'",
    ):
        with pytest.raises(asyncpg.InsufficientPrivilegeError):
            await connection.execute(statement)
    await connection.close()


async def test_a_password_is_renewed_by_making_the_users_again(profile: Profile) -> None:
    old = profile.secrets.of("postgres-worker")
    for name in ("postgres-worker", "kafka-console"):
        place = profile.secrets.path / name
        place.chmod(0o600)
        place.write_text("renewed\n")
        place.chmod(0o444)
    profile.postgres.make_users()
    profile.kafka.make_users()
    place = f"{profile.postgres.host}:{profile.postgres.port}/metrics"
    with pytest.raises(asyncpg.InvalidPasswordError):
        await asyncpg.connect(
            f"postgresql://metric_streams_worker:{old}@{place}", ssl=profile.redis.context()
        )
    renewed = f"postgresql://metric_streams_worker:renewed@{place}"
    connection = await asyncpg.connect(renewed, ssl=profile.redis.context())
    await connection.close()
    admin = AIOKafkaAdminClient(**known_to_kafka(profile, "console"))
    await admin.start()
    await admin.close()


def test_what_init_writes_is_for_root_alone_and_never_written_over(profile: Profile) -> None:
    made = profile.secrets
    assert stat.S_IMODE(made.path.stat().st_mode) == 0o700
    before = {path: path.read_bytes() for path in made.path.iterdir()}
    assert all(stat.S_IMODE(path.stat().st_mode) == 0o444 for path in before)
    passwords = [
        made.of(name) for name in ("kafka-metric-streams", "redis-worker", "postgres-owner", "web-token")
    ]
    assert len(set(passwords)) == len(passwords)
    assert all(len(password) == 48 and password not in made.said for password in passwords)
    assert all(password not in made.of("redis-users") for password in passwords)
    with pytest.raises(Exception, match="is there already"):
        type(made)(made.directory)
    assert {path: path.read_bytes() for path in made.path.iterdir()} == before
    context = ssl.create_default_context(cafile=str(made.path / "ca.pem"))
    assert context.get_ca_certs()
