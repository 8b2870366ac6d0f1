"""The agents' loop: in order, retried on an outage, acknowledged only after the effects."""

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass, field
from types import SimpleNamespace
from typing import Any, Self, cast

import pytest
from faust.types import TP

from streams.counters import Statistics
from streams.errors import MetricStreamsError, NewerFormat, Outage, PositionMoved, StartupRefused
from streams.kafka import record_loop as loop
from streams.kafka.positions import Anchor, Cursor, Position
from streams.kafka.record_loop import Record, process_in_order
from streams.wire.decision import digest
from streams.wire.headers import OVER_QUOTA, ChainLink
from tests.parts.faust_stream import FakeStream

TOPIC = TP("metrics.raw", 0)


@dataclass
class FakeEvent:
    offset: int
    acked: bool = False
    headers: tuple[tuple[str, bytes], ...] | None = None

    @property
    def message(self) -> Any:
        return SimpleNamespace(
            topic=TOPIC.topic,
            partition=0,
            offset=self.offset,
            value=b"v%d" % self.offset,
            headers=self.headers,
            timestamp=1_795_442_400.123,
        )

    def ack(self) -> None:
        self.acked = True


@dataclass
class FakeDeliverer:
    flow_active: bool = True
    is_stopping: bool = False
    of: Cursor = field(default_factory=Cursor)
    rewinds: list[int] = field(default_factory=list)
    repositions: int = 0
    asked: int = 0
    """How often the log was asked for the record that was finished last."""
    answers: list[bool | Outage] = field(default_factory=list)
    refused: list[MetricStreamsError] = field(default_factory=list)

    def itself(self) -> Self:
        return self

    def cursor(self, tp: TP) -> Cursor:
        assert tp == TOPIC
        return self.of

    def finished(self, _tp: TP, offset: int) -> None:
        self.of.done(offset)

    async def rewind(self, _tp: TP, offset: int) -> None:
        self.rewinds.append(offset)

    async def reposition(self, _tp: TP) -> None:
        self.repositions += 1

    async def confirms(self, _tp: TP) -> bool:
        self.asked += 1
        answer = self.answers.pop(0)
        if isinstance(answer, Outage):
            raise answer
        return answer

    def refuse(self, why: MetricStreamsError) -> None:
        self.refused.append(why)


class Work:
    """Fails as told, then works."""

    def __init__(self, *failures: Exception) -> None:
        self.failures = list(failures)
        self.done: list[int] = []
        self.tries = 0

    async def __call__(self, records: Sequence[Record]) -> None:
        self.tries += 1
        if self.failures:
            raise self.failures.pop(0)
        self.done += [record.offset for record in records]


async def _carry(work: Work, *offsets: int, start: int = 0, deliverer: FakeDeliverer | None = None) -> Any:
    deliverer = deliverer or FakeDeliverer()
    deliverer.of.place(Position(start))
    return await _carry_events(work, [FakeEvent(offset) for offset in offsets], deliverer)


async def _carry_events(work: Work, events: list[FakeEvent], deliverer: FakeDeliverer) -> Any:
    stream: Any = FakeStream(events)
    statistics = Statistics()
    await process_in_order(stream, lambda: deliverer, work, statistics)
    return SimpleNamespace(
        deliverer=deliverer, acked=[e.offset for e in events if e.acked], statistics=statistics
    )


async def test_records_in_order_are_worked_and_acknowledged() -> None:
    work = Work()
    ran = await _carry(work, 0, 1, 2)
    assert work.done == ran.acked == [0, 1, 2]
    assert ran.deliverer.of.expected == 3


async def test_what_waits_is_taken_together_until_it_is_enough(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(loop, "ENOUGH_BYTES", 6)  # three records
    taken: list[list[int]] = []

    async def work(records: Sequence[Record]) -> None:
        taken.append([record.offset for record in records])

    for at_most, expected in ((8, [[0, 1, 2], [3, 4]]), (2, [[0, 1], [2, 3], [4]])):
        deliverer = FakeDeliverer()
        deliverer.of.place(Position(0))
        stream: Any = FakeStream([FakeEvent(offset) for offset in range(5)])
        await process_in_order(stream, deliverer.itself, work, Statistics(), at_most=at_most)
        assert taken == expected
        assert deliverer.of.expected == 5
        taken.clear()


async def test_what_nobody_looks_at_counts_for_little(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(loop, "ENOUGH_BYTES", 2)
    taken: list[list[int]] = []

    async def work(records: Sequence[Record]) -> None:
        taken.append([record.offset for record in records])

    deliverer = FakeDeliverer()
    deliverer.of.place(Position(0))
    unread = ((OVER_QUOTA, b"0-499"),)
    events = [FakeEvent(0), *[FakeEvent(offset, headers=unread) for offset in range(1, 5)], FakeEvent(5)]
    stream: Any = FakeStream(events)
    await process_in_order(stream, deliverer.itself, work, Statistics(), at_most=8)
    assert taken == [[0], [1, 2, 3, 4, 5]]


async def test_of_what_waits_only_what_is_next_is_taken_and_the_rest_is_asked_for() -> None:
    work = Work()
    ran = await _carry(work, 0, 1, 1, 0, 2, 4, 5)
    assert (work.done, work.tries) == ([0, 1, 2], 1)
    assert ran.deliverer.rewinds == [3]
    assert ran.acked == [0, 1, 1, 0, 2, 4, 5]


async def test_the_work_is_told_when_a_record_was_produced() -> None:
    told: list[int] = []

    async def work(records: Sequence[Record]) -> None:
        told.extend(record.timestamp_ms for record in records)

    deliverer = FakeDeliverer()
    deliverer.of.place(Position(0))
    stream: Any = FakeStream([FakeEvent(0)])
    await process_in_order(stream, lambda: deliverer, work, Statistics())
    assert told == [1_795_442_400_123]


async def test_an_outage_is_waited_out_and_then_said_to_be_over(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(loop, "RETRY_FIRST_S", 0.001)
    work = Work(Outage("redis", "away"), Outage("redis", "away"))
    ran = await _carry(work, 0)
    assert (work.tries, work.done, ran.acked) == (3, [0], [0])
    assert ran.statistics.parts["redis"].up


async def test_a_bug_is_tried_again_and_never_skips_the_record(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(loop, "RETRY_FIRST_S", 0.001)
    work = Work(ZeroDivisionError("a bug"))
    ran = await _carry(work, 0, 1)
    assert work.done == ran.acked == [0, 1]
    assert "a bug holds up metrics.raw[0] at offset 0" in caplog.text


async def test_when_the_partition_is_taken_away_an_outage_is_given_up_and_the_record_stays_to_be_done() -> (
    None
):
    work = Work(Outage("redis", "away"))
    ran = await _carry(work, 0, deliverer=FakeDeliverer(flow_active=False))
    assert (work.tries, work.done) == (1, [])
    assert ran.deliverer.of.expected == 0
    assert ran.acked == [0]  # or the rebalance would wait for it


async def test_a_worker_that_ends_does_not_wait_for_a_part_that_is_away() -> None:
    stopping = FakeDeliverer()

    async def work(_record: Record) -> None:
        stopping.is_stopping = True
        raise Outage("redis", "away")

    ran = await _carry(cast("Work", work), 0, 1, 2, deliverer=stopping)
    assert ran.acked == [0, 1, 2]  # or Faust's stop would wait for them
    assert (ran.deliverer.of.expected, ran.deliverer.rewinds) == (0, [])


async def test_a_displaced_agent_asks_for_its_position_and_has_finished_nothing() -> None:
    ran = await _carry(Work(PositionMoved("the fence moved")), 0)
    assert ran.deliverer.repositions == 1
    assert ran.deliverer.of.expected == 0


async def test_a_record_ahead_is_not_worked_and_one_rewind_is_asked_for() -> None:
    work = Work()
    ran = await _carry(work, 5, 6, 7, start=4)
    assert (work.done, ran.deliverer.rewinds) == ([], [4])
    assert ran.deliverer.of.expected == 4


async def test_a_record_behind_is_acknowledged_without_work() -> None:
    work = Work()
    ran = await _carry(work, 3, 4, start=4)
    assert (work.done, ran.acked) == ([4], [3, 4])


async def test_a_held_partition_works_nothing() -> None:
    work, deliverer = Work(), FakeDeliverer()
    deliverer.of.place(Position(0))
    stream: Any = FakeStream([FakeEvent(0)])
    deliverer.of.hold()
    await asyncio.wait_for(process_in_order(stream, lambda: deliverer, work, Statistics()), 30)
    assert work.done == []


async def test_an_outage_is_noted_for_the_watchdog_and_forgotten_when_the_work_is_done(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(loop, "RETRY_FIRST_S", 0.001)
    ran = await _carry(Work(Outage("redis", "away"), Outage("redis", "away")), 0)
    assert (ran.deliverer.of.outages, ran.deliverer.of.held_up_by) == (2, "")


async def test_what_holds_up_a_partition_is_told_and_a_bug_is_no_outage() -> None:
    stopping = FakeDeliverer(flow_active=False)
    ran = await _carry(Work(ZeroDivisionError("a bug")), 0, deliverer=stopping)
    assert (ran.deliverer.of.outages, ran.deliverer.of.held_up_by) == (0, loop.BUG)
    again = FakeDeliverer(flow_active=False)
    ran = await _carry(Work(Outage("redis", "away")), 0, deliverer=again)
    assert (ran.deliverer.of.outages, ran.deliverer.of.held_up_by) == (1, "redis")


def written(offset: int, seq: int, writer: bytes = b"a") -> FakeEvent:
    return FakeEvent(offset, headers=(("writer", writer), ("seq", b"%d" % seq)))


THE_SAME_LOG, ANOTHER_LOG = True, False


def behind(*answers: bool | Outage) -> FakeDeliverer:
    """Return a consumer that stands at offset 5, where writer `a` has written its record 4 before."""
    deliverer = FakeDeliverer(answers=list(answers))
    deliverer.of.place(Position(5))
    deliverer.of.passed(Anchor(4, b"8 bytes."), [{"writer": b"a", "seq": b"4"}])
    return deliverer


async def test_records_that_follow_ask_the_log_nothing_and_leave_what_the_next_must_follow() -> None:
    work, deliverer = Work(), behind()
    await _carry_events(
        work, [written(5, 5), written(6, 0, b"b"), written(7, 6)], deliverer=behind(THE_SAME_LOG)
    )
    await _carry_events(work, [written(5, 5), written(6, 6)], deliverer)
    assert deliverer.asked == 0
    assert deliverer.of.anchor == Anchor(6, digest(b"v6"), ChainLink(b"a", 6))
    assert deliverer.of.writers == {b"a": 6}


async def test_a_record_that_does_not_follow_is_worked_where_the_log_still_has_the_one_before() -> None:
    work, deliverer = Work(), behind(THE_SAME_LOG)
    await _carry_events(work, [written(5, 0, b"b")], deliverer)
    assert (work.done, deliverer.asked, deliverer.repositions) == ([5], 1, 0)
    assert deliverer.of.writers == {b"a": 4, b"b": 0}


async def test_a_record_that_does_not_follow_in_another_log_is_not_worked_and_the_position_is_told_anew() -> (
    None
):
    work, deliverer = Work(), behind(ANOTHER_LOG)
    await _carry_events(work, [written(5, 0, b"b")], deliverer)
    assert (work.tries, deliverer.repositions, deliverer.of.expected) == (0, 1, 5)
    assert deliverer.of.anchor == Anchor(4, b"8 bytes.")


async def test_while_it_cannot_be_told_whether_the_log_is_the_same_nothing_is_worked(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(loop, "RETRY_FIRST_S", 0.001)
    work, deliverer = Work(), behind(Outage("kafka", "away"), Outage("kafka", "away"), ANOTHER_LOG)
    ran = await _carry_events(work, [written(5, 9)], deliverer)
    assert (work.tries, deliverer.asked, deliverer.repositions, deliverer.of.outages) == (0, 3, 1, 2)
    assert not ran.statistics.parts["kafka"].troubles  # it is told no more once the question is answered


async def test_a_record_of_a_newer_format_ends_the_worker_and_is_never_worked_nor_passed_over() -> None:
    work, deliverer = Work(), behind()
    newer = FakeEvent(6, headers=(("format", b"2"),))
    await _carry_events(work, [written(5, 5), newer], deliverer)
    (why,) = deliverer.refused
    assert isinstance(why, NewerFormat)
    assert "format 2" in str(why)
    assert (work.tries, deliverer.of.expected) == (0, 5)


@pytest.mark.parametrize(
    "refusal", [NewerFormat("the fence in Redis", 2, 1), StartupRefused("the fence is another group's")]
)
async def test_work_that_must_not_go_on_ends_the_worker(refusal: MetricStreamsError) -> None:
    work, deliverer = Work(refusal), behind()
    ran = await _carry_events(work, [written(5, 5)], deliverer)
    assert deliverer.refused == [refusal]
    assert (work.tries, deliverer.of.expected, ran.acked) == (1, 5, [5])
