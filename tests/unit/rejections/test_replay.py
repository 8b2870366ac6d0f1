"""What is put back: it keeps its first place, so that nothing doubles and no newer value is replaced."""

import asyncio
import gc
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from streams.browse.coordinate import Coordinate
from streams.browse.messages import Browsed, TopicKind, TopicRecord, messages_of
from streams.errors import DeliveryFailed, MalformedRecord
from streams.ingress.chunk_writer import Written
from streams.kafka.record_loop import Record
from streams.models import UNKNOWN_EPOCH, FirstPlace, Message, Origin, Reason, RejectedMessage, Stage
from streams.rejections import listing
from streams.rejections.listing import Copies, Rejected
from streams.rejections.marks import Marks, identity_of
from streams.rejections.replay import ReturnedMessages, chunks_of, put_back
from streams.rejections.superseded import accepted_of
from streams.rejections.tail import Headers, Tails
from streams.settings import Settings
from streams.wire import raw, rejected, unique
from streams.wire.headers import FIRSTS, REPLAY, read_firsts, written_firsts
from streams.wire.mark import Fate, decode, encode
from tests.unit.agents.test_refine import AT, OTHER, TENANT, Bench, chunk, message

HEADERS = {REPLAY: b"1", "term": b"7"}


def again(place: tuple[int, int, int], payload: dict[str, Any], replays: int = 1) -> bytes:
    """Return a message as a replay writes it, which stood first at (epoch, offset, index)."""
    epoch, offset, index = place
    text = msgspec.json.encode(payload).decode()
    first = FirstPlace(epoch, 3, offset, index, replays)
    return raw.encode(Message(f"metrics/{TENANT}/edge-1/cpu", text, None, AT, 1, first=first))


def put(offset: int, *messages: bytes) -> Record:
    return chunk(*messages, offset=offset, headers=HEADERS)


def found_rejected(bench: Bench) -> list[Browsed]:
    return [
        each
        for record in bench.topics.all("metrics.rejected")
        for each in messages_of(TopicRecord(TopicKind.REJECTED, 3, 0, 0, record.value, record.headers))
    ]


def keys(bench: Bench) -> list[str]:
    chunks = [unique.decode(record.value) for record in bench.topics.all("metrics.unique")]
    return [reading.key for each in chunks for reading in each.readings]


async def test_a_message_without_any_id_keeps_the_key_of_where_it_stood_first() -> None:
    accepted, put_again = Bench(), Bench()
    await accepted.refinery().refine([chunk(message({"value": 0}), message({"value": 1}), offset=5)])
    await put_again.refinery().refine([put(90, again((0, 5, 1), {"value": 1}))])
    assert keys(put_again) == keys(accepted)[1:]


@pytest.mark.parametrize(
    "payload",
    [{"value": 1}, {"value": 1, "timestamp": "2026-11-23T14:00:00Z"}, {"value": 1, "dedupe_id": "d-1"}],
)
async def test_the_same_message_put_back_twice_is_accepted_once(payload: dict[str, Any]) -> None:
    bench = Bench()
    await bench.refinery().refine([put(90, again((0, 5, 0), payload))])
    bench.seen = bench.seen.recovered()
    await bench.refinery().refine([put(91, again((0, 5, 0), payload, 2)), put(92, again((0, 5, 0), payload))])
    assert len(bench.readings()) == 1
    assert bench.statistics.messages["duplicate"] == 2


async def test_an_older_value_is_a_duplicate_of_a_newer_one() -> None:
    bench = Bench()
    await bench.refinery().refine([chunk(message({"value": 2, "dedupe_id": "d"}), offset=7)])
    await bench.refinery().refine([put(90, again((0, 5, 0), {"value": 1, "dedupe_id": "d"}))])
    assert [value for _, value, _ in bench.readings()] == [2]


async def test_a_newer_value_that_was_rejected_replaces_the_older_one() -> None:
    bench = Bench()
    await bench.refinery().refine([chunk(message({"value": 1, "dedupe_id": "d"}), offset=5)])
    await bench.refinery().refine([put(90, again((0, 7, 0), {"value": 2, "dedupe_id": "d"}))])
    assert [value for _, value, _ in bench.readings()] == [1, 2]


async def test_of_another_life_of_the_log_or_of_an_unknown_one_all_is_older() -> None:
    bench = Bench()
    bench.seen.memory.partition(3).epoch = 4
    await bench.refinery().refine([chunk(message({"value": 2, "dedupe_id": "d"}), offset=7)])
    for epoch in (3, UNKNOWN_EPOCH):
        await bench.refinery().refine(
            [put(90 + epoch, again((epoch, 9_000, 0), {"value": 1, "dedupe_id": "d"}))]
        )
    assert [value for _, value, _ in bench.readings()] == [2]


async def test_what_a_device_sends_after_a_replay_is_a_correction_as_ever() -> None:
    bench = Bench()
    await bench.refinery().refine([put(90, again((0, 5, 0), {"value": 1, "dedupe_id": "d"}))])
    await bench.refinery().refine([chunk(message({"value": 2, "dedupe_id": "d"}), offset=91)])
    assert [value for _, value, _ in bench.readings()] == [1, 2]


@given(
    order=st.permutations(range(4)),
    together=st.booleans(),
    restart=st.booleans(),
    repeated=st.sets(st.integers(0, 3)),
)
async def test_whatever_the_order_of_replays_the_value_that_came_last_wins(
    order: list[int], *, together: bool, restart: bool, repeated: set[int]
) -> None:
    bench = Bench()
    records = [put(90 + at, again((0, 5, n), {"value": n, "dedupe_id": "d"})) for at, n in enumerate(order)]
    records += [put(95 + n, again((0, 5, n), {"value": n, "dedupe_id": "d"}, 2)) for n in repeated]
    if together:
        await bench.refinery().refine(records[:8])
    for record in [] if together else records:
        await bench.refinery().refine([record])
        if restart:
            bench.seen = bench.seen.recovered()
    assert bench.readings()[-1][1] == 3
    assert [value for _, value, _ in bench.readings()].count(3) == 1


async def test_a_chunk_of_a_replay_that_comes_again_is_emitted_again_word_for_word() -> None:
    bench = Bench()
    record = put(90, again((0, 5, 0), {"value": 1, "dedupe_id": "d"}), again((0, 5, 1), {"value": 1}))
    await bench.refinery().refine([record])
    bench.seen = bench.seen.recovered()
    await bench.refinery().refine([record])
    first, second = bench.topics.all("metrics.unique")
    assert (first.value, first.headers[FIRSTS]) == (second.value, second.headers[FIRSTS])
    assert read_firsts(first.headers) == [(0, 5, 0), (0, 5, 1)]
    record_of = TopicRecord("unique", 3, 0, 0, first.value, first.headers)
    assert [order for _, order in accepted_of(record_of)] == [(0, 5, 0)]


async def test_a_replay_makes_no_chunk_of_ingress_stale() -> None:
    bench = Bench()
    await bench.refinery().refine([chunk(message({"value": 1, "dedupe_id": "d"}), headers={"term": b"9"})])
    high = {REPLAY: b"1", "term": b"99"}
    await bench.refinery().refine([chunk(again((0, 0, 7), {"value": 5}), offset=1, headers=high)])
    await bench.refinery().refine(
        [chunk(message({"value": 2, "dedupe_id": "d"}), offset=2, headers={"term": b"9"})]
    )
    assert [value for _, value, _ in bench.readings()] == [1, 5, 2]
    assert bench.statistics.notes["stale_chunks"] == 0


async def test_what_is_rejected_again_carries_its_first_place_and_the_number_of_attempts() -> None:
    bench = Bench()
    await bench.refinery().refine([chunk(message({"value": 1}, tenant=OTHER), offset=5)])
    (once,) = [Rejected(each, None) for each in found_rejected(bench)]
    assert (once.attempts, once.first) == (1, FirstPlace(0, 3, 5, 0, 1))
    await bench.refinery().refine([put(90, raw.encode(put_back(once)))])
    twice = Rejected(found_rejected(bench)[-1], None)
    assert (twice.attempts, twice.first) == (2, FirstPlace(0, 3, 5, 0, 2))
    assert str(twice.message.coordinate) == "3-90-0"
    assert put_back(twice).received_at == AT


def test_a_rejection_of_an_older_version_tells_no_epoch() -> None:
    value = rejected.encode(*_rejection())
    (found,) = messages_of(TopicRecord(TopicKind.REJECTED, 3, 0, 0, value, {}))
    assert Rejected(found, None).first.epoch == UNKNOWN_EPOCH


def _rejection(received_at: str = AT) -> Any:
    one = RejectedMessage(0, "metrics/t/a/m", "{}", None, received_at, 1, None, "no tenant t")
    return Origin(3, 5), Stage.VALIDATE, Reason.TENANT_UNKNOWN, [one]


def _browsed(offset: int = 0, received_at: str = AT) -> Browsed:
    value = rejected.encode(*_rejection(received_at))
    return next(messages_of(TopicRecord(TopicKind.REJECTED, 3, offset, 0, value, {})))


def test_a_mark_is_about_this_message_and_not_about_another_one_at_its_coordinate() -> None:
    marked, other = _browsed(), _browsed(received_at="2026-11-24T14:00:00.123456Z")
    marks = Marks([(identity_of(marked), Fate.DISMISSED)])
    assert (marks.of(marked), marks.of(other), len(marks)) == (Fate.DISMISSED, None, 1)


def test_a_mark_is_read_as_it_was_written() -> None:
    assert decode(encode(Fate.REPLAYED, 2**64 - 1, "2026-11-23T14:00:00Z")) == (Fate.REPLAYED, 2**64 - 1)


def test_a_rejection_that_refine_emitted_twice_is_listed_once() -> None:
    copies = Copies()
    assert [copies.knows(_browsed(offset)) for offset in (0, 1, 2)] == [False, True, True]
    assert not copies.knows(_browsed(3, "2026-11-24T14:00:00.123456Z"))


@given(st.lists(st.binary(min_size=1, max_size=600), max_size=30), st.integers(1, 5))
def test_chunks_hold_every_message_in_order_and_keep_their_limits(encoded: list[bytes], most: int) -> None:
    limits = Settings.from_mapping({"CHUNK_MAX_MESSAGES": str(most), "CHUNK_MAX_BYTES": "1024"})
    made = chunks_of(encoded, limits)
    assert [each for one in made for each in one] == encoded
    assert all(len(one) <= most for one in made)
    assert all(len(raw.join(one)) <= 1_024 or len(one) == 1 for one in made)


@given(st.binary(max_size=200))
def test_whatever_stands_in_a_header_no_reader_fails(value: bytes) -> None:
    assert isinstance(read_firsts({FIRSTS: value}), list)


def test_firsts_are_read_as_they_were_written() -> None:
    firsts = [(4, 1841, 0), (UNKNOWN_EPOCH, 0, 499)]
    assert read_firsts({FIRSTS: written_firsts(firsts).encode()}) == firsts


class RefusingWriter:
    """Takes each record, and then does not get it into Kafka."""

    async def open(self) -> None: ...

    async def close(self) -> None: ...

    async def write(self, _partition: int, _value: bytes, _headers: object) -> Written:
        written: Written = asyncio.get_running_loop().create_future()
        written.get_loop().call_soon(written.set_exception, DeliveryFailed("metrics.raw", "refused"))
        return written


async def test_of_a_batch_that_kafka_refuses_no_failure_is_left_that_nobody_has_taken(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    async def nothing(_tails: Tails, _partition: int) -> Headers:
        return ()

    monkeypatch.setattr(Tails, "of", nothing)
    left: list[object] = []
    asyncio.get_running_loop().set_exception_handler(lambda _loop, context: left.append(context))
    settings = Settings.from_mapping({"CHUNK_MAX_MESSAGES": "1"})
    returned = ReturnedMessages(settings, RefusingWriter())  # type: ignore[arg-type] # as much as is needed
    body = RejectedMessage(0, f"metrics/{TENANT}/edge/cpu", "{}")
    record = TopicRecord("rejected", 0, 0, 0, b"", {})
    one = Rejected(Browsed(record, Coordinate(0, 0, 0), body), None)
    with pytest.raises(DeliveryFailed):
        await returned.write([one] * 10)
    gc.collect()
    await asyncio.sleep(0)
    assert left == []


@pytest.mark.parametrize("digest", ["-1", "f" * 17, "0x00000000000001", ""])
def test_a_mark_whose_digest_is_none_is_no_mark(digest: str) -> None:
    with pytest.raises(MalformedRecord):
        decode(b'{"mark":"replayed","digest":"%s","at":"2026-11-23T14:00:00Z"}' % digest.encode())


def test_a_record_is_hashed_once_however_many_messages_it_has(monkeypatch: pytest.MonkeyPatch) -> None:
    hashed: list[int] = []

    def digest(value: bytes) -> int:
        hashed.append(len(value))
        return 0

    monkeypatch.setattr(listing, "xxh3_64_intdigest", digest)
    body = RejectedMessage(0, "metrics/a/edge/cpu", "{}")
    record, copies = TopicRecord("rejected", 0, 0, 0, b"x" * 1_000, {}), Copies()
    for index in range(100):
        assert not copies.knows(Browsed(record, Coordinate(0, 0, index), body))
    assert len(hashed) == 1
