"""refine: decide, record, emit; what comes again is emitted again, word for word."""

import asyncio
import json
from typing import Any
from unittest.mock import patch

import pytest

from agents import examine as examining
from agents import refine as module
from agents.refine import Refinery
from streams.counters import Statistics
from streams.database.tenants import FakeTenants
from streams.errors import DeliveryFailed, Outage, PositionMoved
from streams.kafka.record_loop import Record
from streams.kafka.testing import FakeRecord, FakeTopics
from streams.models import Reason, Stage
from streams.settings import Settings
from streams.timings import REFINE
from streams.wire import raw, rejected, unique
from streams.wire.decision import FORMAT, Decision, Refusal, digest
from streams.wire.headers import OVER_QUOTA, SEQ, WRITER
from tables.testing import FakeSeen

TENANT = "7c9e6679-7425-40de-944b-e07fc1f90ae7"
OTHER = "0d1f3a52-3a0f-4c36-9f5c-3c1d7b1f2a10"
AT = "2026-11-23T14:00:00.123456Z"


class Bench:
    """A refinery between fakes."""

    def __init__(self, **settings: str) -> None:
        self.seen = FakeSeen()
        self.tenants = FakeTenants({TENANT})
        self.topics = FakeTopics()
        self.settings = Settings.from_mapping(settings)
        self.statistics = Statistics()
        self.now = 1_795_442_400.0

    def refinery(self) -> Refinery:
        return Refinery(
            self.settings,
            seen=self.seen,
            tenants=self.tenants,
            emit=self.topics.emit,
            statistics=self.statistics,
            clock=lambda: self.now,
        )

    def readings(self) -> list[tuple[int, Any, str | None]]:
        chunks = [unique.decode(record.value) for record in self.topics.all("metrics.unique")]
        return [(r.index, r.value, r.dedupe_id) for chunk in chunks for r in chunk.readings]

    def reasons(self) -> list[tuple[str, list[int]]]:
        chunks = [rejected.decode(record.value) for record in self.topics.all("metrics.rejected")]
        return [(chunk.reason, [message.index for message in chunk.messages]) for chunk in chunks]


def message(payload: object, tenant: str = TENANT, topic: str | None = None) -> bytes:
    body = payload if isinstance(payload, bytes) else json.dumps(payload).encode()
    return raw.encode_message(topic or f"metrics/{tenant}/edge-1/cpu", body, AT, 1)


def chunk(*messages: bytes, offset: int = 0, headers: dict[str, bytes] | None = None) -> Record:
    return Record(3, offset, raw.join(messages), headers or {})


def word_for_word(record: FakeRecord) -> FakeRecord:
    """Return a record without what each writer calls itself, and counts."""
    said = {name: value for name, value in record.headers.items() if name not in (WRITER, SEQ)}
    return FakeRecord(record.value, said)


async def test_valid_readings_and_rejections_go_to_their_topics_with_the_chunks_coordinate() -> None:
    bench = Bench()
    bench.now += 60
    await bench.refinery().refine(
        [chunk(message({"value": 1}), message(b"{"), message({"value": 2}, tenant=OTHER), offset=1841)]
    )
    assert bench.readings() == [(0, 1, None)]
    assert bench.reasons() == [("payload_not_json", [1]), ("tenant_unknown", [2])]
    (record,) = bench.topics.all("metrics.unique")
    assert unique.decode(record.value).origin == module.Origin(3, 1841)
    assert record.headers["messages"] == b"1"
    assert record.headers["received_at"] == AT.encode()
    arrived_at = raw.unix_s(AT)
    assert arrived_at is not None
    latency = bench.statistics.timings.latency_s[REFINE]
    assert (latency.count, latency.total) == (3, pytest.approx(3 * (bench.now - arrived_at), abs=1e-3))


async def test_a_rejected_message_stands_in_its_topic_as_it_came() -> None:
    bench = Bench()
    topic = "metrics/too/short"
    await bench.refinery().refine([chunk(message(b"\xff\x00", topic=topic))])
    (record,) = bench.topics.all("metrics.rejected")
    (found,) = rejected.decode(record.value).messages
    assert (found.topic, found.payload_base64, found.received_at, found.qos) == (topic, "/wA=", AT, 1)
    assert found.detail


async def test_every_message_that_is_rejected_stands_there_with_its_place_and_its_payload() -> None:
    bench = Bench()
    large = message(b"x" * 70_000)
    await bench.refinery().refine([chunk(message(b"{"), message({"value": 1}), message(b"["), large)])
    found = [
        one
        for record in bench.topics.all("metrics.rejected")
        for one in rejected.decode(record.value).messages
    ]
    assert [(one.index, one.payload, one.payload_base64, one.size_bytes) for one in found] == [
        (0, "{", None, None),
        (2, "[", None, None),
        (3, "x" * 1024, None, 70_000),
    ]


async def test_the_usual_messages_of_a_chunk_keep_their_places() -> None:
    bench = Bench()
    usual = [{"value": n, "timestamp": "2026-11-23T13:00:00.000Z", "dedupe_id": f"d-{n}"} for n in range(3)]
    await bench.refinery().refine([chunk(message(b"{"), *map(message, usual))])
    assert bench.readings() == [(1, 0, "d-0"), (2, 1, "d-1"), (3, 2, "d-2")]


async def test_where_nothing_is_left_of_a_chunk_no_tenant_is_asked_for() -> None:
    bench = Bench()
    bench.tenants.away = True
    await bench.refinery().refine([chunk(message(b"{"))])
    assert bench.reasons() == [("payload_not_json", [0])]


async def test_an_exact_duplicate_is_dropped_and_a_correction_goes_on() -> None:
    bench = Bench()
    refinery = bench.refinery()
    first = {"value": 1, "dedupe_id": "d"}
    await refinery.refine([chunk(message(first), message(first))])
    await refinery.refine([chunk(message(first), message({"value": 2, "dedupe_id": "d"}), offset=1)])
    await refinery.refine([chunk(message(first), offset=2)])
    assert bench.readings() == [(0, 1, "d"), (1, 2, "d"), (0, 1, "d")]
    assert bench.statistics.messages["duplicate"] == 2


async def test_a_duplicate_outside_the_window_goes_on() -> None:
    bench = Bench(DEDUPE_WINDOW_S="60")
    refinery = bench.refinery()
    await refinery.refine([chunk(message({"value": 1, "dedupe_id": "d"}))])
    bench.now += 61
    await refinery.refine([chunk(message({"value": 1, "dedupe_id": "d"}), offset=1)])
    assert len(bench.readings()) == 2


async def test_a_chunk_that_comes_again_is_never_taken_for_a_duplicate_of_itself() -> None:
    bench = Bench()
    record = chunk(message({"value": 1, "dedupe_id": "d"}), message({"value": 5}), message(b"["))
    await bench.refinery().refine([record])
    bench.seen = bench.seen.recovered()
    await bench.refinery().refine([record])
    for topic in ("metrics.unique", "metrics.rejected"):
        first, second = bench.topics.all(topic)
        assert word_for_word(first) == word_for_word(second)


async def test_a_replay_says_what_was_decided_whatever_tenants_and_settings_say_by_now() -> None:
    bench = Bench()
    late = {"value": 1, "timestamp": "2026-11-24T10:00:00Z"}
    record = chunk(message(late), message({"value": 2}, tenant=OTHER))
    await bench.refinery().refine([record])
    bench.tenants.existing = {OTHER}
    bench.settings = Settings.from_mapping({"MAX_CLOCK_SKEW_S": "0"})
    bench.seen = bench.seen.recovered()
    await bench.refinery().refine([record])
    for topic in ("metrics.unique", "metrics.rejected"):
        first, second = bench.topics.all(topic)
        assert word_for_word(first) == word_for_word(second)


async def test_a_clock_that_is_not_set_is_refused_in_either_way_of_reading() -> None:
    bench = Bench()
    usual = {"value": 1, "timestamp": "1970-01-01T00:00:12.000Z", "dedupe_id": "d-1"}
    await bench.refinery().refine([chunk(message(usual), message({"value": 1, "timestamp": 946_684_799}))])
    assert bench.reasons() == [("timestamp_out_of_range", [0, 1])]


async def test_a_clock_may_be_ahead_by_as_much_as_is_set() -> None:
    bench = Bench(MAX_CLOCK_SKEW_S="60")
    times = ["2026-11-23T14:01:00.000Z", "2026-11-23T14:01:01.000Z", "23 November 2026 14:00:59 UTC"]
    await bench.refinery().refine([chunk(*(message({"value": 1, "timestamp": time}) for time in times))])
    assert [index for index, *_ in bench.readings()] == [0, 2]
    assert bench.reasons() == [("timestamp_out_of_range", [1])]


async def test_what_was_accepted_stays_so_when_min_timestamp_is_raised() -> None:
    bench = Bench(MIN_TIMESTAMP="1970-01-01")
    usual = {"value": 1, "timestamp": "2001-01-01T00:00:12.000Z", "dedupe_id": "d-1"}
    record = chunk(message(usual), message({"value": 2, "timestamp": 978_307_212}))
    await bench.refinery().refine([record])
    bench.settings = Settings.from_mapping({"MIN_TIMESTAMP": "2020-01-01"})
    bench.seen = bench.seen.recovered()
    await bench.refinery().refine([record])
    assert not bench.reasons()
    first, second = bench.topics.all("metrics.unique")
    assert word_for_word(first) == word_for_word(second)


async def test_what_was_refused_stays_so_when_min_timestamp_is_lowered() -> None:
    bench = Bench(MIN_TIMESTAMP="2020-01-01")
    record = chunk(message({"value": 1, "timestamp": "2001-01-01T00:00:12.000Z", "dedupe_id": "d-1"}))
    await bench.refinery().refine([record])
    bench.settings = Settings.from_mapping({"MIN_TIMESTAMP": "1970-01-01"})
    bench.seen = bench.seen.recovered()
    await bench.refinery().refine([record])
    assert not bench.readings()
    first, second = bench.topics.all("metrics.rejected")
    assert word_for_word(first) == word_for_word(second)


async def test_chunks_decided_on_together_come_again_together_word_for_word() -> None:
    bench = Bench()
    first = {"value": 1, "dedupe_id": "d"}
    records = [
        chunk(message(first), offset=4),
        chunk(message(first), message({"value": 2}, tenant=OTHER), offset=5),
        chunk(message({"value": 3, "dedupe_id": "d"}), message(b"["), offset=6),
        chunk(message(first), offset=7),
    ]
    await bench.refinery().refine(records)
    assert [value for _, value, _ in bench.readings()] == [1, 3, 1]
    assert bench.reasons() == [("tenant_unknown", [1]), ("payload_not_json", [1])]
    emitted = {
        topic: [*map(word_for_word, bench.topics.all(topic))]
        for topic in ("metrics.unique", "metrics.rejected")
    }

    bench.seen, bench.tenants.existing = bench.seen.recovered(), {OTHER}
    assert bench.seen.memory.partition(3).settled_below == 4
    await bench.refinery().refine(records[:1])
    await bench.refinery().refine([*records[1:], chunk(message({"value": 9}, tenant=OTHER), offset=8)])
    for topic, before in emitted.items():
        assert [*map(word_for_word, bench.topics.all(topic))][: 2 * len(before)] == before + before
    assert bench.seen.memory.partition(3).settled_below == 5


async def test_chunks_behind_what_is_settled_are_passed_over() -> None:
    bench = Bench()
    records = [chunk(message({"value": n, "dedupe_id": str(n)}), offset=n) for n in range(4)]
    await bench.refinery().refine(records[:2])
    await bench.refinery().refine(records[2:3])
    await bench.refinery().refine(records)
    assert [value for _, value, _ in bench.readings()] == [0, 1, 2, 2, 3]


async def test_a_chunk_that_one_worker_has_emitted_is_not_decided_on_again_by_anyone() -> None:
    bench = Bench()
    records = [chunk(message({"value": n, "dedupe_id": str(n)}), offset=n) for n in range(2)]
    first = bench.refinery()
    await first.refine(records[:1])

    bench.seen = bench.seen.recovered()
    await first.refine(records[1:])  # as a zombie: its successor does not know of it
    await bench.refinery().refine(records)

    bench.seen = bench.seen.recovered()
    bench.topics.logs.clear()
    recorded = len(bench.seen.changelog)
    await bench.refinery().refine(records)
    assert len(bench.seen.changelog) == recorded
    assert [value for _, value, _ in bench.readings()] == [1]


async def test_where_kafka_refuses_some_of_the_decisions_all_are_recorded_again() -> None:
    bench = Bench()
    records = [chunk(message({"value": n, "dedupe_id": "d"}), offset=n) for n in range(3)]
    taken, append = [], bench.seen.append

    async def refuse_the_third(*row: Any) -> None:
        taken.append(row)
        if len(taken) == 3:
            raise DeliveryFailed("changelog", "is away")
        await append(*row)

    with patch.object(bench.seen, "append", refuse_the_third), pytest.raises(Outage):
        await bench.refinery().refine(records)
    assert bench.seen.memory.partition(3).last_offset is None
    assert not bench.topics.logs
    for seen in (bench.seen, bench.seen.recovered()):
        bench.seen = seen
        await bench.refinery().refine(records)
        assert [value for _, value, _ in bench.readings()] == [0, 1, 2]
        bench.topics.logs.clear()


@pytest.mark.parametrize("landed", [1, 2])
async def test_a_retry_records_what_was_decided_whatever_tenants_and_time_say_by_then(landed: int) -> None:
    bench = Bench(DEDUPE_WINDOW_S="60")
    refinery, row = bench.refinery(), {"value": 1, "dedupe_id": "d"}
    records = [chunk(message(row), offset=4), chunk(message(row), offset=5)]
    append = bench.seen.append

    async def answer_is_lost(*row: Any) -> None:
        await append(*row)
        if len(bench.seen.changelog) == landed:
            raise DeliveryFailed("changelog", "is away")

    with patch.object(bench.seen, "append", answer_is_lost), pytest.raises(Outage):
        await refinery.refine(records)
    bench.tenants.existing, bench.now = set(), bench.now + 3_600
    await refinery.refine(records)
    assert bench.readings() == [(0, 1, "d")]
    assert not bench.reasons()
    assert len(set(bench.seen.changelog)) == 2

    # The same record, once it has been decided on for good, is no attempt any more.
    assert bench.statistics.messages["refined"] == 2
    await refinery.refine([chunk(message({"value": 1}), offset=6)])
    assert bench.reasons() == [("tenant_unknown", [0])]


async def test_an_attempt_about_another_record_decides_nothing() -> None:
    bench = Bench()
    refinery = bench.refinery()
    bench.seen.away = True
    with pytest.raises(Outage):
        await refinery.refine([chunk(message({"value": 1}))])
    bench.seen.away = False
    await refinery.refine([chunk(message({"value": 2}))])
    assert [value for _, value, _ in bench.readings()] == [2]


async def test_nothing_is_emitted_before_the_decision_is_recorded() -> None:
    bench = Bench()
    bench.seen.away = True
    with pytest.raises(Outage):
        await bench.refinery().refine([chunk(message({"value": 1}))])
    assert not bench.topics.logs
    assert bench.seen.memory.partition(3).last_offset is None


async def test_a_decision_survives_an_outage_of_the_emission_and_is_emitted_later() -> None:
    bench = Bench()
    refinery, record = bench.refinery(), chunk(message({"value": 1, "dedupe_id": "d"}))
    bench.topics.away = True
    with pytest.raises(Outage):
        await refinery.refine([record])
    bench.topics.away = False
    await refinery.refine([record])
    assert bench.readings() == [(0, 1, "d")]


async def test_tenants_that_cannot_be_asked_decide_nothing() -> None:
    bench = Bench()
    bench.tenants.away = True
    with pytest.raises(Outage):
        await bench.refinery().refine([chunk(message({"value": 1}))])
    assert not bench.topics.logs
    assert not bench.seen.changelog


async def test_a_chunk_of_hostile_payloads_leaves_the_event_loop_to_others_between_them() -> None:
    bench, turns = Bench(), 0

    async def somebody_else() -> None:
        nonlocal turns
        while True:
            turns += 1
            await asyncio.sleep(0)

    other = asyncio.create_task(somebody_else())
    bombs = [message(b'{"value": 1, "x": [' + b"[]," * 21_000 + b"1]") for _ in range(8)]
    small = [message(b"{") for _ in range(492)]
    await bench.refinery().refine([chunk(*bombs, *small)])
    other.cancel()
    assert bench.reasons() == [("payload_not_json", list(range(500)))]
    assert turns >= 8 + 492 // 100


async def test_a_bug_on_one_message_rejects_that_message_alone_with_its_last_line(
    caplog: pytest.LogCaptureFixture,
) -> None:
    bench = Bench()

    def broken(parsed: Any, origin: Any, index: int, *context: Any) -> Any:
        if index == 1:
            raise ZeroDivisionError("division by zero")
        return original(parsed, origin, index, *context)

    original = examining.validate
    with patch.object(examining, "validate", broken):
        await bench.refinery().refine([chunk(*(message({"value": n}) for n in range(3)))])
    assert [index for index, *_ in bench.readings()] == [0, 2]
    (record,) = bench.topics.all("metrics.rejected")
    refused = rejected.decode(record.value)
    assert (refused.stage, refused.reason, refused.messages[0].detail) == (
        "validate",
        "internal_error",
        "ZeroDivisionError: division by zero",
    )
    assert caplog.messages == ["a bug on message 1 of chunk 3-0"]


async def test_a_bug_before_a_message_is_taken_apart_is_one_of_the_first_step() -> None:
    bench = Bench()
    with patch.object(examining, "parse", side_effect=ZeroDivisionError("division by zero")):
        await bench.refinery().refine([chunk(message(b"{"))])
    (record,) = bench.topics.all("metrics.rejected")
    refused = rejected.decode(record.value)
    assert (refused.stage, refused.reason) == ("parse", "internal_error")


async def test_a_refusal_of_a_message_that_the_chunk_does_not_have_stands_for_nothing() -> None:
    bench = Bench()
    record = chunk(message({"value": 1}), message(b"["))
    lying = [Refusal(index, Stage.PARSE, Reason.PAYLOAD_NOT_JSON, "not JSON") for index in (2, 1, 499)]
    decided = Decision(FORMAT, 1, bench.now, digest(record.value), [7], lying, b"")
    await bench.seen.record([(module.Origin(3, 0), decided)])
    await bench.refinery().refine([record])
    assert bench.readings() == [(0, 1, None)]
    assert bench.reasons() == [("payload_not_json", [1])]


async def test_what_another_version_accepted_and_this_one_does_not_is_rejected_and_told(
    caplog: pytest.LogCaptureFixture,
) -> None:
    bench = Bench()
    record = chunk(message(b"{"), message({"value": 1}), message(b"["), message(b"]"), offset=7)
    earlier = Refusal(3, Stage.PARSE, Reason.PAYLOAD_NOT_JSON, "not JSON")
    decided = Decision(FORMAT, 1, bench.now, digest(record.value), [], [earlier], b"")
    await bench.seen.record([(module.Origin(3, 7), decided)])
    await bench.refinery().refine([record])
    assert bench.readings() == [(1, 1, None)]
    assert bench.reasons() == [("payload_not_json", [3, 0, 2])]
    told = "2 messages of the chunk metrics.raw[3] offset 7 were accepted by another version"
    assert caplog.messages == [
        f"{told}, whose rules this one does not share: they are rejected now",
    ]


async def test_a_record_that_is_no_chunk_is_rejected_and_holds_up_nothing(
    caplog: pytest.LogCaptureFixture,
) -> None:
    bench = Bench()
    refinery = bench.refinery()
    await refinery.refine([Record(3, 0, b"\xffrubbish", {})])
    assert [line.partition(" as it is: ")[0] for line in caplog.messages] == [
        "metrics.raw[3] offset 0 goes to metrics.rejected"
    ]
    (record,) = bench.topics.all("metrics.rejected")
    (found,) = rejected.decode(record.value).messages
    assert (found.topic, found.payload, found.size_bytes) == ("", "\ufffdrubbish", 8)
    assert found.detail.startswith("not a chunk: ")
    await refinery.refine([chunk(message({"value": 1}), offset=1)])
    assert bench.reasons() == [("internal_error", [0])]
    assert len(bench.readings()) == 1
    assert bench.statistics.notes["payload_disagrees"] == 0


async def test_another_record_under_a_decided_coordinate_is_not_touched_until_the_position_is_told() -> None:
    bench = Bench()
    refinery = bench.refinery()
    await refinery.refine([chunk(message({"value": 1, "dedupe_id": "d"}))])
    recorded = list(bench.seen.changelog)
    recreated = chunk(message({"value": 1, "dedupe_id": "d"}), message({"value": 2}))
    for _ in range(2):
        with pytest.raises(PositionMoved, match="another record"):
            await refinery.refine([recreated])
    assert bench.readings() == [(0, 1, "d")]
    assert bench.seen.changelog == recorded


async def test_in_the_epoch_that_placing_has_begun_all_is_decided_and_emitted() -> None:
    bench = Bench()
    refinery = bench.refinery()
    await refinery.refine([chunk(message({"value": 1}))])
    await bench.seen.drop_from(3, 0)
    bench.seen.memory.partition(3).epoch = 7
    await refinery.refine([chunk(message({"value": 1}), message({"value": 2}))])
    assert [record.headers["epoch"] for record in bench.topics.all("metrics.unique")] == [b"0", b"7"]
    assert bench.seen.recovered().memory.partition(3).epoch == 7


async def test_workers_that_both_take_the_first_record_for_theirs_emit_the_same() -> None:
    """Else the replay of one could not be told from a chunk of another log."""
    bench = Bench()
    record = chunk(message({"value": 1}))
    for skew_s in (0.0, -60.0):
        bench.now += skew_s
        bench.seen = FakeSeen()
        await bench.refinery().refine([record])
    zombies, owners = bench.topics.all("metrics.unique")
    assert word_for_word(zombies) == word_for_word(owners)
    assert owners.headers["digest"] == digest(record.value).hex().encode()
    assert owners.headers["group"] == b"metric-streams"


async def test_what_is_emitted_is_numbered_without_a_gap_under_one_name() -> None:
    bench = Bench()
    refinery = bench.refinery()
    for offset, payload in enumerate([{"value": 1}, {"value": True}, {"value": 2}, {"value": 3}]):
        await refinery.refine([chunk(message(payload), offset=offset)])
    emitted = bench.topics.all("metrics.unique")
    assert [record.headers[SEQ] for record in emitted] == [b"0", b"1", b"2"]
    assert len({record.headers[WRITER] for record in emitted}) == 1


async def test_where_it_is_not_known_what_has_landed_another_name_goes_on() -> None:
    """A gap in the numbers of one name would say that metrics.unique has lost what never was there."""
    bench = Bench()
    refinery = bench.refinery()
    await refinery.refine([chunk(message({"value": 1}))])
    bench.topics.away = True
    with pytest.raises(Outage):
        await refinery.refine([chunk(message({"value": 2}), offset=1)])
    bench.topics.away = False
    await refinery.refine([chunk(message({"value": 2}), offset=1)])
    first, second = bench.topics.all("metrics.unique")
    assert first.headers[WRITER] != second.headers[WRITER]
    assert second.headers[SEQ] == b"0"


async def test_a_decision_says_what_had_been_emitted_when_it_was_made() -> None:
    bench = Bench()
    refinery = bench.refinery()
    told = []
    for offset, payload in enumerate([{"value": 1}, {"value": True}, {"value": 2}, {"value": 3}]):
        await refinery.refine([chunk(message(payload), offset=offset)])
        told.append(bench.seen.recovered().memory.partition(3).last_emitted)
    assert told == [-1, 0, 0, 2]


async def test_a_metrics_unique_that_has_lost_records_displaces_refine_and_it_is_told_from_where() -> None:
    bench = Bench()
    refinery = bench.refinery()
    for offset in range(3):
        await refinery.refine([chunk(message({"value": offset}), offset=offset)])
    del bench.topics.logs["metrics.unique", 3][1:]
    with pytest.raises(PositionMoved, match="has lost records"):
        await refinery.refine([chunk(message({"value": 3}), offset=3)])
    state = bench.seen.memory.partition(3)
    assert (state.unique_lost_from, state.last_emitted) == (1, 2)


async def test_a_metrics_rejected_that_was_made_anew_displaces_nobody() -> None:
    bench = Bench()
    refinery = bench.refinery()
    for offset in range(3):
        await refinery.refine([chunk(message({"value": 1}), message(b"["), offset=offset)])
    bench.topics.logs["metrics.rejected", 3].clear()
    await refinery.refine([chunk(message(b"["), offset=3)])
    assert bench.reasons() == [("payload_not_json", [0])]


def led(term: int, *values: int, offset: int) -> Record:
    messages = [message({"value": value, "dedupe_id": "d"}) for value in values]
    return chunk(*messages, offset=offset, headers={"term": b"%d" % term})


@pytest.mark.parametrize("together", [True, False])
async def test_a_former_leaders_chunk_that_lands_late_overwrites_nothing(*, together: bool) -> None:
    bench = Bench()
    refinery = bench.refinery()
    records = [led(5, 1, offset=0), led(6, 2, offset=1), led(5, 1, 3, offset=2), led(6, 4, offset=3)]
    for some in [records] if together else [[record] for record in records]:
        await refinery.refine(some)
    assert [value for _, value, _ in bench.readings()] == [1, 2, 4]
    assert bench.statistics.notes["stale_chunks"] == 1
    assert bench.seen.recovered().memory.partition(3).term == 6


async def test_a_former_leaders_chunk_is_known_by_whoever_takes_over_refine() -> None:
    bench = Bench()
    await bench.refinery().refine([led(6, 2, offset=0)])
    bench.seen = bench.seen.recovered()
    await bench.refinery().refine([led(5, 1, offset=1)])
    assert [value for _, value, _ in bench.readings()] == [2]


async def test_a_chunk_before_the_last_decision_is_passed_over() -> None:
    bench = Bench()
    refinery = bench.refinery()
    for offset in range(2):
        await refinery.refine([chunk(message({"value": offset}), offset=offset)])
    await refinery.refine([chunk(message({"value": 0}), offset=0)])
    assert len(bench.readings()) == 2


async def test_a_payload_that_names_another_tenant_is_counted_and_the_topic_believed() -> None:
    bench = Bench()
    await bench.refinery().refine([chunk(message({"value": 1, "tenant_id": OTHER}))])
    assert bench.statistics.notes["payload_disagrees"] == 1
    (record,) = bench.topics.all("metrics.unique")
    assert unique.decode(record.value).readings[0].tenant_id == TENANT


async def test_what_is_over_quota_is_rejected_and_the_rest_of_its_chunk_goes_on() -> None:
    bench = Bench()
    messages = [message({"value": number, "dedupe_id": f"{number}"}) for number in range(5)]
    headers = {OVER_QUOTA: b"1-2,4,7"}
    await bench.refinery().refine([chunk(*messages, headers=headers)])
    assert [value for _, value, _ in bench.readings()] == [0, 3]
    assert bench.reasons() == [("quota_exceeded", [1, 2, 4])]
    assert bench.statistics.rejected == {"quota_exceeded": 3}


async def test_nothing_of_what_is_over_quota_is_looked_at() -> None:
    bench = Bench()
    with patch.object(examining, "parse", side_effect=AssertionError):
        await bench.refinery().refine([chunk(message(b"["), message(b"{"), headers={OVER_QUOTA: b"0-1"})])
    assert bench.reasons() == [("quota_exceeded", [0, 1])]


async def test_what_was_over_quota_stays_rejected_when_its_chunk_comes_again() -> None:
    bench = Bench()
    record = chunk(message({"value": 1, "dedupe_id": "a"}), headers={OVER_QUOTA: b"0"})
    await bench.refinery().refine([record])
    await bench.refinery().refine([record])
    assert bench.readings() == []
    assert bench.reasons() == [("quota_exceeded", [0]), ("quota_exceeded", [0])]
