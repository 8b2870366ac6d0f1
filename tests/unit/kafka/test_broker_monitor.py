"""The watch on Kafka: says what it saw, and is never a danger to the worker."""

from collections.abc import Collection
from types import SimpleNamespace
from typing import Any

import pytest
from aiokafka.errors import KafkaConnectionError
from faust.types import TP

from streams.counters import Statistics
from streams.errors import Outage
from streams.kafka import broker_monitor as watch
from streams.kafka.broker_monitor import BrokerMonitor, check_writable

ONE, OTHER = TP("metrics.raw", 0), TP("metrics.raw", 1)


class FakeEnds:
    def __init__(self) -> None:
        self.fails: Exception | None = None
        self.closed = 0

    async def read(self, tps: Collection[TP]) -> dict[TP, int]:
        if self.fails is not None:
            raise self.fails
        return dict.fromkeys(tps, 42)

    async def close(self) -> None:
        self.closed += 1


class Watched:
    def __init__(self) -> None:
        self.held = {ONE, OTHER}
        self.ends = FakeEnds()
        self.statistics = Statistics()
        self.watch = BrokerMonitor(self.statistics, lambda: self.held, self.ends)


async def test_until_kafka_was_asked_it_counts_as_away() -> None:
    with pytest.raises(Outage):
        await Watched().watch.check()


async def test_the_ends_are_those_of_the_partitions_that_are_held_and_of_no_others() -> None:
    watched = Watched()
    await watched.watch.look()
    watched.held = {OTHER}
    await watched.watch.look()
    assert (watched.watch.end(ONE), watched.watch.end(OTHER)) == (None, 42)
    await watched.watch.check()


@pytest.mark.parametrize(
    "failure",
    [Outage("kafka", "away"), KafkaConnectionError(), OSError(), TimeoutError(), ZeroDivisionError()],
)
async def test_whatever_fails_makes_kafka_away_and_the_next_look_connects_anew(failure: Exception) -> None:
    watched = Watched()
    await watched.watch.look()
    watched.ends.fails = failure
    await watched.watch.looking.take_turn()
    assert watched.ends.closed == 1
    assert not watched.statistics.parts["kafka"].up
    with pytest.raises(Outage):
        await watched.watch.check()
    watched.ends.fails = None
    await watched.watch.look()
    await watched.watch.check()
    assert watched.statistics.parts["kafka"].up


async def test_an_answer_that_is_old_is_none(monkeypatch: pytest.MonkeyPatch) -> None:
    watched = Watched()
    await watched.watch.look()
    monkeypatch.setattr(watch, "STALE_S", -1.0)
    with pytest.raises(Outage, match="no answer for"):
        await watched.watch.check()


def _cluster(leader: int, isr: list[int]) -> Any:
    return SimpleNamespace(_partitions={"metrics.raw": {0: SimpleNamespace(leader=leader, isr=isr)}})


def test_a_partition_with_a_leader_and_copies_enough_takes_records() -> None:
    check_writable(_cluster(1, [1, 2]), ["metrics.raw"], 2)


@pytest.mark.parametrize(
    ("cluster", "said"),
    [
        (_cluster(-1, [1, 2]), r"metrics.raw\[0\] has no leader"),
        (_cluster(1, [1]), "1 of 2 copies that must be in sync"),
        (SimpleNamespace(_partitions={}), "there is no topic metrics.raw"),
    ],
)
def test_a_kafka_that_takes_no_records_is_away_though_it_answers(cluster: Any, said: str) -> None:
    with pytest.raises(Outage, match=said):
        check_writable(cluster, ["metrics.raw"], 2)
