"""Reading single records of a log: one contract for a real Kafka and for the fake beside it."""

from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass

import pytest
from aiokafka import AIOKafkaProducer, TopicPartition
from aiokafka.admin import AIOKafkaAdminClient, NewTopic, RecordsToDelete
from faust.types import TP

from streams.errors import Outage
from streams.kafka import log_reader
from streams.kafka.log_reader import FakeLogReader, KafkaLogReader, LogReader, LogRecord, still_there
from streams.kafka.positions import LogRange
from streams.settings import Settings
from tests.parts.kafka import Kafka
from tests.parts.topics import eventually_stands

PARTITION = 1
START_MS = 1_795_442_400_000
"""The first record's time; each later one is a second younger."""
MANY = 1_000


@dataclass
class Subject:
    """A reader of a log, and how a test changes the log."""

    reader: LogReader
    tp: TP
    write: Callable[[list[bytes]], Awaitable[None]]
    cut: Callable[[int], Awaitable[None]]
    """Removes what lies before an offset, as retention or an operator does."""


def written(offset: int, value: bytes) -> LogRecord:
    return LogRecord(offset, value, {"seq": b"%d" % offset}, START_MS + 1_000 * offset)


@pytest.fixture(params=["fake", "kafka"])
async def subject(request: pytest.FixtureRequest, unique: str) -> AsyncIterator[Subject]:
    tp = TP(f"{unique}.raw", PARTITION)
    if request.param == "fake":
        yield _fake_subject(tp)
        return
    kafka: Kafka = request.getfixturevalue("kafka")
    admin = AIOKafkaAdminClient(bootstrap_servers=kafka.bootstrap)
    producer = AIOKafkaProducer(bootstrap_servers=kafka.bootstrap, linger_ms=5)
    reader = _reader(kafka)
    await admin.start()
    await producer.start()
    await admin.create_topics([NewTopic(tp.topic, PARTITION + 1, 1)])
    await eventually_stands(kafka.bootstrap, tp.topic)
    ends = [0]

    async def write(values: list[bytes]) -> None:
        sent = []
        for value in values:
            _, _, headers, timestamp_ms = written(ends[0], value)
            sent.append(
                await producer.send(
                    tp.topic,
                    value,
                    partition=PARTITION,
                    headers=list(headers.items()),
                    timestamp_ms=timestamp_ms,
                )
            )
            ends[0] += 1
        for each in sent:
            await each

    async def cut(start: int) -> None:
        await admin.delete_records({TopicPartition(*tp): RecordsToDelete(start)})

    yield Subject(reader, tp, write, cut)
    await reader.stop()
    await producer.stop()
    await admin.close()


def _reader(kafka: Kafka) -> KafkaLogReader:
    return KafkaLogReader(Settings.from_mapping({"BROKER_URL": kafka.url}))


def _fake_subject(tp: TP) -> Subject:
    records: list[LogRecord] = []
    reader = FakeLogReader(lambda asked: records if asked == tp else [])

    async def write(values: list[bytes]) -> None:
        for value in values:
            records.append(written(len(records), value))

    async def cut(start: int) -> None:
        reader.starts[tp] = start

    return Subject(reader, tp, write, cut)


async def test_an_empty_log_holds_nothing(subject: Subject) -> None:
    assert await subject.reader.range(subject.tp) == LogRange(0, 0)
    assert list(await subject.reader.read(subject.tp, 0, 10)) == []
    assert await subject.reader.offset_at(subject.tp, START_MS) is None


async def test_records_come_as_they_were_written(subject: Subject) -> None:
    await subject.write([b"a", b"b", b"c"])
    assert await subject.reader.range(subject.tp) == LogRange(0, 3)
    assert list(await subject.reader.read(subject.tp, 1)) == [written(1, b"b")]
    assert list(await subject.reader.read(subject.tp, 0, 2)) == [written(0, b"a"), written(1, b"b")]


async def test_at_and_beyond_the_end_there_is_nothing(subject: Subject) -> None:
    await subject.write([b"a", b"b", b"c"])
    assert list(await subject.reader.read(subject.tp, 3)) == []
    assert list(await subject.reader.read(subject.tp, 900, 10)) == []
    assert list(await subject.reader.read(subject.tp, 2, 10)) == [written(2, b"c")]
    assert list(await subject.reader.read(subject.tp, 1, 0)) == []


async def test_a_read_goes_on_over_several_batches(subject: Subject, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(log_reader, "FETCH_BYTES", 16 * 1024)
    values = [b"%06d" % number * 50 for number in range(MANY)]
    for first in range(0, MANY, 100):
        await subject.write(values[first : first + 100])
    found = await subject.reader.read(subject.tp, 7, MANY - 20)
    assert list(found) == [written(offset, values[offset]) for offset in range(7, MANY - 13)]


async def test_a_record_larger_than_a_fetch_is_read_all_the_same(
    subject: Subject, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(log_reader, "FETCH_BYTES", 1024)
    await subject.write([b"a", b"x" * 100_000, b"c"])
    found = await subject.reader.read(subject.tp, 0, 3)
    assert [len(record.value) for record in found] == [1, 100_000, 1]


async def test_what_was_removed_is_not_there_and_what_is_left_comes(subject: Subject) -> None:
    await subject.write([b"a", b"b", b"c", b"d"])
    await subject.reader.read(subject.tp, 0, 4)
    await subject.cut(2)
    assert await subject.reader.range(subject.tp) == LogRange(2, 4)
    assert list(await subject.reader.read(subject.tp, 1)) == []
    assert list(await subject.reader.read(subject.tp, 0, 3)) == [written(2, b"c")]
    assert await subject.reader.offset_at(subject.tp, START_MS) == 2


async def test_a_log_of_which_all_was_removed_keeps_its_place(subject: Subject) -> None:
    await subject.write([b"a", b"b", b"c"])
    anchor = written(1, b"b").anchor
    await subject.cut(3)
    assert await subject.reader.range(subject.tp) == LogRange(3, 3)
    assert list(await subject.reader.read(subject.tp, 0, 9)) == []
    assert await still_there(subject.reader, subject.tp, anchor)


async def test_the_first_record_that_is_not_older_is_found(subject: Subject) -> None:
    await subject.write([b"a", b"b", b"c"])
    asked = [START_MS - 5, START_MS, START_MS + 1, START_MS + 2_000, START_MS + 2_001]
    assert [await subject.reader.offset_at(subject.tp, at) for at in asked] == [0, 0, 1, 2, None]


async def test_a_record_is_known_again_until_the_log_ends_before_it(subject: Subject) -> None:
    await subject.write([b"a", b"b", b"c"])
    assert await still_there(subject.reader, subject.tp, written(2, b"c").anchor)
    assert not await still_there(subject.reader, subject.tp, written(2, b"another").anchor)
    assert not await still_there(subject.reader, subject.tp, written(3, b"c").anchor)


async def test_an_outage_is_told_and_over_when_kafka_is_back(
    unique: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(log_reader, "READ_LIMIT_S", 20.0)
    tp = TP(f"{unique}.raw", 0)
    with Kafka() as kafka:
        admin = AIOKafkaAdminClient(bootstrap_servers=kafka.bootstrap)
        await admin.start()
        await admin.create_topics([NewTopic(tp.topic, 1, 1)])
        await eventually_stands(kafka.bootstrap, tp.topic)
        await admin.close()
        reader = _reader(kafka)
        assert await reader.range(tp) == LogRange(0, 0)
        monkeypatch.setattr(log_reader, "READ_LIMIT_S", 2.0)
        kafka.kill()
        for _ in range(2):
            with pytest.raises(Outage, match="kafka"):
                await reader.range(tp)
            with pytest.raises(Outage, match="kafka"):
                await reader.read(tp, 0)
            with pytest.raises(Outage, match="kafka"):
                await reader.offset_at(tp, 0)
        kafka.start()
        monkeypatch.setattr(log_reader, "READ_LIMIT_S", 20.0)
        assert await reader.range(tp) == LogRange(0, 0)
        await reader.stop()


async def test_a_topic_that_does_not_exist_is_an_outage(
    kafka: Kafka, unique: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(log_reader, "READ_LIMIT_S", 3.0)
    reader = _reader(kafka)
    tp = TP(f"{unique}.missing", 0)
    for question in (reader.range(tp), reader.read(tp, 0)):
        with pytest.raises(Outage, match=f"{unique}.missing"):
            await question
    await reader.stop()


async def test_what_does_not_come_is_an_outage_and_no_proof_that_it_is_gone(
    subject: Subject, monkeypatch: pytest.MonkeyPatch
) -> None:
    if not isinstance(subject.reader, KafkaLogReader):
        pytest.skip("the fake has all that it has at once")
    await subject.write([b"a", b"b", b"c"])
    whole = await subject.reader.read(subject.tp, 0, 3)
    assert [record.value for record in whole] == [b"a", b"b", b"c"]

    async def nothing(*_partitions: TopicPartition, **_limits: int) -> dict[TopicPartition, list[object]]:
        return {}

    monkeypatch.setattr(subject.reader._consumer, "getmany", nothing)
    with pytest.raises(Outage, match=r"raw\[1\] cannot be read"):
        await subject.reader.read(subject.tp, 1)
    assert await subject.reader.read(subject.tp, 0, 3) == whole  # by a connection of its own
