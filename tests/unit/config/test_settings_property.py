"""Any environment gives settings that every client can be made of, or one line for each of its faults."""

import asyncio
import inspect
import re
from typing import Any

import aiomqtt
import mqtt5
import pytest
from aiokafka.conn import collect_hosts
from asyncpg import connect_utils
from faust.transport.drivers.aiokafka import server_list
from hypothesis import given, settings

from streams.application import build
from streams.config.urls import shown_url
from streams.counters import Statistics
from streams.errors import SettingsError
from streams.ingress.chunk_writer import KafkaChunkWriter
from streams.laravel.redis_client import connect
from streams.mqtt.address import Address
from streams.mqtt.aiomqtt_transport import AiomqttTransport
from streams.mqtt.mqtt5_transport import Mqtt5Transport
from streams.mqtt.select_transport import transport_of
from streams.mqtt.transport import MqttSession
from streams.settings import Settings
from streams.topics import topic_specs
from tests.unit.config.environments import MARK, environments

KAFKA_NAME = re.compile(r"[A-Za-z0-9._-]{1,249}")
"""What Kafka takes for a topic (org.apache.kafka.common.internals.Topic)."""
REGULAR_EXPRESSION = re.compile(r"\^\[|\\w|\[\^|\)\*")


@settings(max_examples=300, deadline=None)
@given(environments())
def test_any_environment_builds_every_client_or_is_refused_in_lines(environment: dict[str, str]) -> None:
    try:
        built = Settings.from_mapping(environment)
    except SettingsError as error:
        _says_what_is_wrong(error, environment)
    else:
        asyncio.run(_builds_every_client(built))


def _says_what_is_wrong(error: SettingsError, environment: dict[str, str]) -> None:
    assert error.problems
    assert MARK not in str(error)
    for line in error.problems:
        assert len(line.splitlines()) == 1
        assert len(line) < 300
        assert line.isprintable()
        assert not REGULAR_EXPRESSION.search(line), line
        assert any(name in line for name in environment), line
    assert len(set(error.problems)) == len(error.problems)


async def _builds_every_client(built: Settings) -> None:
    app = build(built)
    assert server_list(app.conf.broker_consumer, 9092) == built.bootstrap_servers
    assert app.conf.web_port == built.web_port
    assert len(collect_hosts(built.bootstrap_servers)) == len(built.bootstrap_servers)
    assert MARK not in f"{shown_url(built.broker_url)}{Address.parse(built.mqtt_url.get_secret_value())}"
    KafkaChunkWriter(built)
    for spec in topic_specs(built):
        assert KAFKA_NAME.fullmatch(spec.name)
        assert int(spec.configs.get("retention.ms", "1")) > 0
    redis = connect(built.redis_url.get_secret_value())
    assert redis.connection_pool.make_connection()
    _reads_the_database_url(built.database_url.get_secret_value())
    _speaks_mqtt(built)


def _reads_the_database_url(url: str) -> None:
    parse: Any = vars(connect_utils)["_parse_connect_arguments"]
    arguments = dict.fromkeys(inspect.signature(parse).parameters)
    sizes = dict.fromkeys((name for name in arguments if name.endswith(("size", "lifetime"))), 100)
    addresses, *_ = parse(**arguments | sizes | {"dsn": url})
    assert all(isinstance(address, str) or 0 < address[1] < 2**16 for address in addresses)


def _speaks_mqtt(built: Settings) -> None:
    assert transport_of(built, Statistics(), "host")
    assert Mqtt5Transport(built, Statistics(), "host")._connect_packet()
    for version in (aiomqtt.ProtocolVersion.V5, aiomqtt.ProtocolVersion.V311):
        assert aiomqtt.Client(**AiomqttTransport(built, Statistics(), "host")._options(version))
    session = MqttSession.of(built, "host")
    assert mqtt5.SubscribePacket(1, [mqtt5.TopicFilter(session.subscription)]).write()
    assert mqtt5.PublishPacket(session.status_topic, payload=b"online").write()
    group = built.mqtt_share_group
    levels = session.subscription.split("/")[2 if group else 0 :]
    assert "/".join(levels) == built.mqtt_topic_filter
    assert all(level in ("#", "+") or not {"#", "+"} & set(level) for level in levels)
    assert not {"#", "+"} & set(session.status_topic)


@pytest.mark.parametrize(
    "name", ["PRODUCER_ACKS", "BROKER_CONSUMER_URL", "STREAM_BUFFER_MAXSIZE", "WEB_TRANSPORT"]
)
def test_the_environment_does_not_reach_past_the_settings_into_faust(
    name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    usual = build(Settings.from_mapping({}))
    monkeypatch.setenv(
        name, {"PRODUCER_ACKS": "0", "STREAM_BUFFER_MAXSIZE": "1"}.get(name, "kafka://elsewhere")
    )
    app = build(Settings.from_mapping({}))
    assert getattr(app.conf, name.lower().removesuffix("_url")) == getattr(
        usual.conf, name.lower().removesuffix("_url")
    )
