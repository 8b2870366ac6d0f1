"""What runs in the background goes on after a bug, is heard of, and ends when it is told to."""

import asyncio
from collections.abc import AsyncIterator, Callable

import pytest

from streams.background import Background
from streams.counters import Note, Statistics
from streams.errors import Outage
from tests.parts.eventually import eventually


class Watcher:
    """Takes turns, and fails in those that it is told to."""

    def __init__(self) -> None:
        self.turns = 0
        self.fails: Callable[[int], BaseException | None] = lambda _turn: None
        self.bugs: list[Exception] = []
        self.statistics = Statistics()

    async def look(self) -> None:
        self.turns += 1
        if (error := self.fails(self.turns)) is not None:
            raise error

    async def on_bug(self, bug: Exception) -> None:
        self.bugs.append(bug)

    def background(self, every_s: float = 0.0, *, first_at_once: bool = True) -> Background:
        return Background(
            "the watcher",
            self.look,
            every_s,
            self.statistics,
            meaning="What it watches goes on",
            first_at_once=first_at_once,
            on_bug=self.on_bug,
        )


@pytest.fixture
def watcher() -> Watcher:
    return Watcher()


@pytest.fixture
async def background(watcher: Watcher) -> AsyncIterator[Background]:
    made = watcher.background()
    yield made
    await made.end()


async def test_after_a_turn_that_raises_comes_the_next(
    watcher: Watcher, background: Background, caplog: pytest.LogCaptureFixture
) -> None:
    watcher.fails = lambda turn: ZeroDivisionError("oh") if turn == 2 else None
    background.begin()
    await eventually(lambda: watcher.turns > 3)
    assert "the watcher has a bug: ZeroDivisionError('oh'). What it watches goes on" in caplog.text
    assert watcher.statistics.notes[Note.BUGS] == 1
    assert [repr(bug) for bug in watcher.bugs] == ["ZeroDivisionError('oh')"]


async def test_an_outage_that_a_turn_lets_out_is_a_bug_as_well(
    watcher: Watcher, background: Background
) -> None:
    """Who can meet one says in its turn what that means."""
    watcher.fails = lambda _turn: Outage("kafka", "is away")
    background.begin()
    await eventually(lambda: watcher.statistics.notes[Note.BUGS] > 1)


async def test_a_bug_in_what_is_told_of_bugs_ends_nothing(watcher: Watcher) -> None:
    async def worse(bug: Exception) -> None:
        raise ValueError from bug

    watcher.on_bug = worse  # type: ignore[method-assign]
    broken = watcher.background()
    watcher.fails = lambda _turn: ZeroDivisionError()
    broken.begin()
    await eventually(lambda: watcher.turns > 2)
    await broken.end()
    assert watcher.statistics.notes[Note.BUGS] > watcher.turns


async def test_a_cancellation_ends_it_and_is_no_bug(watcher: Watcher, background: Background) -> None:
    watcher.fails = lambda _turn: asyncio.CancelledError()
    background.begin()
    await eventually(lambda: not background.is_running)
    assert watcher.turns == 1
    assert not watcher.statistics.notes


async def test_a_turn_that_loses_a_cancellation_does_not_keep_it_from_ending(watcher: Watcher) -> None:
    lost = asyncio.Event()

    async def swallows() -> None:
        try:
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            if lost.is_set():
                raise
            lost.set()

    watcher.look = swallows  # type: ignore[method-assign]
    background = watcher.background()
    background.begin()
    await asyncio.sleep(0)
    async with asyncio.timeout(10):
        await background.end(again_s=0.01)
    assert lost.is_set()
    assert not background.is_running


async def test_it_begins_once_however_often_it_is_told(watcher: Watcher) -> None:
    background = watcher.background(every_s=3600.0)
    background.begin()
    background.begin()
    await eventually(lambda: watcher.turns == 1)
    await background.end()
    background.begin()
    await eventually(lambda: watcher.turns == 2)
    await background.end()


async def test_what_is_not_begun_ends_at_once(watcher: Watcher) -> None:
    await watcher.background().end()
    assert watcher.turns == 0


async def test_the_first_turn_may_wait(watcher: Watcher) -> None:
    background = watcher.background(every_s=3600.0, first_at_once=False)
    background.begin()
    for _ in range(5):
        await asyncio.sleep(0)
    assert watcher.turns == 0
    await background.end()
