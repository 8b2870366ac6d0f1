"""Long work takes a small share of the event loop's time."""

from contextlib import suppress

from streams.rejections.pace import SLICE_S, Pace


class Clock:
    """The time, which a step or a rest moves on."""

    def __init__(self) -> None:
        self.now_s, self.rested_s = 0.0, list[float]()

    def __call__(self) -> float:
        return self.now_s

    async def sleep(self, seconds: float) -> None:
        self.now_s += seconds
        self.rested_s.append(seconds)


async def test_it_rests_nine_times_as_long_as_it_held_the_loop_once_a_slice_is_used_up() -> None:
    clock = Clock()
    pace = Pace(0.1, monotonic=clock, sleep=clock.sleep)
    for _ in range(8):
        with pace:
            clock.now_s += SLICE_S / 3
        clock.now_s += 60  # waiting for Kafka, while others go on
        await pace.rest()
    assert [round(seconds / SLICE_S, 6) for seconds in clock.rested_s] == [9 * 4 / 3, 9 * 4 / 3]


async def test_a_step_that_fails_counts_as_well() -> None:
    clock = Clock()
    pace = Pace(0.5, monotonic=clock, sleep=clock.sleep)
    with suppress(ZeroDivisionError), pace:
        clock.now_s += 1.0
        _ = 1 / 0
    await pace.rest()
    assert clock.rested_s == [1.0]
