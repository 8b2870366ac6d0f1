"""The parts that other tests lean on behave as they say."""

import shutil
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import asyncpg
import pytest
from aiokafka import AIOKafkaConsumer, AIOKafkaProducer, TopicPartition
from aiokafka.admin import AIOKafkaAdminClient, NewTopic
from redis import Redis as RedisClient
from redis.exceptions import ConnectionError as RedisConnectionError
from redis.exceptions import TimeoutError as RedisTimeoutError

from tests.parts.eventually import eventually, eventually_sync
from tests.parts.kafka import Kafka
from tests.parts.mariadb import MariaDb
from tests.parts.php import Php, PhpScript
from tests.parts.ports import accepts
from tests.parts.postgres import Postgres
from tests.parts.process import PartFailedError, find_program
from tests.parts.redis import Redis

REPOSITORY = Path(__file__).parents[2]


async def test_eventually_returns_the_first_true_value_of_either_kind_of_condition() -> None:
    values = iter(["", "", "here"])

    async def asked() -> str:
        return next(values)

    assert await eventually(asked) == "here"
    assert eventually_sync(lambda: [1]) == [1]


async def test_eventually_says_what_it_saw_last() -> None:
    with pytest.raises(AssertionError, match=r"within 0\.05 s; last seen: \[\]"):
        await eventually(list, 0.05)


async def test_kafka_keeps_its_records_over_a_kill(kafka: Kafka, unique: str) -> None:
    await _create_topic(kafka, unique)
    await _send(kafka, unique, b"before")
    kafka.kill()
    assert not accepts(kafka.host, kafka.port)
    kafka.start()
    await _send(kafka, unique, b"after")
    assert await _read(kafka, unique, 2) == [b"before", b"after"]


async def test_kafka_creates_no_topic_by_itself(kafka: Kafka, unique: str) -> None:
    async with _admin(kafka) as admin:
        await admin.list_topics()
        assert unique not in await admin.list_topics()


def test_redis_with_append_only_keeps_everything_over_a_kill(redis_server: Redis, redis_url: str) -> None:
    with RedisClient.from_url(redis_url) as client:
        client.set("key", "value")
        redis_server.kill()
        with pytest.raises(RedisConnectionError):
            client.get("key")
        redis_server.start()
        assert client.get("key") == b"value"


def test_redis_urls_share_nothing(redis_server: Redis, redis_url: str) -> None:
    with (
        RedisClient.from_url(redis_url) as one,
        RedisClient.from_url(redis_server.new_database_url()) as other,
    ):
        one.set("key", "value")
        assert other.get("key") is None


def test_a_paused_part_hangs_until_it_goes_on(redis_server: Redis, redis_url: str) -> None:
    with RedisClient.from_url(redis_url, socket_timeout=0.2) as client:
        client.ping()
        redis_server.pause()
        with pytest.raises(RedisTimeoutError):
            client.ping()
        redis_server.resume()
        assert eventually_sync(client.ping)


async def test_a_database_of_its_own_is_empty_and_survives_a_restart(
    postgres: Postgres, database_url: str
) -> None:
    connection = await asyncpg.connect(database_url)
    tables = "select count(*) from pg_tables where schemaname = 'public'"
    assert await connection.fetchval(tables) == 0
    await connection.execute("create table kept (id int)")
    await connection.close()
    postgres.restart()
    connection = await asyncpg.connect(database_url)
    assert await connection.fetchval(tables) == 1
    await connection.close()


async def test_a_paused_postgres_answers_nobody(postgres: Postgres, database_url: str) -> None:
    connection = await asyncpg.connect(database_url)
    postgres.pause()
    with pytest.raises(TimeoutError):
        await connection.fetchval("select 1", timeout=0.2)
    postgres.resume()
    connection.terminate()
    assert postgres.execute("select 1") == "1"


def test_a_mariadb_is_strict_and_its_databases_survive_a_restart(mariadb: MariaDb, unique: str) -> None:
    assert "STRICT_TRANS_TABLES" in mariadb.execute("select @@sql_mode")
    with mariadb.new_database(unique) as name:
        assert mariadb.execute("show tables", name) == ""
        mariadb.execute("create table kept (text varchar(10)) as select '\U0001f321' as text", name)
        mariadb.restart()
        assert mariadb.execute("select text from kept", name) == "\U0001f321"
    assert unique not in mariadb.execute("show databases").split()


def test_php_has_the_queue_of_laravel(php: Php) -> None:
    code = r"require 'Illuminate/Queue/autoload.php'; var_dump(class_exists('Illuminate\Queue\Worker'));"
    assert php.evaluate(code) == "bool(true)\n"


def test_php_says_what_went_wrong(php: Php) -> None:
    with pytest.raises(AssertionError, match="exited 3"):
        php.evaluate("exit(3);")


def test_a_php_script_answers_line_by_line_and_says_what_went_wrong(php: Php, tmp_path: Path) -> None:
    path = tmp_path / "twice.php"
    path.write_text(
        "<?php while ($l = fgets(STDIN)) { [$n] = json_decode($l); echo intdiv(8, $n), PHP_EOL; }"
    )
    script = PhpScript(php, path, {})
    script.send(2)
    assert script.answer() == 4
    script.send(0)
    with pytest.raises(AssertionError, match="Division by zero"):
        script.answer()
    script.close()


def test_a_part_that_cannot_start_shows_the_end_of_its_log(own: Callable[..., Redis]) -> None:
    with pytest.raises(PartFailedError, match=r"ended while starting[\s\S]*Bad directive"):
        own(lambda: Redis(options={"no-such-option": "1"}))


def test_a_stopped_part_leaves_no_directory(own: Callable[..., Redis]) -> None:
    part = own(Redis)
    with part:
        assert part.is_ready()
    assert not part.directory.exists()
    assert not part.is_running


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux lets a child die with its parent")
def test_parts_die_with_the_tests_that_were_killed(redis_server: Redis) -> None:
    find_program("setpriv", package="util-linux")  # lets them
    code = (
        "import os, signal\n"
        "from tests.parts.redis import Redis\n"
        "part = Redis()\n"
        "part.start()\n"
        "print(part.port, part.directory, flush=True)\n"
        "os.kill(os.getpid(), signal.SIGKILL)\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=False, cwd=REPOSITORY
    )
    port, directory = done.stdout.split()
    eventually_sync(lambda: not accepts("127.0.0.1", int(port)))
    shutil.rmtree(directory)
    assert redis_server.is_ready()


def test_a_part_is_started_within_its_time(redis_server: Redis) -> None:
    began = time.monotonic()
    redis_server.restart()
    assert time.monotonic() - began < redis_server.start_timeout_s


class _admin:  # noqa: N801 - read as a function
    """An admin client as a context manager, which aiokafka's own is not."""

    def __init__(self, kafka: Kafka) -> None:
        self._client = AIOKafkaAdminClient(bootstrap_servers=kafka.bootstrap)

    async def __aenter__(self) -> AIOKafkaAdminClient:
        await self._client.start()
        return self._client

    async def __aexit__(self, *_: object) -> None:
        await self._client.close()


async def _create_topic(kafka: Kafka, name: str) -> None:
    async with _admin(kafka) as admin:
        await admin.create_topics([NewTopic(name, num_partitions=1, replication_factor=1)])


async def _send(kafka: Kafka, topic: str, value: bytes) -> None:
    async with AIOKafkaProducer(bootstrap_servers=kafka.bootstrap, acks="all") as producer:
        await producer.send_and_wait(topic, value)


async def _read(kafka: Kafka, topic: str, count: int) -> list[bytes]:
    async with AIOKafkaConsumer(bootstrap_servers=kafka.bootstrap, auto_offset_reset="earliest") as consumer:
        consumer.assign([TopicPartition(topic, 0)])
        return [(await consumer.getone()).value for _ in range(count)]
