"""What is held back because of a quota, on a real Kafka: read once, found again, and known to be the same."""

from collections.abc import Sequence
from contextlib import aclosing
from types import SimpleNamespace

import pytest
from aiokafka import AIOKafkaProducer
from aiokafka.admin import AIOKafkaAdminClient, NewTopic

from streams.errors import Outage
from streams.kafka.admin import ensure_topics
from streams.models import Origin, Reason, RejectedMessage, Stage
from streams.rejections import held as module
from streams.rejections.backlog import HeldBacklog, HeldRecord, NextMessages, Place
from streams.rejections.held import KafkaHeldMessages, LogChanged
from streams.rejections.listing import Rejected
from streams.rejections.marks import marking
from streams.rejections.pace import Pace
from streams.settings import Settings
from streams.wire import mark as mark_wire
from streams.wire import rejected
from streams.wire.mark import Fate
from tests.parts.eventually import eventually
from tests.parts.kafka import Kafka
from tests.parts.topics import eventually_stands, read_topic

PARTITIONS = 2
PLENTY = 10**9


@pytest.fixture
async def settings(kafka: Kafka, unique: str) -> Settings:
    made = Settings.from_mapping(
        {
            "BROKER_URL": kafka.url,
            "TOPIC_PREFIX": unique,
            "CONSUMER_GROUP": unique,
            "TOPIC_PARTITIONS": str(PARTITIONS),
        }
    )
    await ensure_topics(made)
    await eventually_stands(kafka.bootstrap, made.rejected_topic, made.marks_topic, made.raw_topic)
    return made


@pytest.fixture
def held(settings: Settings) -> KafkaHeldMessages:
    return KafkaHeldMessages(settings, Pace())


def record(offset: int, payloads: Sequence[str], reason: Reason = Reason.QUOTA_EXCEEDED) -> bytes:
    """Return a record of metrics.rejected about the chunk at an offset of metrics.raw."""
    messages = [
        RejectedMessage(index, "metrics/A/edge/cpu", payload) for index, payload in enumerate(payloads)
    ]
    return rejected.encode(Origin(0, offset), Stage.QUOTA, reason, messages)


async def write(settings: Settings, *values: bytes, partition: int = 0) -> None:
    producer = AIOKafkaProducer(bootstrap_servers=settings.bootstrap_servers)
    await producer.start()
    try:
        for value in values:
            await producer.send_and_wait(settings.rejected_topic, value, partition=partition)
    finally:
        await producer.stop()


async def read(held: KafkaHeldMessages) -> list[HeldRecord]:
    async with aclosing(held.read()) as records:
        return [each async for each in records]


def chosen(records: Sequence[HeldRecord]) -> list[NextMessages]:
    backlog = HeldBacklog(most_of_one=PLENTY, most_bytes_of_one=PLENTY)
    for each in records:
        backlog.add(each)
    most = {"most_messages": PLENTY, "most_bytes": PLENTY, "most_chosen": PLENTY}
    return list(backlog.choose(lambda *_: True, **most))


async def payloads(held: KafkaHeldMessages, records: Sequence[HeldRecord]) -> list[str | None]:
    return [one.body.payload for found in await held.fetch(chosen(records)) for one in found]


async def mark(settings: Settings, *messages: Rejected) -> None:
    async with marking(settings) as marker:
        await marker.write(Fate.DISMISSED, [each.message for each in messages])


async def test_each_record_is_read_once_and_its_messages_are_found_again(
    settings: Settings, held: KafkaHeldMessages
) -> None:
    assert await read(held) == []
    await write(settings, record(1, ["x", "yé"]), b"not ours", record(2, ["z"], Reason.TENANT_UNKNOWN))
    await write(settings, record(3, ["w"]), partition=1)
    first = await read(held)
    assert sorted((each.partition, each.offset, len(each.messages)) for each in first) == [
        (0, 0, 2),
        (1, 0, 1),
    ]
    sizes = {message.size_bytes for each in first for message in each.messages}
    assert (sizes, {message.tenant for each in first for message in each.messages}) == ({1, 3}, {"a"})
    assert await read(held) == []
    await write(settings, record(4, ["v"]))
    second = await read(held)
    assert [each.offset for each in second] == [3]
    assert sorted(str(each) for each in await payloads(held, [*first, *second])) == ["v", "w", "x", "yé"]


async def test_what_was_marked_before_and_what_is_marked_meanwhile_is_left_out(
    settings: Settings, held: KafkaHeldMessages
) -> None:
    await write(settings, record(1, ["a", "b", "c"]))
    [found] = await held.fetch(chosen(await read(held)))
    await mark(settings, found[0])
    held.begin(0)
    again = await read(held)
    assert [message.number for message in again[0].messages] == [1, 2]
    await mark(settings, found[2])
    assert await payloads(held, again) == ["b"]
    held.forget(PLENTY * 10_000)
    assert await payloads(held, again) == ["b", "c"]


async def test_the_messages_of_many_tenants_in_the_same_records_are_each_ones_own(
    settings: Settings, held: KafkaHeldMessages
) -> None:
    for offset in range(3):
        messages = [
            RejectedMessage(index, f"metrics/t{index % 7}/edge/cpu", f"{offset}-{index}")
            for index in range(50)
        ]
        await write(
            settings, rejected.encode(Origin(0, offset), Stage.QUOTA, Reason.QUOTA_EXCEEDED, messages)
        )
    wanted = chosen(await read(held))
    assert len(wanted) == 21
    for each, found in zip(wanted, await held.fetch(wanted), strict=True):
        of_one = range(int(each.tenant[1:]), 50, 7)
        assert [one.body.payload for one in found] == [f"{each.place.offset}-{index}" for index in of_one]


async def test_of_a_record_nothing_is_kept_but_the_messages_that_are_next(
    settings: Settings, held: KafkaHeldMessages
) -> None:
    await write(settings, record(1, ["x" * 1_000] * 50))
    [next_messages] = chosen(await read(held))
    [[one]] = await held.fetch([next_messages._replace(numbers=[7])])
    assert (one.body.index, one.message.record.value, one.first.index) == (7, b"", 7)


async def test_a_topic_counts_for_what_is_too_long_of_it(settings: Settings, held: KafkaHeldMessages) -> None:
    long = RejectedMessage(0, "metrics/a/" + "b" * 60_000, "x")
    await write(settings, rejected.encode(Origin(0, 1), Stage.QUOTA, Reason.QUOTA_EXCEEDED, [long]))
    [found] = await read(held)
    assert found.messages[0].size_bytes > 59_000


async def test_marks_that_were_read_before_an_outage_are_not_read_again(
    settings: Settings, held: KafkaHeldMessages, monkeypatch: pytest.MonkeyPatch
) -> None:
    await write(settings, record(1, ["a", "b", "c"]))
    [found] = await held.fetch(chosen(await read(held)))
    await mark(settings, *found)
    decoded: list[bytes] = []

    def decode(value: bytes) -> tuple[Fate, int]:
        decoded.append(value)
        if len(decoded) == 2:
            raise Outage("kafka", "away")
        return mark_wire.decode(value)

    fresh = KafkaHeldMessages(settings, Pace())
    monkeypatch.setattr(module, "mark_wire", SimpleNamespace(decode=decode))
    with pytest.raises(Outage):
        await read(fresh)
    assert await read(fresh) == []
    assert len(decoded) == 4  # each once, and that of the outage twice


async def test_what_refine_emitted_twice_is_one_rejection(
    settings: Settings, held: KafkaHeldMessages
) -> None:
    await write(settings, record(1, ["a"]), record(1, ["a"]), record(2, ["a"]))
    assert [each.offset for each in await read(held)] == [0, 2]


async def test_it_begins_with_what_is_young_enough_by_the_broker(
    settings: Settings, held: KafkaHeldMessages
) -> None:
    assert await held.broker_ms() == 0
    await write(settings, record(1, ["a"]))
    newest_ms = await held.broker_ms()
    held.begin(newest_ms + 1)
    assert await read(held) == []
    held.begin(newest_ms)
    assert len(await read(held)) == 1


@pytest.mark.parametrize("grown", [0, 1, 3])
async def test_a_topic_made_anew_is_told_from_the_one_that_was_read(
    grown: int, settings: Settings, held: KafkaHeldMessages, kafka: Kafka
) -> None:
    await write(settings, record(1, ["a"]), record(2, ["b"]))
    before = await read(held)
    await make_anew(settings, kafka)
    await write(settings, *[record(1, [f"new {number}"]) for number in range(grown)])
    with pytest.raises(LogChanged):
        await read(held)
    with pytest.raises(LogChanged):
        await held.fetch(chosen(before))
    held.begin(0)
    assert len(await read(held)) == grown


async def make_anew(settings: Settings, kafka: Kafka) -> None:
    admin = AIOKafkaAdminClient(bootstrap_servers=kafka.bootstrap)
    await admin.start()
    topic = settings.rejected_topic

    async def is_gone() -> bool:
        return topic not in await admin.list_topics()

    try:
        await admin.delete_topics([topic])
        await eventually(is_gone)
        await admin.create_topics([NewTopic(topic, PARTITIONS, 1)])
        await eventually_stands(kafka.bootstrap, topic)
    finally:
        await admin.close()
    assert await read_topic(kafka.bootstrap, topic) == []


async def test_a_record_that_retention_took_is_no_longer_the_one_that_was_read(
    settings: Settings, held: KafkaHeldMessages
) -> None:
    await write(settings, record(1, ["a"]))
    with pytest.raises(LogChanged):
        await held.fetch([NextMessages("a", Place(0, 7, 1), [0])])
