"""What the watch makes of readiness: who was told of what went missing."""

import pytest

from tests.faults.messages import Known
from tests.faults.watch import Watch

SENT_AT = 10.0


def watched(*unready_at: float) -> Watch:
    """Return a watch of 200 s in which device 0 sends one message a second."""
    seconds = [float(second) for second in range(200)]
    return Watch(samples=[(at, at in unready_at, {0: int(at)}) for at in seconds])


def test_a_message_that_is_missing_while_all_is_said_to_be_well_was_swallowed() -> None:
    assert watched().swallowed_while_ready([Known(0, 9), Known(0, 12)]) == 2


@pytest.mark.parametrize("told_at", [SENT_AT + 30, SENT_AT + 60, 199.0])
def test_a_message_that_readiness_tells_of_when_it_is_late_was_not_swallowed(told_at: float) -> None:
    assert watched(told_at).swallowed_while_ready([Known(0, 9)]) == 0


@pytest.mark.parametrize("told_at", [SENT_AT - 1, SENT_AT + 5, SENT_AT + 62])
def test_what_readiness_says_of_something_else_tells_of_no_missing_message(told_at: float) -> None:
    assert watched(told_at).swallowed_while_ready([Known(0, 9)]) == 1


def test_it_is_known_how_long_after_a_cut_readiness_told() -> None:
    assert watched(17.0).told_after_s(15.0) == 2.0
    assert watched(14.0).told_after_s(15.0) is None
    assert watched(90.0).told_after_s(15.0) is None
