"""Topics that are changed while a worker runs: told as long as it is so, and never raised into the worker."""

from collections.abc import Callable
from dataclasses import replace

import pytest

from streams.counters import Statistics
from streams.errors import Outage
from streams.kafka.topic_checks import Found
from streams.kafka.topics_watch import TopicsWatch
from streams.settings import Settings
from streams.topics import topic_specs

SETTINGS = Settings()


class Kafka:
    """What Kafka says of the topics; it begins as they must be."""

    def __init__(self) -> None:
        self.topics = {
            spec.name: Found(spec.partitions, spec.replication_factor, dict(spec.configs))
            for spec in topic_specs(SETTINGS)
        }
        self.is_away = False

    async def find(self, _: Settings) -> dict[str, Found]:
        if self.is_away:
            raise Outage("kafka", "away")
        return self.topics

    def change(self, name: str, **changes: object) -> None:
        self.topics[name] = replace(self.topics[name], **changes)


@pytest.fixture
def kafka() -> Kafka:
    return Kafka()


@pytest.fixture
def statistics() -> Statistics:
    made = Statistics()
    made.up("kafka", "the watch")
    return made


@pytest.fixture
def watch(kafka: Kafka, statistics: Statistics) -> TopicsWatch:
    return TopicsWatch(SETTINGS, statistics, kafka.find)


def more_partitions(kafka: Kafka) -> None:
    kafka.change(SETTINGS.raw_topic, partitions=99)


def no_compaction(kafka: Kafka) -> None:
    name = next(spec.name for spec in topic_specs(SETTINGS) if spec.configs["cleanup.policy"] == "compact")
    kafka.change(name, configs={**(kafka.topics[name].configs or {}), "cleanup.policy": "delete"})


def small_messages(kafka: Kafka) -> None:
    name = SETTINGS.unique_topic
    kafka.change(name, configs={**(kafka.topics[name].configs or {}), "max.message.bytes": "1000"})


CHANGES = {"has 99 partitions": more_partitions, "must be compact": no_compaction, "=1000": small_messages}


async def test_topics_as_they_must_be_say_nothing(watch: TopicsWatch, statistics: Statistics) -> None:
    await watch.look()
    await watch.check()
    assert statistics.parts["kafka"].up


@pytest.mark.parametrize("says", CHANGES)
async def test_what_is_unsafe_is_told_and_asked_for_until_it_is_mended(
    watch: TopicsWatch, kafka: Kafka, statistics: Statistics, says: str
) -> None:
    change: Callable[[Kafka], None] = CHANGES[says]
    change(kafka)
    await watch.look()
    with pytest.raises(Outage, match=says):
        await watch.check()
    assert not statistics.parts["kafka"].up
    assert says in statistics.parts["kafka"].detail
    kafka.topics = Kafka().topics
    await watch.look()
    await watch.check()
    assert statistics.parts["kafka"].up


async def test_while_kafka_is_away_what_was_seen_last_stands(watch: TopicsWatch, kafka: Kafka) -> None:
    kafka.is_away = True
    await watch.look()
    await watch.check()
    kafka.is_away = False
    more_partitions(kafka)
    await watch.look()
    kafka.is_away = True
    await watch.look()
    with pytest.raises(Outage, match="99 partitions"):
        await watch.check()


async def test_a_bug_of_its_own_does_not_reach_the_worker(
    watch: TopicsWatch, kafka: Kafka, caplog: pytest.LogCaptureFixture
) -> None:
    kafka.topics[SETTINGS.raw_topic] = None  # type: ignore[assignment]  # nothing that can be read
    await watch.looking.take_turn()
    assert "has a bug" in caplog.text


async def test_a_topic_that_is_missing_is_not_its_to_tell(watch: TopicsWatch, kafka: Kafka) -> None:
    del kafka.topics[SETTINGS.rejected_topic]
    await watch.look()
    await watch.check()
