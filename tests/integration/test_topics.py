"""The topics on a real Kafka: created as they must be, refused where they stand unsafe."""

import logging
from collections.abc import AsyncIterator, Mapping

import pytest
from aiokafka.admin import AIOKafkaAdminClient, NewTopic

from streams.errors import StartupRefused
from streams.kafka.admin import ensure_topics
from streams.settings import Settings
from streams.topics import MAX_RECORD_BYTES, operators_specs, topic_specs
from tests.parts.kafka import Kafka
from tests.parts.topics import eventually_stands

PARTITIONS = 2


@pytest.fixture
async def admin(kafka: Kafka) -> AsyncIterator[AIOKafkaAdminClient]:
    client = AIOKafkaAdminClient(bootstrap_servers=kafka.bootstrap)
    await client.start()
    yield client
    await client.close()


@pytest.fixture
def environment(kafka: Kafka, unique: str) -> dict[str, str]:
    return {
        "BROKER_URL": kafka.url,
        "TOPIC_PREFIX": unique,
        "CONSUMER_GROUP": unique,
        "TOPIC_PARTITIONS": str(PARTITIONS),
    }


async def _create(admin: AIOKafkaAdminClient, name: str, configs: Mapping[str, str]) -> None:
    large = {"max.message.bytes": str(MAX_RECORD_BYTES)}
    await admin.create_topics([NewTopic(name, PARTITIONS, 1, topic_configs=large | dict(configs))])


async def _ensured(environment: dict[str, str]) -> Settings:
    """Create the topics as they should be."""
    settings = Settings.from_mapping(environment)
    assert all(line.startswith("created") for line in await ensure_topics(settings))
    await eventually_stands(
        ",".join(settings.bootstrap_servers), *(spec.name for spec in topic_specs(settings))
    )
    return settings


async def test_what_was_created_is_found_fine_the_next_time(
    environment: dict[str, str], caplog: pytest.LogCaptureFixture
) -> None:
    settings = await _ensured(environment)
    with caplog.at_level(logging.WARNING, "streams.kafka.admin"):
        assert all(line.startswith("present") for line in await ensure_topics(settings))
    assert not caplog.records


async def test_every_unsafe_topic_is_named_at_once_and_nothing_is_created(
    kafka: Kafka, environment: dict[str, str], unique: str, admin: AIOKafkaAdminClient
) -> None:
    await _create(admin, f"{unique}.raw", {"cleanup.policy": "compact"})
    await _create(admin, f"{unique}.unique", {"max.message.bytes": "1000"})
    await _create(admin, f"{unique}-seen-changelog", {"cleanup.policy": "delete"})
    await eventually_stands(kafka.bootstrap, f"{unique}.raw", f"{unique}.unique", f"{unique}-seen-changelog")
    with pytest.raises(StartupRefused) as refused:
        await _ensured(environment)
    told = str(refused.value).splitlines()
    assert [line.split()[1] for line in told] == [
        f"{unique}.raw",
        f"{unique}.unique",
        f"{unique}-seen-changelog",
    ]
    assert f"{unique}.rejected" not in await admin.list_topics()


async def test_fewer_copies_than_configured_refuse_the_start(environment: dict[str, str]) -> None:
    await _ensured(environment)
    more = {"TOPIC_REPLICATION_FACTOR": "3", "TOPIC_MIN_INSYNC_REPLICAS": "2"}
    with pytest.raises(StartupRefused) as refused:
        await ensure_topics(Settings.from_mapping(environment | more))
    settings = Settings.from_mapping(environment)
    topics = [*topic_specs(settings), *operators_specs(settings)]
    assert len(str(refused.value).splitlines()) == 2 * len(topics)
    assert "TOPIC_REPLICATION_FACTOR=3" in str(refused.value)
    assert "--add-config min.insync.replicas=2" in str(refused.value)


async def test_another_retention_is_one_warning(
    environment: dict[str, str], caplog: pytest.LogCaptureFixture
) -> None:
    await _ensured(environment)
    with caplog.at_level(logging.WARNING, "streams.kafka.admin"):
        await ensure_topics(Settings.from_mapping(environment | {"RAW_RETENTION_S": "60"}))
    (warning,) = caplog.records
    assert "retention.ms" in warning.getMessage()
