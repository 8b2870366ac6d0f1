"""What others wrote between our records is read before ours count, and nothing hides it."""

import asyncio
from collections.abc import Callable, Sequence
from types import SimpleNamespace
from typing import Any

import pytest
from aiokafka.errors import KafkaError

from streams.errors import DeliveryFailed
from streams.ingress import chunk_writer
from streams.ingress.chunk_writer import KafkaChunkWriter
from streams.ingress.other_writers import UNTOLD, OtherWriters
from streams.ingress.raw_tail import NEWEST, Newest
from streams.settings import Settings
from streams.wire.headers import TERM
from streams.wire.term import Term

OURS, THEIRS = Term(5, 1), Term(9, 1)


def written_under(term: Term) -> dict[str, bytes]:
    return {TERM: b"%d" % term.packed}


class FakeTail:
    """Holds the headers of records from an offset on."""

    def __init__(self, records: Sequence[dict[str, bytes]] = (), first: int = 100) -> None:
        self._records = dict(enumerate(records, first))

    async def newest(self) -> Newest:
        raise AssertionError("nobody asks for it here")

    async def between(self, partition: int, offsets: range) -> list[dict[str, bytes]]:
        assert partition == 0
        await asyncio.sleep(0)
        asked = [*offsets[:NEWEST], *offsets[-NEWEST:]]
        return [self._records[offset] for offset in asked if offset in self._records]


def watching(records: Sequence[dict[str, bytes]] = ()) -> OtherWriters:
    other_writers = OtherWriters(FakeTail(records), "metrics.raw")
    other_writers.begin(OURS, {0: 100})
    return other_writers


def test_only_what_others_took_is_to_be_read() -> None:
    other_writers = watching()
    assert [other_writers.before(0, offset) for offset in (100, 101, 104, 105)] == [
        None,
        None,
        range(102, 104),
        None,
    ]


def test_before_a_term_was_taken_nothing_is() -> None:
    assert OtherWriters(FakeTail(), "metrics.raw").before(0, 7) is None


async def test_a_higher_term_at_the_end_of_what_others_wrote_is_found() -> None:
    """As behind what a replay has put back."""
    other_writers = watching([*[written_under(OURS)] * 30, written_under(THEIRS)])
    others = other_writers.before(0, 131)
    assert others == range(100, 131)
    with pytest.raises(DeliveryFailed):
        await other_writers.examine(0, others)
    assert other_writers.highest == THEIRS


async def test_where_kafka_does_not_tell_the_place_what_follows_the_last_one_is_read() -> None:
    other_writers = watching([written_under(THEIRS)])
    others = other_writers.before(0, -1)
    assert others == range(100, 100 + UNTOLD)
    with pytest.raises(DeliveryFailed):
        await other_writers.examine(0, others)
    assert other_writers.before(0, 102) == range(100, 102)


class FakeProducer:
    """Takes records; a test answers for Kafka."""

    made: "list[FakeProducer]"

    def __init__(self, _check: object, **_options: object) -> None:
        self.sent: list[asyncio.Future[Any]] = []
        self.on_discard: Callable[[], None] = lambda: None
        FakeProducer.made.append(self)

    async def start(self) -> None:
        await asyncio.sleep(0)

    async def partitions_for(self, _topic: str) -> set[int]:
        return {0}

    def shut(self, _why: object) -> None:
        pass

    async def send(self, _topic: str, _value: bytes, **_options: object) -> "asyncio.Future[Any]":
        self.sent.append(asyncio.get_running_loop().create_future())
        return self.sent[-1]

    async def discard(self) -> None:
        self.on_discard()
        await asyncio.sleep(0)
        for sent in self.sent:
            if not sent.done():
                sent.set_exception(KafkaError("it is shut"))


async def test_an_examination_that_a_close_has_ended_keeps_no_later_record_from_being_written(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Also one that had not begun."""
    FakeProducer.made = []
    monkeypatch.setattr(chunk_writer, "GatedProducer", FakeProducer)
    other_writers = watching()
    writer = KafkaChunkWriter(Settings(topic_partitions=1), witness=other_writers)
    await writer.open()
    written = await writer.write(0, b"x", [])
    first = FakeProducer.made[0]
    first.on_discard = lambda: first.sent[0].set_result(SimpleNamespace(offset=101))
    await writer.close()
    with pytest.raises(DeliveryFailed):
        await written
    await writer.open()
    other_writers.begin(OURS, {0: 102})
    written = await writer.write(0, b"x", [])
    FakeProducer.made[1].sent[0].set_result(SimpleNamespace(offset=102))
    await asyncio.wait_for(written, 1)
