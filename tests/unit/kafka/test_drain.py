"""A worker that drains ends once nothing is left, and not before."""

import asyncio
from collections.abc import Collection
from types import SimpleNamespace

import pytest
from faust.types import TP

from streams.counters import Statistics
from streams.errors import Outage
from streams.kafka.drain import Drain
from streams.kafka.positions import Cursor, Position
from tests.parts.eventually import eventually

RAW, UNIQUE = "metrics.raw", "metrics.unique"
TOPICS = [RAW, UNIQUE]


class Scene:
    """Two partitions of each topic, all of them held and done, each with ten records."""

    def __init__(self) -> None:
        self.log_ends = {TP(topic, number): 10 for topic in TOPICS for number in range(2)}
        self.cursors = {tp: Cursor() for tp in self.log_ends}
        self.committed = dict(self.log_ends)
        self.away, self.ended, self.asked = False, False, list[str]()
        for cursor in self.cursors.values():
            cursor.place(Position(10))

    async def read(self, tps: Collection[TP]) -> dict[TP, int]:
        if self.away:
            raise Outage("kafka", "is away")
        self.asked += sorted({tp.topic for tp in tps})
        return {tp: self.log_ends[tp] for tp in tps}

    async def close(self) -> None: ...

    def end(self) -> None:
        self.ended = True

    @property
    def drain(self) -> Drain:
        app = SimpleNamespace(deliverer=lambda: self, has_consumer=True, statistics=Statistics())
        return Drain(app, self, TOPICS, partitions=2, end=self.end)


async def test_once_all_is_handled_and_committed_it_is_drained() -> None:
    scene = Scene()
    assert await scene.drain.is_drained()
    assert scene.asked == TOPICS, "what refine emits is there once nothing is left for it"


@pytest.mark.parametrize("topic", TOPICS)
async def test_while_a_record_is_left_it_is_not(topic: str) -> None:
    scene = Scene()
    scene.log_ends[TP(topic, 1)] = 11
    assert not await scene.drain.is_drained()


async def test_while_a_position_is_not_known_it_is_not() -> None:
    scene = Scene()
    scene.cursors[TP(RAW, 0)].hold()
    assert not await scene.drain.is_drained()


async def test_while_another_worker_has_a_partition_it_is_not() -> None:
    scene = Scene()
    del scene.cursors[TP(UNIQUE, 0)]
    assert not await scene.drain.is_drained()


async def test_that_others_have_partitions_is_said_now_and_then(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr("streams.kafka.drain.EVERY_S", 0.0)
    monkeypatch.setattr("streams.kafka.drain.SHARED_AFTER", 2)
    scene = Scene()
    del scene.cursors[TP(UNIQUE, 0)]
    drain = scene.drain
    await drain.start()
    await eventually(lambda: "others hold 1 partitions" in caplog.text)
    await drain.stop()
    assert not scene.ended


async def test_while_what_is_done_is_not_committed_it_is_not() -> None:
    scene = Scene()
    scene.committed[TP(RAW, 0)] = 9
    assert not await scene.drain.is_drained()


async def test_an_empty_partition_has_nothing_to_be_committed() -> None:
    scene = Scene()
    tp = TP(RAW, 0)
    scene.log_ends[tp] = 0
    scene.cursors[tp].place(Position(0))
    del scene.committed[tp]
    assert await scene.drain.is_drained()


async def test_it_looks_until_kafka_answers_and_then_ends_the_worker_once(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("streams.kafka.drain.EVERY_S", 0.0)
    scene = Scene()
    scene.away = True
    drain = scene.drain
    await drain.start()
    for _ in range(20):
        await asyncio.sleep(0)
    assert not scene.ended
    scene.away = False
    await eventually(lambda: scene.ended)
    await drain.stop()
