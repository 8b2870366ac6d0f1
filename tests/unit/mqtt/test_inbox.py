import asyncio
from typing import NamedTuple

import pytest
from hypothesis import given
from hypothesis import strategies as st

from streams.counters import Statistics
from streams.mqtt.inbox import DROP_LOG_EVERY_S, Inbox
from streams.mqtt.transport import PUBACK, Publication


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


def large(number: int, size: int, qos: int = 1) -> Publication:
    return Publication("t", b"%05d" % number + b"x" * (size - 6), 0, qos, PUBACK | number if qos else None)


async def test_it_is_full_at_its_bytes_until_some_are_taken() -> None:
    inbox = Inbox(1_000, Statistics(), limit_bytes=300, take_bytes=100)
    for number in range(2):
        inbox.put_nowait(large(number, 100))
    assert not inbox.is_full
    inbox.put_nowait(large(2, 100))
    assert inbox.is_full
    assert inbox.size_bytes == 300

    assert len(await inbox.take(0.0)) == 1
    assert not inbox.is_full
    assert inbox.size_bytes == 200


async def test_beyond_its_bytes_qos0_is_dropped_and_counted_and_qos1_is_not() -> None:
    statistics = Statistics()
    inbox = Inbox(1_000, statistics, limit_bytes=100, qos0_limit_bytes=250)
    inbox.put_all([large(number, 100, qos=number % 2) for number in range(6)], 600)

    assert [one.payload[:5] for one in await inbox.take(0.0)] == [
        b"00000",
        b"00001",
        b"00002",
        b"00003",
        b"00005",
    ]
    assert statistics.notes["qos0_dropped"] == 1


@pytest.mark.parametrize("qos", [0, 1])
async def test_a_single_message_that_is_larger_than_all_bounds_passes(qos: int) -> None:
    inbox = Inbox(1_000, Statistics(), limit_bytes=100, qos0_limit_bytes=100, take_bytes=10)
    inbox.put_all([large(1, 5_000, qos)], 5_020)

    assert inbox.is_full
    assert await inbox.take(0.0) == [large(1, 5_000, qos)]
    assert not inbox.is_full
    assert inbox.size_bytes == 0


async def test_no_more_is_taken_at_once_than_the_event_loop_may_be_kept_for() -> None:
    inbox = Inbox(1_000, Statistics(), take_bytes=250)
    for number in range(5):
        inbox.put_all([large(number, 100)], 100)

    assert [len(await inbox.take(0.0)) for _ in range(3)] == [2, 2, 1]


async def test_nor_more_messages() -> None:
    inbox = Inbox(1_000, Statistics(), take_messages=4)
    for _ in range(3):
        inbox.put_all([publication(number) for number in range(3)], 60)

    assert [len(await inbox.take(0.0)) for _ in range(3)] == [3, 3, 3]


class Put(NamedTuple):
    """What one read brings."""

    sizes: list[int]


class Take(NamedTuple):
    """The turn of ingress."""


acts = st.lists(
    st.builds(Put, st.lists(st.integers(6, 400), min_size=1, max_size=5)) | st.builds(Take), max_size=40
)


@given(history=acts, one_by_one=st.booleans())
def test_whatever_comes_and_is_taken_the_order_and_the_bytes_are_right(
    *, history: list[Put | Take], one_by_one: bool
) -> None:
    async def live() -> None:
        inbox = Inbox(10, Statistics(), limit_bytes=1_000, take_bytes=500)
        sent, taken = list[Publication](), list[Publication]()
        for act in history:
            if isinstance(act, Put):
                read = [large(len(sent) + place, size) for place, size in enumerate(act.sizes)]
                sent += read
                if one_by_one:
                    for one in read:
                        inbox.put_nowait(one)
                else:
                    inbox.put_all(read, sum(act.sizes))
            else:
                some = await inbox.take(0.0)
                assert (
                    one_by_one is False or len(some) <= 1 or sum(len(one.payload) + 1 for one in some) <= 500
                )
                taken += some
            waiting = sent[len(taken) :]
            assert len(inbox) == len(waiting)
            assert inbox.size_bytes == sum(len(one.topic) + len(one.payload) for one in waiting)
            assert inbox.is_full == (len(waiting) >= 10 or inbox.size_bytes >= 1_000)
        while len(inbox):
            taken += await inbox.take(0.0)
        assert taken == sent
        assert inbox.taken == len(sent)

    asyncio.run(live())
