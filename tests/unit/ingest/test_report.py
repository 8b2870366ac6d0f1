import logging

import pytest

from streams.counters import Statistics
from streams.errors import Outage
from streams.ingest.progress import STALLED_S
from streams.ingest.report import EVERY_S, LINE_EVERY_S, Rates, Report
from streams.laravel.reserve import Backlog

NOW_S = 1_795_442_400.0
EMPTY = Backlog(waiting=0, delayed=0, reserved=0, due=0)


class Clock:
    def __init__(self) -> None:
        self.now_s = 0.0

    def __call__(self) -> float:
        return self.now_s


class FakeQueue:
    def __init__(self) -> None:
        self.holds = EMPTY
        self.in_front: bytes | None = None
        self.away = False

    async def backlog(self) -> Backlog:
        if self.away:
            raise Outage("redis", "away, as the test asked")
        return self.holds

    async def front(self) -> bytes | None:
        return self.in_front


@pytest.fixture(autouse=True)
def _heard(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def queue() -> FakeQueue:
    return FakeQueue()


@pytest.fixture
def statistics() -> Statistics:
    return Statistics()


@pytest.fixture
def report(statistics: Statistics, queue: FakeQueue, clock: Clock) -> Report:
    return Report(statistics, queue, clock=clock, unix_clock=lambda: NOW_S + clock.now_s)


async def test_each_line_tells_the_rates_since_the_last_and_the_lag(
    report: Report,
    statistics: Statistics,
    queue: FakeQueue,
    clock: Clock,
    caplog: pytest.LogCaptureFixture,
) -> None:
    statistics.messages.update(ingested=2_000, jobs_done=8, jobs_released=2)
    queue.holds = Backlog(waiting=7, delayed=2, reserved=1, due=8)
    clock.now_s += EVERY_S
    await report.look()
    assert report.rates == Rates(rows=400, jobs=2)
    clock.now_s += LINE_EVERY_S - EVERY_S
    await report.look()
    assert report.rates == Rates(rows=0, jobs=0)
    statistics.messages.update(ingested=500, jobs_done=2, jobs_failed=3)
    queue.holds = EMPTY
    clock.now_s += LINE_EVERY_S
    await report.look()
    first, second = caplog.messages
    assert first == (
        "2000 rows of 8 jobs in 60.0 s (33 rows/s); 2 jobs to be tried again, 0 given up; "
        "8 are due, 2 delayed, 1 reserved"
    )
    assert second == (
        "500 rows of 2 jobs in 60.0 s (8 rows/s); 0 jobs to be tried again, 3 given up; "
        "0 are due, 0 delayed, 0 reserved"
    )


async def test_that_nothing_happens_is_said_after_a_minute_and_then_every_half_an_hour(
    report: Report, clock: Clock, caplog: pytest.LogCaptureFixture
) -> None:
    for _ in range(31 * 12):
        clock.now_s += EVERY_S
        await report.look()
    assert caplog.messages == [
        "no job was settled in the last 60 s; 0 are due, 0 delayed, 0 reserved",
        "no job was settled in the last 1860 s; 0 are due, 0 delayed, 0 reserved",
    ]


async def test_jobs_that_wait_while_none_is_done_are_told(
    report: Report, queue: FakeQueue, clock: Clock, caplog: pytest.LogCaptureFixture
) -> None:
    queue.holds = Backlog(waiting=12, delayed=0, reserved=0, due=12)
    clock.now_s += LINE_EVERY_S
    await report.look()
    assert caplog.messages[0].endswith("12 are due, 0 delayed, 0 reserved")


async def test_while_redis_is_away_the_line_says_that_the_lag_is_not_known(
    report: Report, statistics: Statistics, queue: FakeQueue, clock: Clock, caplog: pytest.LogCaptureFixture
) -> None:
    statistics.messages.update(ingested=10, jobs_done=1)
    queue.away = True
    clock.now_s += LINE_EVERY_S
    await report.look()
    assert caplog.messages[0].endswith("how many wait is not known")


async def test_jobs_that_are_due_and_do_not_move_for_a_while_are_a_stand_still(
    report: Report, statistics: Statistics, queue: FakeQueue, clock: Clock
) -> None:
    queue.holds = Backlog(waiting=1, delayed=0, reserved=0, due=1)
    clock.now_s += STALLED_S - 1
    await report.check_progress()
    clock.now_s += 1
    with pytest.raises(Outage, match="none was settled for 30 s"):
        await report.check_progress()
    statistics.messages["jobs_released"] += 1
    await report.check_progress()


async def test_an_empty_queue_is_no_stand_still_however_long_it_lasts(
    report: Report, queue: FakeQueue, clock: Clock
) -> None:
    clock.now_s += 10 * STALLED_S
    await report.check_progress()
    queue.holds = Backlog(waiting=1, delayed=0, reserved=0, due=1)
    await report.check_progress()


async def test_the_job_in_front_has_waited_at_least_since_it_was_first_seen_there(
    report: Report, queue: FakeQueue, clock: Clock, caplog: pytest.LogCaptureFixture
) -> None:
    queue.holds, queue.in_front = Backlog(waiting=2, delayed=0, reserved=0, due=2), b"a job"
    clock.now_s += LINE_EVERY_S - 7
    await report.look()
    assert report.oldest_job_s == 0
    clock.now_s += 7
    await report.look()
    assert report.oldest_job_s == 7
    assert caplog.messages[-1].endswith("0 reserved; the oldest has waited for at least 7 s")
    queue.in_front = b"the next job"
    await report.look()
    assert report.oldest_job_s == 0


@pytest.mark.parametrize("field", ['"createdAt":1795442370', '"pushedAt":"1795442370.0"'])
async def test_a_job_that_tells_when_it_was_pushed_is_believed(
    report: Report, queue: FakeQueue, clock: Clock, field: str
) -> None:
    queue.in_front = f"{{{field}}}".encode()
    clock.now_s += 5
    await report.look()
    assert report.oldest_job_s == 35


async def test_a_job_from_the_future_waits_since_it_was_first_seen(
    report: Report, queue: FakeQueue, clock: Clock
) -> None:
    queue.in_front = b'{"createdAt":1795449999}'
    await report.look()
    clock.now_s += 3
    await report.look()
    assert report.oldest_job_s == 3


async def test_no_job_has_waited_where_none_is_in_front_or_nobody_can_tell(
    report: Report, queue: FakeQueue, clock: Clock
) -> None:
    queue.in_front = b"a job"
    await report.look()
    queue.in_front = None
    clock.now_s += 3
    await report.look()
    assert report.oldest_job_s is None
    queue.in_front = b"a job"
    await report.look()
    assert report.oldest_job_s == 0
    queue.away = True
    await report.look()
    assert report.oldest_job_s is None
