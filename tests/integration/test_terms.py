"""Terms on a real Kafka: whoever leads writes under a higher one than all before, whatever the group says."""

import asyncio
from typing import Self

import pytest
from aiokafka.admin import AIOKafkaAdminClient, NewTopic

from streams.errors import DeliveryFailed, Outage
from streams.ingress.chunk_writer import KafkaChunkWriter, Written
from streams.ingress.other_writers import OtherWriters
from streams.ingress.raw_tail import KafkaTail, Newest
from streams.ingress.terms import KafkaTermSource
from streams.settings import Settings
from streams.wire.headers import TERM
from streams.wire.term import Term
from tests.parts.kafka import Kafka

PARTITIONS = 3
MINUTE = 29_487_796
HEADERS = [("format", b"1"), ("messages", b"1")]


class Elected:
    """A voter that says what a test tells it to."""

    def __init__(self, generation: int, member: str = "a") -> None:
        self.generation = generation
        self.member = member

    async def confirm(self) -> tuple[int, str]:
        return self.generation, self.member


class CountingTail(KafkaTail):
    """Counts how often the log is looked at."""

    looks = looks_between = 0

    async def newest(self) -> Newest:
        self.looks += 1
        return await super().newest()

    async def between(self, partition: int, offsets: range) -> list[dict[str, bytes]]:
        self.looks_between += 1
        return await super().between(partition, offsets)


@pytest.fixture
async def settings(kafka: Kafka, unique: str) -> Settings:
    settings = Settings(broker_url=kafka.url, topic_prefix=unique, topic_partitions=PARTITIONS)
    await create(kafka, settings.raw_topic)
    return settings


async def create(kafka: Kafka, topic: str) -> None:
    admin = AIOKafkaAdminClient(bootstrap_servers=kafka.bootstrap)
    await admin.start()
    try:
        await admin.create_topics([NewTopic(topic, PARTITIONS, 1)])
    finally:
        await admin.close()


def office_of(
    settings: Settings,
    elected: Elected | None,
    session: str = "bridge",
    *,
    tail: KafkaTail | None = None,
    other_writers: OtherWriters | None = None,
) -> KafkaTermSource:
    tail = tail or KafkaTail(settings)
    other_writers = other_writers or OtherWriters(tail, settings.raw_topic)
    return KafkaTermSource(elected, tail, session, "metrics/#", other_writers, clock=lambda: MINUTE * 60.0)


async def lead(settings: Settings, generation: int, *, partitions: tuple[int, ...] = (0,)) -> Term:
    """Lead as a new process, and write a chunk to each of these partitions."""
    leader_term = await office_of(settings, Elected(generation)).take()
    await write(settings, list(leader_term.headers), partitions)
    return Term.of(int(dict(leader_term.headers)[TERM]))


async def write(settings: Settings, headers: list[tuple[str, bytes]], partitions: tuple[int, ...]) -> None:
    writer = KafkaChunkWriter(settings)
    await writer.open()
    for partition in partitions:
        await (await writer.write(partition, b"x", [*HEADERS, *headers]))
    await writer.close()


async def test_two_leaders_in_a_row_write_under_rising_terms(settings: Settings) -> None:
    assert await lead(settings, 4) == Term(MINUTE, 4)
    assert await lead(settings, 7, partitions=(2,)) == Term(MINUTE, 7)
    assert await lead(settings, 8) == Term(MINUTE, 8)


async def test_a_group_that_was_deleted_begins_above_what_any_partition_holds(settings: Settings) -> None:
    await lead(settings, 50, partitions=(1,))
    await lead(settings, 51, partitions=(2,))
    assert await lead(settings, 1) == Term(MINUTE + 1, 1)
    assert await lead(settings, 2) == Term(MINUTE + 1, 2)


async def test_a_leader_that_never_wrote_leaves_no_trace_and_its_successor_is_above_it(
    settings: Settings,
) -> None:
    await lead(settings, 50)
    silent = await lead(settings, 51, partitions=())
    assert await lead(settings, 52) > silent


async def test_the_same_generation_twice_is_two_terms(settings: Settings) -> None:
    first = await lead(settings, 5)
    assert await lead(settings, 5) > first


async def test_a_late_write_of_a_former_leader_at_the_very_end_does_not_lower_the_next_term(
    settings: Settings,
) -> None:
    former = await lead(settings, 5)
    await lead(settings, 9)
    await write(settings, [(TERM, b"%d" % former.packed)], (0, 0, 0))
    assert await lead(settings, 6) == Term(MINUTE + 1, 6)


async def test_records_of_an_older_version_tell_no_term(settings: Settings) -> None:
    await write(settings, [], (0, 1, 2))
    assert await lead(settings, 3) == Term(MINUTE, 3)


async def test_a_term_that_another_group_has_overtaken_is_left_for_a_higher_one(settings: Settings) -> None:
    """A second pipeline on the same topics, for the moment until it is refused: nobody elects anew then."""
    term_source = office_of(settings, Elected(3))
    first = await term_source.take()
    await write(settings, list(first.headers), (0,))
    assert await term_source.take() is first
    other = Term(MINUTE, 9)
    await write(settings, [(TERM, b"%d" % other.packed)], (1,))
    second = await term_source.take()
    assert Term.of(int(dict(second.headers)[TERM])) > other
    assert await term_source.take() is second


async def test_the_log_is_looked_at_for_each_connection(settings: Settings) -> None:
    elected, tail = Elected(3), CountingTail(settings)
    term_source = office_of(settings, elected, tail=tail)
    first = await term_source.take()
    assert await term_source.take() is first
    assert tail.looks == 2

    elected.generation = 4
    assert await term_source.take() != first
    elected.member = "b"  # the same generation, of another life of the group
    assert dict((await term_source.take()).headers)[TERM] == b"%d" % Term(MINUTE + 1, 4).packed
    assert tail.looks == 4


async def test_in_a_share_group_there_is_no_term(settings: Settings) -> None:
    leader_term = await office_of(settings, None).take()
    assert leader_term.headers == (("session", b"bridge"), ("subscription", b"metrics/#"))


async def test_the_log_shows_whether_there_was_a_session_under_our_client_id(settings: Settings) -> None:
    assert not (await office_of(settings, Elected(1)).take()).had_session
    await lead(settings, 2)
    assert (await office_of(settings, Elected(3)).take()).had_session
    another = await office_of(settings, Elected(3), session="another").take()
    assert (another.had_session, another.others) == (False, {"bridge"})
    assert not (await office_of(settings, Elected(3)).take()).others


async def test_a_kafka_that_is_not_there_is_an_outage(unique: str) -> None:
    settings = Settings(broker_url="kafka://127.0.0.1:1", topic_prefix=unique)
    with pytest.raises(Outage, match="cannot be read"):
        await office_of(settings, Elected(1)).take()


class Leader:
    """A term source and the writer of the same worker, as ingress has them."""

    def __init__(self, settings: Settings) -> None:
        self.tail = CountingTail(settings)
        self.other_writers = OtherWriters(self.tail, settings.raw_topic)
        self.term_source = office_of(settings, Elected(3), tail=self.tail, other_writers=self.other_writers)
        self.writer = KafkaChunkWriter(settings, witness=self.other_writers)
        self.term = Term(0, 0)

    async def __aenter__(self) -> Self:
        await self.begin()
        return self

    async def begin(self) -> None:
        """As before each connection to the broker."""
        await self.writer.open()
        self.headers = [*HEADERS, *(await self.term_source.take()).headers]
        self.term = Term.of(int(dict(self.headers)[TERM]))

    async def write(self, partition: int) -> Written:
        return await self.writer.write(partition, b"x", self.headers)

    async def __aexit__(self, *_: object) -> None:
        await self.writer.close()


async def others_write(settings: Settings, term: Term, count: int = 1) -> None:
    await write(settings, [(TERM, b"%d" % term.packed)], (0,) * count)


@pytest.mark.parametrize("written_before", [0, 3])
@pytest.mark.parametrize("count", [1, 30])
async def test_what_stands_behind_a_higher_term_that_landed_since_is_not_written(
    settings: Settings, written_before: int, count: int
) -> None:
    """Between the look and our next record, which no look can cover."""
    other = Term(MINUTE, 9)
    async with Leader(settings) as leader:
        for _ in range(written_before):
            await (await leader.write(0))
        await others_write(settings, other, count)
        ours = [await leader.write(0) for _ in range(5)]
        for written in ours:
            with pytest.raises(DeliveryFailed, match="another consumer group has written to partition 0"):
                await written
        await leader.begin()
        assert leader.term > other
        await (await leader.write(0))


async def test_what_landed_before_the_others_and_what_is_elsewhere_counts(settings: Settings) -> None:
    async with Leader(settings) as leader:
        await (await leader.write(0))
        await others_write(settings, Term(MINUTE, 9))
        await (await leader.write(1))
        with pytest.raises(DeliveryFailed):
            await (await leader.write(0))


async def test_what_others_write_under_our_term_or_none_is_looked_at_once(settings: Settings) -> None:
    """As `rejected replay` does."""
    async with Leader(settings) as leader:
        await (await leader.write(0))
        await others_write(settings, leader.term, count=2)
        await write(settings, [], (0,))
        for written in [await leader.write(0) for _ in range(5)]:
            await written
        assert leader.tail.looks_between == 1
        before = leader.term
        await leader.begin()
        assert leader.term == before


async def test_while_nobody_else_writes_nothing_is_read(settings: Settings) -> None:
    async with Leader(settings) as leader:
        for number in range(20):
            await (await leader.write(number % PARTITIONS))
        assert (leader.tail.looks, leader.tail.looks_between) == (1, 0)


async def test_what_cannot_be_looked_at_does_not_count_as_written(
    settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def fails(*_: object) -> list[dict[str, bytes]]:
        raise Outage("kafka", "does not answer")

    async with Leader(settings) as leader:
        await others_write(settings, leader.term)
        monkeypatch.setattr(leader.tail, "between", fails)
        with pytest.raises(DeliveryFailed, match="does not answer"):
            await (await leader.write(0))
        monkeypatch.undo()
        await leader.begin()
        await (await leader.write(0))


async def test_a_writer_that_is_closed_meanwhile_waits_for_nobody(
    settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    looking = asyncio.Event()

    async def never(*_: object) -> list[dict[str, bytes]]:
        looking.set()
        await asyncio.Event().wait()
        return []

    async with Leader(settings) as leader:
        await others_write(settings, leader.term)
        monkeypatch.setattr(leader.tail, "between", never)
        written = await leader.write(0)
        await looking.wait()
        await leader.writer.close()
        with pytest.raises(DeliveryFailed, match="closed"):
            await written
