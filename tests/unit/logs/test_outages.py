"""An outage is told once when it begins and once when it is over, however many meet it and how often."""

import logging

import pytest
from hypothesis import given
from hypothesis import strategies as st

from streams.counters import NOT_ASKED, Statistics
from streams.errors import Outage
from streams.logs.outages import REMIND_EVERY_S, SETTLED_S, TOLD_AFTER_S, OutageLog, in_short

LOGGER = "streams.logs.outages"


class Night:
    """Statistics, the log of their outages, and a clock that is turned by hand."""

    def __init__(self) -> None:
        self.statistics = Statistics()
        self.log = OutageLog(self.statistics)
        self.now = 1_000.0

    def passes(self, seconds: float) -> None:
        for _ in range(round(seconds)):
            self.now += 1
            self.log.look(self.now)


@pytest.fixture
def night(caplog: pytest.LogCaptureFixture) -> Night:
    caplog.set_level(logging.INFO)
    return Night()


def test_an_outage_is_told_once_with_what_waits_and_once_when_it_is_over(
    night: Night, caplog: pytest.LogCaptureFixture
) -> None:
    night.passes(3)
    night.statistics.down("redis", "site.unique[0]", "Connection refused", ("site.unique[0]",))
    night.passes(1)
    night.statistics.down("redis", "site.unique[2]", "Connection refused", ("site.unique[2]",))
    night.statistics.down("redis", "asked now and then", "Connection refused")
    night.passes(40)
    night.statistics.up("redis", "asked now and then")
    night.statistics.up("redis", "site.unique[0]")
    night.passes(4)
    night.statistics.up("redis", "site.unique[2]")
    night.passes(20)
    assert caplog.messages == [
        "waiting for redis: Connection refused; what waits: site.unique[0, 2]",
        "the wait for redis is over after 44 s; goes on: site.unique[0, 2]",
    ]
    assert [record.levelno for record in caplog.records] == [logging.WARNING, logging.INFO]


def test_a_part_that_answers_now_and_then_has_one_outage(
    night: Night, caplog: pytest.LogCaptureFixture
) -> None:
    for _ in range(20):
        night.statistics.down("postgres", "session 1", "no such table")
        night.passes(10)
        night.statistics.up("postgres", "session 1")
        night.passes(SETTLED_S - 1)
    assert len(caplog.messages) == 1


def test_a_short_interruption_is_no_line(night: Night, caplog: pytest.LogCaptureFixture) -> None:
    night.statistics.down("redis", "site.unique[0]", "Connection reset by peer")
    night.passes(TOLD_AFTER_S)
    night.statistics.up("redis", "site.unique[0]")
    night.passes(60)
    assert caplog.messages == []


def test_a_long_outage_is_reminded_of_sparsely_by_what_holds_now(
    night: Night, caplog: pytest.LogCaptureFixture
) -> None:
    night.statistics.down("queue", "site.unique[0]", "it is full", ("site.unique[0]",))
    night.passes(60)
    night.statistics.down("queue", "site.unique[0]", "it is still full", ("site.unique[0]",))
    night.passes(2 * REMIND_EVERY_S)
    assert caplog.messages == [
        "waiting for room in the job queue: it is full; what waits: site.unique[0]",
        "still waiting for room in the job queue, since 601 s: it is still full; what waits: site.unique[0]",
        "still waiting for room in the job queue, since 1201 s: it is still full; what waits: site.unique[0]",
    ]
    assert night.log.away(night.now) == ["room in the job queue for 1259 s"]


def test_that_a_part_answers_at_first_is_told_once(night: Night, caplog: pytest.LogCaptureFixture) -> None:
    night.statistics.up("redis", "asked now and then")
    night.statistics.up("mqtt", "ingress", "standing by")  # of that ingress tells itself
    night.passes(60)
    assert caplog.messages == ["redis answers"]


def test_who_waits_no_more_ends_the_outage_although_the_part_is_away(night: Night) -> None:
    night.statistics.down("redis", "site.unique[0]", "away")
    night.statistics.leave("redis", "site.unique[0]")
    night.statistics.leave("redis", "site.unique[1]")
    assert not night.statistics.parts["redis"].troubles


def test_a_part_that_was_not_asked_yet_is_shown_and_not_told_of(
    night: Night, caplog: pytest.LogCaptureFixture
) -> None:
    night.statistics.expect("redis")
    night.passes(60)
    assert (night.statistics.parts["redis"].up, night.statistics.parts["redis"].detail) == (False, NOT_ASKED)
    assert caplog.messages == []


async def test_a_part_that_cannot_be_asked_tells_its_detail_without_its_name_twice() -> None:
    statistics = Statistics()
    statistics.down("mqtt", "ingress", Outage("mqtt", "Connection refused").detail)
    with pytest.raises(Outage, match=r"^mqtt: Connection refused$"):
        await statistics.ask("mqtt")


@given(st.lists(st.tuples(st.sampled_from("abc"), st.booleans(), st.integers(0, 8)), min_size=1, max_size=40))
def test_begins_and_ends_take_turns_whatever_happens(steps: list[tuple[str, bool, int]]) -> None:
    night = Night()
    said: list[str] = []
    handler = logging.Handler()
    handler.emit = lambda record: said.append(record.getMessage())  # type: ignore[method-assign]  # the least that hears
    logger = logging.getLogger(LOGGER)
    level, logger.level = logger.level, logging.INFO
    logger.addHandler(handler)
    try:
        for who, down, seconds in steps:
            (night.statistics.down if down else night.statistics.up)("redis", who, "away")
            night.passes(seconds)
        for who in "abc":
            night.statistics.up("redis", who)
        night.passes(10)
    finally:
        logger.removeHandler(handler)
        logger.level = level
    begins = [line.startswith("waiting") for line in said if line != "redis answers"]
    assert begins == [True, False] * (len(begins) // 2)
    assert said.count("redis answers") <= 1


def test_names_are_short_together() -> None:
    assert in_short({"a[10]", "a[2]", "b[0]", "MQTT"}) == "MQTT, a[2, 10], b[0]"
    assert in_short(f"a[{n}]" for n in range(14)) == "a[0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11 and 2 more]"
