"""How many records of metrics.raw are still to be refined."""

import pytest

from streams.growth.standing import raw_lag
from streams.kafka.positions import LogRange


@pytest.mark.parametrize(
    ("log", "decided", "emitted", "lag"),
    [
        (LogRange(0, 0), None, 0, 0),
        (LogRange(0, 10), 9, 10, 0),
        (LogRange(0, 10), 6, 7, 3),
        (LogRange(0, 10), 9, 8, 2),  # decided on, and not surely emitted
        (LogRange(0, 10), 8, 10, 1),  # committed by a group that the log was taken from
        (LogRange(0, 10), None, 10, 10),
        (LogRange(10, 10), 9, 10, 0),  # retention has emptied it
        (LogRange(10, 10), None, 0, 0),
        (LogRange(8, 10), 3, 4, 2),
        (LogRange(0, 10), 14, 15, 10),  # another log: refine has to go back
        (LogRange(0, 0), 14, 15, 1),
    ],
)
def test_what_is_left_is_told_by_what_was_decided_on_and_emitted(
    log: LogRange, decided: int | None, emitted: int, lag: int
) -> None:
    assert raw_lag(log, decided, emitted) == lag
