"""Placing a partition: whatever comes of asking, it is asked again, refused or placed."""

import asyncio
import logging
from contextlib import suppress
from types import SimpleNamespace
from typing import Any

import pytest
from faust.types import TP

from streams.counters import Statistics
from streams.errors import MetricStreamsError, NewerFormat, Outage, StartupRefused
from streams.kafka import consumer as module
from streams.kafka.consumer import OrderedConsumer
from streams.kafka.positions import LogRange, Position

RAW = TP("metrics.raw", 0)
PLACE = Position(7)


class Source:
    """Answers as it is told, one after the other."""

    def __init__(self, *answers: Position | Exception) -> None:
        self.answers = list(answers)

    async def position(self, _partition: int, _log: LogRange) -> Position:
        answer = self.answers.pop(0)
        if isinstance(answer, Exception):
            raise answer
        return answer


class Consumer(OrderedConsumer):
    """A consumer without Kafka."""

    def __init__(self, source: "Source | Deaf") -> None:
        self.refused: list[MetricStreamsError] = []
        self.sent_to: list[int] = []
        self.app: Any = SimpleNamespace(
            statistics=Statistics(), refuse=self.refused.append, should_stop=False
        )
        self.cursors = {}
        self._sources: Any = {RAW.topic: source}
        self._ranges = {}
        self._lanes: Any = SimpleNamespace(clear=lambda _tp: None, close=lambda: None)
        self._placing = {}
        self._assignments = 0

    async def log_range(self, _tp: TP) -> LogRange:
        return LogRange(0, 9)

    async def _send_to(self, _tp: TP, offset: int) -> None:
        self.sent_to.append(offset)


@pytest.fixture(autouse=True)
def _no_waits(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "delays", lambda: iter([0.0] * 10))


@pytest.mark.parametrize("trouble", [Outage("redis", "is away"), ValueError("a bug")], ids=["outage", "bug"])
async def test_after_an_outage_or_a_bug_the_position_is_asked_for_again(
    trouble: Exception, caplog: pytest.LogCaptureFixture
) -> None:
    consumer = Consumer(Source(trouble, trouble, PLACE))
    with caplog.at_level(logging.ERROR):
        await consumer.reposition(RAW)
    assert consumer.sent_to == [PLACE.offset]
    assert consumer.cursor(RAW).expected == PLACE.offset
    assert len(caplog.records) == 2 * isinstance(trouble, ValueError)


async def test_what_fails_because_the_worker_ends_is_told_as_no_bug(caplog: pytest.LogCaptureFixture) -> None:
    consumer = Consumer(Source(RuntimeError("Event loop is closed"), PLACE))
    consumer.app.should_stop = True
    await consumer.reposition(RAW)
    assert caplog.records == []
    assert not consumer.app.statistics.notes


@pytest.mark.parametrize("refusal", [StartupRefused("another group"), NewerFormat("a row", 3, 2)])
async def test_what_must_not_be_read_ends_the_worker_and_stays_held(refusal: MetricStreamsError) -> None:
    consumer = Consumer(Source(refusal))
    await consumer.reposition(RAW)
    assert (consumer.refused, consumer.sent_to) == ([refusal], [])
    assert consumer.cursor(RAW).next_fetch is None


class Deaf:
    """Is at it when the partitions are revoked, and loses the cancellation."""

    def __init__(self) -> None:
        self.asked, self.revoked = asyncio.Event(), asyncio.Event()

    async def position(self, _partition: int, _log: LogRange) -> Position:
        self.asked.set()
        with suppress(asyncio.CancelledError):
            await self.revoked.wait()
        return PLACE


async def test_what_is_placed_for_an_earlier_assignment_counts_for_nothing() -> None:
    source = Deaf()
    consumer = Consumer(source)
    placing = consumer._placing[RAW] = asyncio.create_task(consumer._place(RAW))
    await source.asked.wait()
    consumer._let_go()
    await asyncio.wait({placing})
    assert not placing.cancelled()
    assert consumer.sent_to == []
    assert consumer.cursor(RAW).next_fetch is None
