"""The watch on a real Kafka: where logs end, that it is away, and that it is back."""

from collections.abc import AsyncIterator

import pytest
from aiokafka import AIOKafkaProducer
from aiokafka.admin import AIOKafkaAdminClient
from faust.types import TP

from streams.counters import Statistics
from streams.errors import Outage
from streams.kafka.admin import ensure_topics
from streams.kafka.broker_monitor import BrokerMonitor, KafkaEnds
from streams.settings import Settings
from tests.parts.eventually import eventually
from tests.parts.kafka import Kafka
from tests.parts.variants import long

NOTICED_WITHIN_S = 10.0
SLOW_MACHINE_S = 10.0


@pytest.fixture
async def settings(kafka: Kafka, unique: str) -> Settings:
    made = Settings.from_mapping(
        {"BROKER_URL": kafka.url, "TOPIC_PREFIX": unique, "CONSUMER_GROUP": unique, "TOPIC_PARTITIONS": "2"}
    )
    await ensure_topics(made)
    return made


@pytest.fixture
async def watch(settings: Settings) -> AsyncIterator[BrokerMonitor]:
    held = [TP(settings.raw_topic, 0), TP(settings.unique_topic, 1)]
    made = BrokerMonitor(Statistics(), lambda: held, KafkaEnds(settings))
    await made.start()
    await eventually(lambda: made.outage is None)
    yield made
    await made.stop()


async def test_the_end_is_where_the_log_really_ends(
    kafka: Kafka, settings: Settings, watch: BrokerMonitor
) -> None:
    assert watch.end(TP(settings.raw_topic, 0)) == 0
    async with AIOKafkaProducer(bootstrap_servers=kafka.bootstrap) as producer:
        for _ in range(3):
            await producer.send_and_wait(settings.raw_topic, b"one", partition=0)
    await eventually(lambda: watch.end(TP(settings.raw_topic, 0)) == 3)
    assert watch.end(TP(settings.unique_topic, 1)) == 0
    assert watch.end(TP(settings.raw_topic, 1)) is None


@pytest.mark.parametrize("how", ["pause", long("kill")])
async def test_a_kafka_that_goes_away_is_noticed_within_ten_seconds_and_so_is_its_return(
    kafka: Kafka, watch: BrokerMonitor, how: str
) -> None:
    getattr(kafka, how)()

    async def is_away() -> bool:
        try:
            await watch.check()
        except Outage:
            return True
        return False

    await eventually(is_away, NOTICED_WITHIN_S + SLOW_MACHINE_S)
    kafka.heal()
    await eventually(lambda: watch.outage is None, timeout_s=30)
    await watch.check()


async def test_a_topic_that_is_gone_is_said(kafka: Kafka, settings: Settings, watch: BrokerMonitor) -> None:
    admin = AIOKafkaAdminClient(bootstrap_servers=kafka.bootstrap)
    await admin.start()
    try:
        await admin.delete_topics([settings.rejected_topic])
    finally:
        await admin.close()
    await eventually(lambda: watch.outage is not None, timeout_s=20)
    assert f"there is no topic {settings.rejected_topic}" in str(watch.outage)
