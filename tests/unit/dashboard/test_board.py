"""Each second reaches every page once, parts are asked while somebody looks, and a stop lets the pages go."""

import asyncio
import json
from collections.abc import AsyncIterator
from typing import Any

import pytest

from streams.counters import Statistics
from streams.dashboard.board import MOST_WATCHERS, Board, TooManyWatch
from streams.dashboard.peers import Peers
from streams.dashboard.sampler import OwnFigures, Sampler
from streams.dashboard.summary import PartSeen
from streams.web.shared import PartHealth
from tests.parts.eventually import eventually


class FakeExchange:
    def __init__(self) -> None:
        self.standing = PartSeen(up=True)
        self.queued = None
        self.peers = Peers()
        self.told: list[bytes] = []
        self.has_left = False

    async def swap(self, told: bytes) -> None:
        self.told.append(told)

    async def leave(self) -> None:
        self.has_left = True


class FakeWorker:
    is_broken = False

    def seen(self) -> OwnFigures:
        if self.is_broken:
            raise ValueError("a bug")
        return OwnFigures(leads=True, rebalances=0, partitions={}, lag={})


class Scene:
    def __init__(self) -> None:
        self.exchange = FakeExchange()
        self.worker = FakeWorker()
        self.asked = 0
        self.is_up = True
        sampler = Sampler(
            "me-1",
            "1",
            Statistics(),
            self.worker,
            topics=("r", "u"),
            peers=self.exchange.peers,
            queued=lambda: None,
        )
        self.board = Board(sampler, self.exchange, self._readiness, list, group="g", statistics=Statistics())

    async def _readiness(self) -> dict[str, PartHealth]:
        self.asked += 1
        return {"redis": PartHealth(self.is_up, "" if self.is_up else "gone")}

    async def second(self) -> dict[str, Any]:
        told = await self.board.next()
        assert told is not None
        found: dict[str, Any] = json.loads(told)
        return found


@pytest.fixture
async def scene(monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Scene]:
    monkeypatch.setattr("streams.dashboard.board.EVERY_S", 0.01)
    scene = Scene()
    await scene.board.start()
    yield scene
    await scene.board.stop()


async def test_all_pages_are_sent_the_same_bytes(scene: Scene) -> None:
    first, second = await asyncio.gather(scene.board.next(), scene.board.next())
    assert first is second


async def test_what_is_sent_tells_the_worker_and_the_figures(scene: Scene) -> None:
    second = await scene.second()
    assert second["worker"] == "me-1"
    assert second["group"] == "g"
    assert second["workers"][0]["silent_s"] == 0
    assert second["exchange"]["up"] is True
    assert second["figures"]["received"] == 0


async def test_nobody_is_asked_while_nobody_watches(scene: Scene) -> None:
    await scene.second()
    await scene.second()
    assert scene.asked == 0
    with scene.board.watching():
        await eventually(lambda: scene.asked > 1)
    asked = scene.asked + 1  # one may be under way
    await scene.second()
    await scene.second()
    assert scene.asked <= asked


async def test_a_part_that_goes_down_is_told_with_its_since(scene: Scene) -> None:
    with scene.board.watching():
        await eventually(lambda: scene.asked > 0)
        scene.is_up = False

        async def part() -> Any:
            found = (await scene.second())["parts"].get("redis", {"up": True})
            return None if found["up"] else found

        part_ = await eventually(part)
        assert part_["detail"] == "gone"
        assert part_["since"] > 0
        assert (await eventually(part))["since"] == part_["since"]


async def test_there_are_no_more_pages_than_may_be(scene: Scene) -> None:
    pages = [scene.board.watching() for _ in range(MOST_WATCHERS)]
    for page in pages:
        page.__enter__()
    with pytest.raises(TooManyWatch), scene.board.watching():
        pass
    for page in pages:
        page.__exit__(None, None, None)
    assert scene.board.watchers == 0


async def test_a_stop_lets_the_pages_go_and_leaves_the_others(scene: Scene) -> None:
    waiting = asyncio.create_task(_last(scene))
    await scene.board.stop()
    assert await waiting is None
    assert await scene.board.next() is None
    assert scene.exchange.has_left


async def _last(scene: Scene) -> bytes | None:
    while (told := await scene.board.next()) is not None:
        pass
    return told


async def test_a_bug_is_logged_and_the_next_second_comes(
    scene: Scene, caplog: pytest.LogCaptureFixture
) -> None:
    scene.worker.is_broken = True
    await eventually(lambda: "the dashboard has a bug" in caplog.text)
    scene.worker.is_broken = False
    assert await scene.board.next()


async def test_the_history_is_that_of_the_ring(scene: Scene) -> None:
    await scene.second()
    history = json.loads(scene.board.history())
    assert len(history["at"]) == len(history["received"]) >= 1
