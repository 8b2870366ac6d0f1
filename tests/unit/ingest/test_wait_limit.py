"""How long a run of ingest waits for parts that are away."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from streams.errors import NotFinished, Outage
from streams.ingest.wait_limit import WaitLimit

AWAY = Outage("redis", "connection refused")
LIMIT_S = 60.0


class Run:
    def __init__(self, limit_s: float = LIMIT_S) -> None:
        self.now_s = 1_000.0
        self.settled = 0
        self.limit = WaitLimit(limit_s, lambda: self.settled, lambda: self.now_s)


def test_it_ends_after_so_long_without_progress_and_says_why() -> None:
    run = Run()
    run.limit.check(AWAY)
    run.now_s += LIMIT_S - 0.1
    run.limit.check(AWAY)
    run.now_s += 0.1
    with pytest.raises(NotFinished, match=r"for 60 s \(INGEST_WAIT_LIMIT_S\).*connection refused") as ended:
        run.limit.check(AWAY)
    assert ended.value.exit_code == 75


def test_with_0_it_never_ends() -> None:
    run = Run(limit_s=0)
    for _ in range(3):
        run.limit.check(AWAY)
        run.now_s += 1e9
    assert run.limit.within(5.0) == 5.0


@given(st.lists(st.tuples(st.floats(0, LIMIT_S * 0.9), st.booleans()), max_size=50))
def test_a_run_that_gets_something_done_goes_on_however_slowly(steps: list[tuple[float, bool]]) -> None:
    run = Run()
    for passed_s, job_was_settled in steps:
        run.limit.check(AWAY)
        run.now_s += passed_s
        if job_was_settled:
            run.settled += 1
        else:
            run.limit.progressed()
        run.limit.check(AWAY)


@given(st.lists(st.floats(0.01, 5.0), min_size=1, max_size=200))
def test_the_last_try_is_at_the_limit_and_not_after_it(delays_s: list[float]) -> None:
    run = Run()
    run.limit.check(AWAY)
    began_s = run.now_s
    for delay_s in delays_s:
        waits_s = run.limit.within(delay_s)
        assert 0 <= waits_s <= delay_s
        run.now_s += waits_s
    assert run.now_s <= began_s + LIMIT_S + 1e-6
