"""The agents' loop: in order, retried on an outage, acknowledged only after the effects."""

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass, field
from types import SimpleNamespace
from typing import Any, Self, cast

import pytest
from faust.types import TP

from agents import loop
from agents.loop import Record, carry
from streams.errors import Displaced, Outage
from streams.kafka.positions import Cursor
from streams.statistics import Statistics
from tests.parts.faust_stream import FakeStream

TOPIC = TP("metrics.raw", 0)


@dataclass
class FakeEvent:
    offset: int
    acked: bool = False

    @property
    def message(self) -> Any:
        return SimpleNamespace(
            topic=TOPIC.topic,
            partition=0,
            offset=self.offset,
            value=b"v%d" % self.offset,
            headers=None,
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
    deliverer.of.place(start)
    events = [FakeEvent(offset) for offset in offsets]
    stream: Any = FakeStream(events)
    statistics = Statistics()
    await carry(stream, lambda: deliverer, work, statistics)
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
        deliverer.of.place(0)
        stream: Any = FakeStream([FakeEvent(offset) for offset in range(5)])
        await carry(stream, deliverer.itself, work, Statistics(), at_most=at_most)
        assert taken == expected
        assert deliverer.of.expected == 5
        taken.clear()


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
    deliverer.of.place(0)
    stream: Any = FakeStream([FakeEvent(0)])
    await carry(stream, lambda: deliverer, work, Statistics())
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
    ran = await _carry(Work(Displaced("the fence moved")), 0)
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
    deliverer.of.place(0)
    stream: Any = FakeStream([FakeEvent(0)])
    deliverer.of.hold()
    await asyncio.wait_for(carry(stream, lambda: deliverer, work, Statistics()), 30)
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
