"""`doctor` names what is broken, with its mend; readiness agrees, and an alert of ours fires."""

import asyncio
import json
import os
import subprocess
import sys
import time
import uuid
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from aiokafka.admin import AIOKafkaAdminClient, NewPartitions, NewTopic
from aiokafka.admin.config_resource import ConfigResource, ConfigResourceType
from redis.asyncio import Redis as RedisClient

from streams.doctor.checks import diagnose
from streams.doctor.finding import Finding, Severity
from streams.errors import Outage
from streams.mqtt.address import Address
from streams.mqtt.publisher import MqttPublisher
from streams.settings import Settings
from streams.tasks import ended
from streams.topics import TopicSpec, topic_specs
from tests.acceptance.conftest import Pipeline
from tests.conftest import real
from tests.parts.devices import connect_until_closed
from tests.parts.eventually import eventually
from tests.parts.ports import free_port
from tests.parts.postgres import Postgres
from tests.parts.process import Part
from tests.parts.prometheus import Prometheus
from tests.parts.redis import Redis
from tests.parts.variants import long
from tests.parts.worker import Ingest, Worker
from tests.parts.wrong_clock import WrongClock

REPOSITORY = Path(__file__).parents[2]
DOCTOR = (sys.executable, "-m", "metric_streams", "doctor")
LIMIT_S = 15.0
PATIENCE_S = 90.0
HOUR_S = 3_600
EVERY_S = 0.5


@dataclass
class Scene:
    """A pipeline with a worker, ingest, Prometheus, and a device that publishes twice a second."""

    pipeline: Pipeline
    worker: Worker
    ingest: Ingest
    redis: Redis
    prometheus: Prometheus

    @property
    def environment(self) -> dict[str, str]:
        return self.pipeline.environment | {"WEB_PORT": str(self.worker.port)}

    async def finds(self, **settings: str) -> list[Finding]:
        """Return what the doctor finds, in time."""
        began = time.monotonic()
        found = await diagnose(Settings.from_mapping(self.environment | settings), before_start=False)
        assert time.monotonic() - began < LIMIT_S
        return found

    async def names(
        self, part: str, *words: str, mend: str = "", state: Severity = Severity.BROKEN, **settings: str
    ) -> None:
        """Wait until the doctor has a line that says these words, and how it is mended."""
        shown: list[Finding] = []

        async def is_named() -> bool:
            shown[:] = [each for each in await self.finds(**settings) if each.state is not Severity.OK]
            lines = [each for each in shown if (each.part, each.state) == (part, state)]
            return any(all(w in each.seen for w in words) and mend in each.mend != "" for each in lines)

        try:
            await eventually(is_named, PATIENCE_S)
        except AssertionError:
            pytest.fail(f"no line of {part} says {words}: " + "\n".join(map(repr, shown)))

    async def fires(self, alert: str) -> None:
        """Wait until an alert fires; ``PartDown redis`` is that of a part."""
        await fires(self.prometheus, alert)

    async def is_well(self) -> None:
        """Wait until nothing is broken, and the worker is ready."""
        broken: list[Finding] = []

        async def look() -> bool:
            broken[:] = [each for each in await self.finds() if each.state is Severity.BROKEN]
            return not broken

        try:
            await eventually(look, PATIENCE_S)
        except AssertionError:
            pytest.fail("\n".join(map(repr, broken)))

    async def is_ready(self, *, expected: bool) -> None:
        """Wait until readiness says so."""
        wanted = 200 if expected else 503

        async def agrees() -> bool:
            return await asyncio.to_thread(self.worker.status, "/health/ready") == wanted

        await eventually(agrees, PATIENCE_S)


def run(environment: Mapping[str, str], *arguments: str) -> subprocess.CompletedProcess[str]:
    """Run the command."""
    return subprocess.run(
        [*DOCTOR, *arguments],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
        cwd=REPOSITORY,
        env={"PATH": os.environ["PATH"], "PYTHONPATH": str(REPOSITORY), **environment},
    )


async def fires(prometheus: Prometheus, alert: str) -> None:
    """Wait until an alert fires."""
    seen: set[str] = set()

    async def does() -> bool:
        seen.clear()
        seen.update(await asyncio.to_thread(prometheus.firing))
        return alert in seen

    try:
        await eventually(does, PATIENCE_S, interval_s=0.5)
    except AssertionError:
        pytest.fail(f"{alert} does not fire, but {sorted(seen)}")


@asynccontextmanager
async def publishing(url: str, topic: str) -> AsyncIterator[None]:
    """Publish twice a second, while the broker takes it."""

    async def keep_on() -> None:
        number = 0
        while True:
            with suppress(Outage):
                async with MqttPublisher(Address.parse(url)) as publisher:
                    while True:
                        number += 1
                        payload = json.dumps({"value": number, "dedupe_id": f"d-{number}"}).encode()
                        await publisher.publish(topic, payload, 1)
                        await pause(EVERY_S)
            await pause(EVERY_S)

    task = asyncio.create_task(keep_on())
    try:
        yield
    finally:
        await ended(task)


async def pause(seconds: float) -> None:
    with suppress(TimeoutError):
        await asyncio.wait_for(asyncio.Event().wait(), seconds)


@asynccontextmanager
async def kafka_admin(bootstrap: str) -> AsyncIterator[AIOKafkaAdminClient]:
    admin = AIOKafkaAdminClient(bootstrap_servers=bootstrap)
    await admin.start()
    try:
        yield admin
    finally:
        await admin.close()


async def configure(bootstrap: str, topic: TopicSpec, **changes: str) -> None:
    """Give a topic the configuration that it is to have, but for some changes."""
    configs = topic.configs | {name.replace("_", "."): value for name, value in changes.items()}
    async with kafka_admin(bootstrap) as admin:
        await admin.alter_configs([ConfigResource(ConfigResourceType.TOPIC, topic.name, configs)])


@pytest.fixture
async def scene(pipeline: Pipeline, own: Callable[[Callable[[], Part]], Any]) -> AsyncIterator[Scene]:
    redis: Redis = own(lambda: Redis(append_only=True))
    pipeline.environment["REDIS_URL"] = redis.url
    worker, ingest = pipeline.worker(), pipeline.ingest(pages=True)
    targets = {"metric-streams-worker": [worker.web_url], "metric-streams-ingest": [ingest.web_url]}
    prometheus: Prometheus = own(lambda: real(lambda: Prometheus(targets)))
    made = Scene(pipeline, worker, ingest, redis, prometheus)
    async with publishing(pipeline.environment["MQTT_URL"], f"metrics/{pipeline.tenants[0]}/edge-7/cpu"):
        await eventually(pipeline.rows)
        yield made


async def test_where_all_is_well_nothing_is_broken_and_the_command_says_so(scene: Scene) -> None:
    await scene.is_well()
    done = await asyncio.to_thread(run, scene.environment)
    assert (done.returncode, done.stderr) == (0, ""), done.stdout
    assert "partitions can be read" in done.stdout
    assert "the fence fits" in done.stdout
    parts = {line.split()[1] for line in done.stdout.splitlines()[:-1]}
    assert parts == {"mqtt", "kafka", "redis", "postgres", "queue", "worker", "clocks"}
    told = json.loads((await asyncio.to_thread(run, scene.environment, "--json")).stdout)
    assert told["well"] is True


@pytest.mark.parametrize("part", [long("mqtt"), "redis", long("kafka"), long("postgres")])
async def test_a_server_that_is_away_is_named(scene: Scene, postgres: Postgres, part: str) -> None:
    pipeline = scene.pipeline
    servers: dict[str, Part] = {
        "mqtt": pipeline.mosquitto,
        "redis": scene.redis,
        "kafka": pipeline.kafka,
        "postgres": postgres,
    }
    await asyncio.to_thread(servers[part].stop)
    await scene.names(part, mend="_URL say where it is")
    await scene.is_ready(expected=False)
    await scene.fires(f"PartDown {part}")
    await asyncio.to_thread(servers[part].start)
    await scene.is_ready(expected=True)
    await scene.is_well()


@pytest.mark.parametrize("part", [long("redis"), "mqtt"])
async def test_a_server_that_hangs_is_named_in_time(scene: Scene, part: str) -> None:
    server: Part = scene.redis if part == "redis" else scene.pipeline.mosquitto
    server.pause()
    await scene.names(part, mend="_URL say where it is")
    server.resume()


async def test_what_is_wrong_with_redis_and_the_queue_is_named(scene: Scene) -> None:
    async with RedisClient.from_url(scene.redis.url) as redis:
        await redis.config_set("maxmemory", "100mb")
        await redis.config_set("maxmemory-policy", "allkeys-lru")
        await scene.names("redis", "allkeys-lru", mend="noeviction")
        await scene.is_ready(expected=False)
        await scene.fires("PartDown redis")
        await redis.config_set("maxmemory-policy", "noeviction")
        await scene.is_ready(expected=True)

        await asyncio.to_thread(scene.ingest.stop)
        await scene.names("queue", "nobody works the queue default", mend="metric-streams ingest")
        await scene.is_ready(expected=True)  # the worker's own work goes on
        await scene.fires("QueueNotWorked")
        await asyncio.to_thread(scene.ingest.start)
        await scene.is_well()

        secret = uuid.uuid4().hex
        await redis.config_set("requirepass", secret)
        await redis.execute_command("AUTH", secret)
        await redis.execute_command("CLIENT", "KILL", "TYPE", "normal", "SKIPME", "yes")
        await scene.names("redis", "authenticated", mend="user and password")
        wrong = scene.redis.url.replace("redis://", f"redis://:not-{secret}@")
        await scene.names("redis", "invalid username-password", mend="user and password", REDIS_URL=wrong)
        await scene.is_ready(expected=False)
        await scene.fires("PartDown redis")
        done = await asyncio.to_thread(run, scene.environment | {"REDIS_URL": wrong})
        assert done.returncode == 1
        assert secret not in done.stdout + done.stderr


async def test_what_is_wrong_with_the_database_is_named(scene: Scene, postgres: Postgres) -> None:
    database_url = scene.pipeline.environment["DATABASE_URL"]
    name = database_url.rpartition("/")[2]
    ends = f"select pg_terminate_backend(pid) from pg_stat_activity where datname = '{name}'"  # noqa: S608 - a name of ours
    postgres.execute(f"alter database {name} set default_transaction_read_only = on")
    postgres.execute(ends)
    await scene.names("postgres", "read-only", mend="default_transaction_read_only")
    await scene.fires("PartDown postgres")
    await scene.is_ready(expected=True)  # the worker only reads there
    assert await asyncio.to_thread(scene.ingest.status, "/health/ready") == 503
    postgres.execute(f"alter database {name} reset default_transaction_read_only")
    postgres.execute(ends)

    stranger = str(uuid.uuid4())
    async with publishing(scene.pipeline.environment["MQTT_URL"], f"metrics/{stranger}/edge-9/cpu"):
        await scene.names("tenants", stranger, mend="tenants add", state=Severity.WARNING)
        await scene.fires("TenantUnknown")
    await scene.is_ready(expected=True)
    await scene.pipeline.query("insert into tenants (id, name) values ($1, 'late')", uuid.UUID(stranger))
    assert not [each for each in await scene.finds() if each.part == "tenants"]

    await scene.pipeline.query(
        "alter table metrics_raw drop constraint metrics_raw_tenant_id_dedupe_id_unique"
    )
    await scene.names("postgres", "no unique index", mend="create unique index")


async def test_what_is_wrong_with_kafka_is_named(scene: Scene) -> None:
    bootstrap = scene.pipeline.kafka.bootstrap
    settings = Settings.from_mapping(scene.environment)
    raw, unique_topic, rejected, changelog = topic_specs(settings)
    await scene.names("kafka", "4 partitions", "TOPIC_PARTITIONS=8", mend="Set TOPIC", TOPIC_PARTITIONS="8")

    await configure(bootstrap, changelog, cleanup_policy="delete")
    await scene.names("kafka", changelog.name, "must be compact", mend="kafka-configs")
    await scene.is_ready(expected=False)
    await scene.fires("PartDown kafka")
    await configure(bootstrap, changelog)
    await scene.is_ready(expected=True)
    await configure(bootstrap, unique_topic, retention_bytes="1000000")
    await scene.names("kafka", unique_topic.name, "retention.bytes", state=Severity.WARNING)

    async with kafka_admin(bootstrap) as admin:
        await admin.delete_topics([rejected.name])
    await scene.names("kafka", f"there is no topic {rejected.name}", mend="setup")
    await scene.is_ready(expected=False)
    await scene.fires("PartDown kafka")
    async with kafka_admin(bootstrap) as admin:
        await admin.create_topics([NewTopic(rejected.name, 4, 1, topic_configs=rejected.configs)])
        await scene.is_ready(expected=True)
        await admin.create_partitions({raw.name: NewPartitions(6)})
    await scene.names("kafka", f"{raw.name} has 6 partitions", mend="TOPIC_PARTITIONS")
    await scene.is_ready(expected=False)
    await scene.fires("PartDown kafka")


@pytest.mark.long
async def test_a_raw_topic_that_was_made_anew_is_named(scene: Scene) -> None:
    bootstrap = scene.pipeline.kafka.bootstrap
    spec = topic_specs(Settings.from_mapping(scene.environment))[0]
    await asyncio.to_thread(scene.worker.stop)
    async with kafka_admin(bootstrap) as admin:
        await admin.delete_topics([spec.name])

        async def is_gone() -> bool:
            return spec.name not in await admin.list_topics()

        await eventually(is_gone)
        await admin.create_topics([NewTopic(spec.name, spec.partitions, 1, topic_configs=spec.configs)])
    await scene.names("kafka", "is not the log any more", mend="last place")
    await scene.names("kafka", "no worker is in the group", mend="metric-streams worker")
    await scene.fires("NoWorker")
    await asyncio.to_thread(scene.worker.start)
    await scene.fires("PositionSetBack")
    await scene.is_well()  # the next message is of the new log


async def test_another_client_with_our_id_is_named(scene: Scene) -> None:
    client_id = "metric-streams"

    async def usurp() -> None:
        while True:
            await connect_until_closed(scene.pipeline.mosquitto, client_id=client_id)

    usurper = asyncio.create_task(usurp())
    try:
        await scene.names("worker", "another MQTT client", client_id, mend="Each deployment needs its own")
        await scene.is_ready(expected=False)
        await scene.fires("SessionTakenOver")
    finally:
        await ended(usurper)


@pytest.mark.long
async def test_a_filter_that_matches_nothing_is_named(
    scene: Scene, own: Callable[[Callable[[], Part]], Any]
) -> None:
    await scene.names(
        "mqtt", "nothing matched", "metrics/…", state=Severity.WARNING, MQTT_TOPIC_FILTER="sensors/#"
    )
    await asyncio.to_thread(scene.worker.stop)
    deaf = scene.pipeline.worker(MQTT_TOPIC_FILTER="sensors/#")
    prometheus: Prometheus = own(lambda: Prometheus({"metric-streams-worker": [deaf.web_url]}))
    await fires(prometheus, "NothingReceived")
    assert await asyncio.to_thread(deaf.status, "/health/ready") == 200  # it does what it was told to


@pytest.mark.long
async def test_a_clock_that_is_off_by_an_hour_is_named(
    scene: Scene, tmp_path: Path, own: Callable[[Callable[[], Part]], Any]
) -> None:
    clock = real(lambda: WrongClock(tmp_path))
    clock.set(HOUR_S)
    other: Worker = own(lambda: Worker(scene.pipeline.environment | clock.environment))
    await scene.names("clocks", "worker", "1:00:00 ahead", mend="NTP", WEB_PORT=str(other.port))
    done = await asyncio.to_thread(run, scene.environment | dict(clock.environment))
    assert done.returncode == 1
    assert "this machine is 1:00:00 ahead" in done.stdout
    prometheus: Prometheus = own(lambda: Prometheus({"metric-streams-worker": [other.web_url]}))
    await fires(prometheus, "ClockOff")


async def test_with_no_part_at_all_each_is_named_in_time() -> None:
    environment = {
        "BROKER_URL": f"kafka://127.0.0.1:{free_port()}",
        "MQTT_URL": f"mqtt://someone:hidden-word@127.0.0.1:{free_port()}",
        "REDIS_URL": f"redis://:hidden-word@127.0.0.1:{free_port()}/0",
        "DATABASE_URL": f"postgresql://someone:hidden-word@127.0.0.1:{free_port()}/x",
        "WEB_PORT": str(free_port()),
    }
    began = time.monotonic()
    await diagnose(Settings.from_mapping(environment), before_start=False)
    assert time.monotonic() - began < LIMIT_S
    done = await asyncio.to_thread(run, environment)
    assert (done.returncode, done.stderr) == (1, "")
    findings = done.stdout.splitlines()[:-1]
    broken = [line.split()[1] for line in findings if line.startswith("broken")]
    assert broken == ["mqtt", "kafka", "redis", "postgres"]
    assert all(" -> " in line for line in findings)
    assert "hidden-word" not in done.stdout
