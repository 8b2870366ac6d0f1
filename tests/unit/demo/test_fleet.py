"""The fleet paces, bounds what is in flight, and counts what the broker takes."""

import asyncio
from collections.abc import Iterator
from itertools import islice, repeat

import pytest

from streams.demo.fleet import Fleet, FleetSummary
from streams.demo.simulation import PlannedPublication, PublicationKind
from streams.errors import Outage
from tests.parts.eventually import eventually

READING = PlannedPublication(PublicationKind.VALID, "metrics/a/b/c", b"1")


class FakePublisher:
    """Takes messages, and answers when the test says so, or at once."""

    def __init__(self, *, in_flight_max: int = 1_000, answers: bool = True) -> None:
        self.in_flight_max = in_flight_max
        self.published: list[PlannedPublication] = []
        self.waiting: list[asyncio.Future[bool]] = []
        self._answers = answers

    def publish(self, topic: str, payload: bytes, qos: int) -> "asyncio.Future[bool]":
        assert qos == 1
        answer: asyncio.Future[bool] = asyncio.get_running_loop().create_future()
        self.published.append(PlannedPublication(PublicationKind.VALID, topic, payload))
        if self._answers:
            answer.set_result(True)
        else:
            self.waiting.append(answer)
        return answer


def plan(count: int | None = None) -> Iterator[PlannedPublication]:
    return islice(repeat(READING), count)


async def test_the_plan_is_published_to_its_end_in_order() -> None:
    publisher = FakePublisher()
    publications = [READING._replace(payload=b"%d" % number) for number in range(20)]
    summary = await Fleet(iter(publications), publisher, rate=10_000).run()
    assert publisher.published == publications
    assert (summary.sent, summary.acked.total(), summary.unanswered) == (20, 20, 0)


async def test_the_rate_is_kept() -> None:
    summary = await Fleet(plan(200), FakePublisher(), rate=1_000).run()
    assert summary.seconds == pytest.approx(0.2, abs=0.1)
    assert summary.rate == pytest.approx(1_000, rel=0.4)


async def test_no_more_is_in_flight_than_the_broker_allows() -> None:
    publisher = FakePublisher(in_flight_max=3, answers=False)
    run = asyncio.create_task(Fleet(plan(5), publisher, rate=100_000).run())
    await eventually(lambda: len(publisher.published) == 3)
    publisher.waiting[0].set_result(True)
    await eventually(lambda: len(publisher.published) == 4)
    for answer in publisher.waiting[1:]:
        answer.set_result(True)
    await eventually(lambda: len(publisher.published) == 5)
    publisher.waiting[-1].set_result(True)
    assert (await run).acked == {PublicationKind.VALID: 5}


async def test_what_the_broker_refuses_is_not_counted_as_acknowledged() -> None:
    publisher = FakePublisher(answers=False)
    run = asyncio.create_task(Fleet(plan(2), publisher, rate=100_000).run())
    await eventually(lambda: len(publisher.waiting) == 2)
    publisher.waiting[0].set_result(True)
    publisher.waiting[1].set_result(False)
    summary = await run
    assert (summary.acked.total(), summary.refused) == (1, {PublicationKind.VALID: 1})


async def test_stop_ends_the_run_and_waits_for_what_is_in_flight() -> None:
    publisher = FakePublisher(answers=False)
    fleet = Fleet(plan(), publisher, rate=1)
    run = asyncio.create_task(fleet.run())
    await eventually(lambda: publisher.waiting)
    fleet.stop()
    await asyncio.wait([run], timeout=0.05)
    assert not run.done()
    publisher.waiting[0].set_result(True)
    assert (await run).acked.total() == 1


async def test_answers_that_never_come_are_counted_as_such(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("streams.demo.fleet.ANSWER_TIMEOUT_S", 0.01)
    summary = await Fleet(plan(3), FakePublisher(answers=False), rate=100_000).run()
    assert (summary.sent, summary.unanswered) == (3, 3)


async def test_a_lost_connection_ends_the_run_with_the_summary_so_far() -> None:
    publisher = FakePublisher(answers=False)
    fleet = Fleet(plan(), publisher, rate=1_000)
    run = asyncio.create_task(fleet.run())
    await eventually(lambda: len(publisher.waiting) >= 2)
    answered, lost = publisher.waiting[:2]
    answered.set_result(True)
    lost.set_exception(Outage("mqtt", "gone"))
    for answer in publisher.waiting[2:]:
        answer.set_exception(Outage("mqtt", "gone"))
    with pytest.raises(Outage, match="gone"):
        await run
    assert fleet.summary.acked.total() == 1
    assert fleet.summary.unanswered == fleet.summary.sent - 1


async def test_a_stall_is_not_made_up_for_by_a_burst(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("streams.demo.fleet.MAX_BEHIND_S", 0.0)
    publisher = FakePublisher(in_flight_max=1, answers=False)
    fleet = Fleet(plan(), publisher, rate=10)
    run = asyncio.create_task(fleet.run())
    await eventually(lambda: publisher.waiting)
    await asyncio.wait([run], timeout=0.5)  # five more would be due by now
    publisher.waiting[0].set_result(True)
    publisher.in_flight_max = 100
    await asyncio.wait([run], timeout=0.05)
    assert len(publisher.published) <= 2
    fleet.stop()
    for answer in publisher.waiting[1:]:
        answer.set_result(True)
    await run


async def test_what_is_sent_and_how_far_it_is_are_told() -> None:
    sent: list[PlannedPublication] = []
    told: list[FleetSummary] = []
    await Fleet(plan(3), FakePublisher(), rate=100_000, on_sent=sent.append, on_progress=told.append).run()
    assert sent == [READING] * 3
    assert told[-1].acked.total() == 3
