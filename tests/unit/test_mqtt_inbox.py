import asyncio

import pytest

from streams.mqtt.inbox import DROP_LOG_EVERY_S, Inbox
from streams.mqtt.transport import PUBACK, Publication
from streams.statistics import Statistics


def publication(number: int, qos: int = 1) -> Publication:
    return Publication("metrics/a/b/c", b"%d" % number, 0, qos, PUBACK | number if qos else None)


async def test_all_that_has_arrived_is_taken_at_once_and_in_order() -> None:
    inbox = Inbox(10, Statistics())
    sent = [publication(number) for number in range(100)]
    for one in sent:
        inbox.put_nowait(one)

    assert await inbox.take(0.0) == sent
    assert len(inbox) == 0


async def test_an_arrival_wakes_the_taker_and_brings_those_close_behind_it() -> None:
    inbox = Inbox(10, Statistics())
    taking = asyncio.create_task(inbox.take(None))
    await asyncio.sleep(0)
    inbox.put_nowait(publication(1))
    await asyncio.sleep(0)
    inbox.put_nowait(publication(2))

    assert await taking == [publication(1), publication(2)]


async def test_with_no_arrival_nothing_is_taken_after_the_timeout() -> None:
    assert await Inbox(10, Statistics()).take(0.001) == []


async def test_beyond_the_limit_qos0_is_dropped_and_counted_and_qos1_is_not() -> None:
    statistics = Statistics()
    inbox = Inbox(2, statistics)
    for number in range(5):
        inbox.put_nowait(publication(number, qos=0))
    inbox.put_nowait(publication(9, qos=1))

    assert inbox.waiting_qos0() == 2
    assert [one.payload for one in await inbox.take(0.0)] == [b"0", b"1", b"9"]
    assert statistics.notes["qos0_dropped"] == 3


async def test_dropping_is_logged_at_most_once_a_minute(caplog: pytest.LogCaptureFixture) -> None:
    now = 0.0
    inbox = Inbox(0, Statistics(), monotonic=lambda: now)
    for _ in range(3):
        inbox.put_nowait(publication(1, qos=0))
    assert len(caplog.records) == 1

    now += DROP_LOG_EVERY_S
    inbox.put_nowait(publication(1, qos=0))
    assert len(caplog.records) == 2
