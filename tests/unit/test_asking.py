"""A part is asked now and then, so that an idle worker knows of it, and what it answers has no prefix."""

from functools import partial

import pytest

from streams.asking import Asking
from streams.counters import Statistics
from streams.errors import Outage
from streams.web.shared import ask_all, ready_page
from tests.parts.eventually import eventually


class Part:
    def __init__(self) -> None:
        self.asked = 0
        self.away = False

    async def __call__(self) -> None:
        self.asked += 1
        if self.away:
            raise Outage("redis", "Connection refused")


async def test_what_a_part_answers_is_noted_until_it_is_stopped(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("streams.asking.ASK_EVERY_S", 0.001)
    statistics, part = Statistics(), Part()
    asking = Asking("redis", part, statistics)
    await asking.start()
    await eventually(lambda: "redis" in statistics.parts and statistics.parts["redis"].up)
    part.away = True
    await eventually(lambda: not statistics.parts["redis"].up)
    assert statistics.parts["redis"].detail == "Connection refused"
    part.away = False
    await eventually(lambda: statistics.parts["redis"].up)
    await asking.stop()
    asked = part.asked
    assert statistics.parts["redis"].up
    assert part.asked == asked


@pytest.mark.parametrize("part", ["redis", "mqtt", "kafka", "postgres"])
async def test_the_readiness_page_names_a_part_once(part: str) -> None:
    statistics = Statistics()
    statistics.down(part, "somebody", Outage(part, "Connection refused").detail)
    body, status = ready_page(await ask_all({part: partial(statistics.ask, part)}))
    assert status == 503
    assert body["parts"] == {part: {"up": False, "detail": "Connection refused"}}
