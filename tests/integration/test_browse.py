"""Reading topics for people, on a real Kafka: from a time or an offset, to the end or on and on."""

import asyncio
import itertools
from collections.abc import Callable, Sequence
from contextlib import aclosing
from typing import Any

import pytest
from aiokafka import AIOKafkaProducer, TopicPartition
from aiokafka.admin import AIOKafkaAdminClient, RecordsToDelete

from streams.browse import reader
from streams.browse.filters import Filter
from streams.browse.messages import Browsed, TopicKind
from streams.browse.reader import Range, follow_messages, opened, scan_messages
from streams.errors import MetricStreamsError, Outage
from streams.kafka.admin import ensure_topics
from streams.settings import Settings
from streams.wire import raw
from tests.parts.kafka import Kafka
from tests.parts.ports import free_port
from tests.parts.topics import eventually_stands

PARTITIONS = 3
RECEIVED = "2026-11-23T14:00:00.123456Z"


def settings_for(kafka: Kafka, unique: str) -> Settings:
    return Settings.from_mapping(
        {
            "BROKER_URL": kafka.url,
            "TOPIC_PREFIX": unique,
            "CONSUMER_GROUP": unique,
            "TOPIC_PARTITIONS": str(PARTITIONS),
        }
    )


@pytest.fixture
async def settings(kafka: Kafka, unique: str) -> Settings:
    made = settings_for(kafka, unique)
    await ensure_topics(made)
    await eventually_stands(kafka.bootstrap, made.raw_topic)
    return made


def chunk(agents: Sequence[str], payload: bytes = b'{"value": 1}') -> bytes:
    return raw.join([raw.encode_message(f"metrics/t/{agent}/cpu", payload, RECEIVED, 1) for agent in agents])


async def write(settings: Settings, *records: tuple[int, bytes]) -> list[int]:
    """Write records, each to its partition; return the broker's time of each."""
    producer = AIOKafkaProducer(
        bootstrap_servers=settings.bootstrap_servers, linger_ms=5, max_request_size=4 * 1024 * 1024
    )
    await producer.start()
    try:
        sent = [await producer.send(settings.raw_topic, value, partition=number) for number, value in records]
        return [(await each).timestamp for each in sent]
    finally:
        await producer.stop()


async def found(
    settings: Settings, wanted: Filter | None = None, span: Range = reader.EVERYTHING
) -> list[Browsed]:
    return [each async for each in scan_messages(settings, TopicKind.RAW, wanted or Filter(), span)]


def agents_of(messages: Sequence[Browsed]) -> list[str]:
    return sorted(each.names[1] for each in messages)


async def test_a_scan_of_empty_topics_ends_at_once(settings: Settings) -> None:
    assert await found(settings) == []


async def test_a_scan_finds_every_message_of_every_partition_once(settings: Settings) -> None:
    names = [f"a{number}" for number in range(60)]
    await write(settings, *[(number % PARTITIONS, chunk([name])) for number, name in enumerate(names)])
    assert agents_of(await found(settings)) == sorted(names)


async def test_a_scan_keeps_the_order_of_each_partition(settings: Settings) -> None:
    await write(settings, *[(number % PARTITIONS, chunk(["x", "y"])) for number in range(90)])
    places = [each.coordinate for each in await found(settings)]
    for _, of_one in itertools.groupby(sorted(places, key=lambda at: at.partition), lambda at: at.partition):
        offsets = [(at.offset, at.index) for at in of_one]
        assert offsets == sorted(offsets)  # type: ignore[type-var] # a message has an index


async def test_a_scan_ends_where_the_topic_ended_when_it_began(settings: Settings) -> None:
    await write(settings, (0, chunk(["old"])))
    async with opened(settings, [TopicKind.RAW]) as topics:
        await write(settings, (0, chunk(["new"])), (1, chunk(["new"])))
        assert [record.offset async for record in topics.scan()] == [0]


async def test_a_scan_tells_how_far_it_is(settings: Settings) -> None:
    await write(settings, *[(0, chunk(["x"]))] * 7)
    told: list[tuple[int, int]] = []
    wanted = Filter(agents=["nobody"])
    progress = scan_messages(
        settings, TopicKind.RAW, wanted, on_progress=lambda read, total: told.append((read, total))
    )
    assert [each async for each in progress] == []
    assert (told[0], told[-1]) == ((0, 7), (7, 7))


async def test_filters_choose_single_messages_of_a_chunk(settings: Settings) -> None:
    await write(settings, (0, chunk(["edge-1", "edge-2", "other"])), (1, chunk(["edge-3"])))
    assert agents_of(await found(settings, Filter(agents=["edge-*"]))) == ["edge-1", "edge-2", "edge-3"]


async def test_a_span_of_time_begins_and_ends_by_the_brokers_clock(settings: Settings) -> None:
    times: list[int] = []
    for name in ("a", "b", "c"):
        (at,) = await write(settings, (1, chunk([name])))
        while (now := (await write(settings, (2, chunk(["tick"]))))[0]) <= at:
            pass
        times += [at, now]
    only = {1}
    assert agents_of(await found(settings, span=Range(since_ms=times[2], only=only))) == ["b", "c"]
    assert agents_of(await found(settings, span=Range(until_ms=times[2], only=only))) == ["a"]
    middle = Range(since_ms=times[0] + 1, until_ms=times[4], only=only)
    assert agents_of(await found(settings, span=middle)) == ["b"]
    assert await found(settings, span=Range(since_ms=times[-1] + 60_000)) == []
    assert await found(settings, span=Range(until_ms=times[0])) == []


async def test_the_newest_records_are_the_last_of_each_partition(settings: Settings) -> None:
    await write(settings, *[(number % 2, chunk([f"a{number}"])) for number in range(10)])
    assert agents_of(await found(settings, span=Range(newest=2))) == ["a6", "a7", "a8", "a9"]
    assert await found(settings, span=Range(newest=0)) == []
    assert len(await found(settings, span=Range(newest=1_000))) == 10


async def test_what_was_deleted_is_left_out(settings: Settings) -> None:
    await write(settings, *[(0, chunk([f"a{number}"])) for number in range(5)])
    admin = AIOKafkaAdminClient(bootstrap_servers=settings.bootstrap_servers)
    await admin.start()
    await admin.delete_records({TopicPartition(settings.raw_topic, 0): RecordsToDelete(3)})
    await admin.close()
    assert agents_of(await found(settings)) == ["a3", "a4"]


async def test_records_that_are_larger_than_a_fetch_are_read_all_the_same(
    settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(reader, "PARTITION_BYTES", 1_024)
    large = chunk(["large"], b"x" * 60_000)
    await write(settings, (0, chunk(["a"])), (0, large), (0, chunk(["b"])))
    assert agents_of(await found(settings)) == ["a", "b", "large"]


async def test_following_begins_where_it_is_told_and_goes_on_with_what_comes(settings: Settings) -> None:
    await write(settings, (0, chunk(["old"])), (0, chunk(["last"])))
    seen: list[str] = []
    async with aclosing(follow_messages(settings, [TopicKind.RAW], Filter(), Range(newest=1))) as messages:
        async for message in messages:
            seen.append(message.names[1])
            if seen == ["last"]:
                await write(settings, (1, chunk(["new", "newer"])))
            if len(seen) == 3:
                break
    assert seen == ["last", "new", "newer"]


async def test_following_goes_on_after_an_outage_of_kafka(own: Callable[..., Any], unique: str) -> None:
    kafka = own(Kafka)
    settings = settings_for(kafka, unique)
    await ensure_topics(settings)
    await eventually_stands(kafka.bootstrap, settings.raw_topic)
    await write(settings, (0, chunk(["before"])))
    async with aclosing(follow_messages(settings, [TopicKind.RAW], Filter(), Range())) as messages:
        assert (await anext(messages)).names[1] == "before"
        kafka.kill()
        kafka.start()
        await write(settings, (0, chunk(["after"])))
        assert (await asyncio.wait_for(anext(messages), 60)).names[1] == "after"


async def test_two_topics_are_followed_together(settings: Settings) -> None:
    await write(settings, (0, chunk(["x"])))
    async with opened(settings, [TopicKind.RAW, TopicKind.REJECTED]) as topics:
        assert len(topics.ranges) == 2 * PARTITIONS
        assert [record.kind async for record in topics.scan()] == [TopicKind.RAW]


async def test_a_topic_that_does_not_exist_is_said_with_the_mend(kafka: Kafka, unique: str) -> None:
    with pytest.raises(MetricStreamsError, match=f"no topic {unique}.raw: metric-streams setup creates it"):
        await found(settings_for(kafka, unique))


async def test_an_outage_is_told(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(reader, "START_LIMIT_S", 2.0)
    away = settings.model_copy(update={"broker_url": f"kafka://127.0.0.1:{free_port()}"})
    with pytest.raises(Outage, match="kafka"):
        await found(away)


async def test_no_group_is_left_behind(settings: Settings) -> None:
    await write(settings, (0, chunk(["x"])))
    await found(settings)
    admin = AIOKafkaAdminClient(bootstrap_servers=settings.bootstrap_servers)
    await admin.start()
    groups: Sequence[tuple[Any, ...]] = await admin.list_consumer_groups()
    await admin.close()
    assert not [group for group, *_ in groups if "browse" in group]


async def test_a_scan_that_is_left_early_disconnects(settings: Settings) -> None:
    await write(settings, *[(0, chunk(["x"]))] * 3)
    async with aclosing(scan_messages(settings, TopicKind.RAW, Filter())) as stream:
        async for _ in stream:
            break
    names = {task.get_name() for task in asyncio.all_tasks()}
    assert not [name for name in names if "fetch" in name.lower()]
