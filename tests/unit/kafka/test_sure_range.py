"""A log that seems too short is measured again before it counts as set back."""

import pytest

from streams.kafka.log_reader import DOUBT_S, DOUBTS, sure_range
from streams.kafka.positions import LogRange


class Broker:
    """Tells of the last record only when it was asked often enough."""

    def __init__(self, late: int) -> None:
        self.late, self.asked, self.waited_s = late, 0, 0.0

    async def measure(self) -> LogRange:
        self.asked += 1
        return LogRange(0, 6 if self.asked <= self.late else 7)

    async def sleep(self, seconds: float) -> None:
        self.waited_s += seconds

    async def range(self, at_least: int) -> LogRange:
        return await sure_range(self.measure, at_least, self.sleep)


@pytest.mark.parametrize("late", [0, 1, DOUBTS])
async def test_what_the_broker_tells_late_is_waited_for(late: int) -> None:
    broker = Broker(late)
    assert await broker.range(7) == LogRange(0, 7)
    assert broker.asked == 1 + late


async def test_a_log_that_stays_too_short_is_believed_after_a_second() -> None:
    broker = Broker(1_000)
    assert await broker.range(7) == LogRange(0, 6)
    assert broker.waited_s == pytest.approx(DOUBTS * DOUBT_S)
    assert DOUBTS * DOUBT_S <= 1


async def test_one_that_is_long_enough_is_measured_once() -> None:
    broker = Broker(1)
    assert await broker.range(6) == LogRange(0, 6)
    assert (broker.asked, broker.waited_s) == (1, 0)
