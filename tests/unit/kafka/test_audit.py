"""The audit: what a position rests on is looked at also where nothing flows."""

import logging
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass, field

import pytest
from faust.types import TP

from streams.counters import Statistics
from streams.errors import Outage
from streams.kafka.audit import MOVED, NOT_THERE, SHORTER, Audit
from streams.kafka.log_reader import FakeLogReader, LogRecord
from streams.kafka.positions import Cursor, LogRange, Position

RAW = TP("metrics.raw", 0)
OTHER = TP("metrics.raw", 1)


def record(offset: int, value: bytes = b"") -> LogRecord:
    return LogRecord(offset, value or b"v%d" % offset, {})


class Source:
    """Says that its effects stand, or not."""

    def __init__(self, *, holding: bool = True) -> None:
        self.holding = holding
        self.on_asked: Callable[[], None] = lambda: None

    async def position(self, partition: int, log: LogRange) -> Position:
        raise AssertionError(f"nobody asks {self} for {partition} of {log}")

    async def holds(self, partition: int) -> bool:
        self.on_asked()
        assert partition == RAW.partition
        return self.holding


@dataclass
class Group:
    """Holds every partition but those that are named."""

    missing: Collection[TP] = ()

    async def unheld(self) -> Collection[TP]:
        return self.missing

    async def close(self) -> None:
        """Do nothing."""


@dataclass
class Bench:
    """A consumer with one partition at offset 2, and all that the audit asks."""

    log: Sequence[LogRecord] = field(default_factory=lambda: [record(0), record(1)])
    source: Source = field(default_factory=Source)
    group: Group = field(default_factory=Group)
    cursors: dict[TP, Cursor] = field(default_factory=dict)
    doubts: list[tuple[TP, str]] = field(default_factory=list)
    refreshed: int = 0

    def __post_init__(self) -> None:
        self.cursors[RAW] = Cursor()
        self.cursors[RAW].place(Position(2, record(1).anchor))
        self.audit = Audit(
            {RAW.topic: self.source},
            FakeLogReader(lambda _: self.log),
            self.group,
            self._refresh,
            Statistics(),
        )
        self.audit._consumer = self

    def doubt(self, tp: TP, why: str) -> None:
        self.doubts.append((tp, why))

    async def _refresh(self) -> None:
        self.refreshed += 1


async def test_what_stands_as_it_stood_is_left_alone() -> None:
    bench = Bench()
    await bench.audit.look()
    assert (bench.doubts, bench.audit.unheld()) == ([], [])


@pytest.mark.parametrize(
    ("log", "why"),
    [
        ([record(0), record(1, b"another")], NOT_THERE),
        ([record(0)], SHORTER),
        ([record(0), record(1, b"another"), record(2)], NOT_THERE),
    ],
    ids=["made anew", "set back", "made anew and longer"],
)
async def test_a_log_that_is_another_one_is_noticed_though_nothing_comes(
    log: list[LogRecord], why: str
) -> None:
    bench = Bench(log=log)
    await bench.audit.look()
    assert bench.doubts == [(RAW, why)]


async def test_a_partition_that_leaves_during_a_look_is_no_bug() -> None:
    bench = Bench()
    bench.cursors[OTHER] = bench.cursors[RAW]
    bench.source.on_asked = bench.cursors.clear
    await bench.audit.look()
    assert bench.doubts == []


async def test_effects_that_moved_are_noticed_though_nothing_comes() -> None:
    bench = Bench(source=Source(holding=False))
    await bench.audit.look()
    assert bench.doubts == [(RAW, MOVED)]


async def test_a_partition_whose_position_is_unknown_is_left_to_its_placing() -> None:
    bench = Bench(log=[])
    bench.cursors[RAW].hold()
    await bench.audit.look()
    assert bench.doubts == []


async def test_what_nobody_holds_at_two_looks_in_a_row_is_told_and_asked_for(
    caplog: pytest.LogCaptureFixture,
) -> None:
    bench = Bench(group=Group(missing=[OTHER]))
    await bench.audit.look()
    assert (bench.audit.unheld(), bench.refreshed) == ([], 0)
    with caplog.at_level(logging.WARNING):
        await bench.audit.look()
    assert (bench.audit.unheld(), bench.refreshed) == ([OTHER], 1)
    assert "no worker holds metrics.raw[1]" in caplog.text
    bench.group.missing = []
    await bench.audit.look()
    assert bench.audit.unheld() == []


async def test_a_broker_that_denies_what_this_worker_holds_is_not_believed() -> None:
    bench = Bench(group=Group(missing=[RAW, OTHER]))
    for _ in range(3):
        await bench.audit.look()
    assert (bench.audit.unheld(), bench.refreshed) == ([], 0)


async def test_an_outage_while_looking_is_not_the_audits_to_tell() -> None:
    bench = Bench()

    async def away(_partition: int) -> bool:
        raise Outage("redis", "is away")

    bench.source.holds = away  # type: ignore[method-assign]
    with pytest.raises(Outage):
        await bench.audit.look()
    assert bench.doubts == []
