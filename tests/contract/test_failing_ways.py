"""Whoever works a job that fails, it is tried again and given up alike: see `test_ways`."""

from tests.contract.bench import NOW, RETRY_AFTER_S, Bench, Seen, metric
from tests.contract.conftest import Tell
from tests.contract.ways import every_way


async def failing_once(bench: Bench) -> list[Seen]:
    await bench.push(metric("0", 1))  # to PHP's empty() no id, so inserted
    await bench.work()
    await bench.push(metric("0", 2), metric("spared", 3))  # and this time refused by the unique index
    await bench.push(metric("behind", 4))
    await bench.work(2)
    seen = [await bench.look()]
    await bench.execute("delete from metrics_raw where dedupe_id = '0'")
    for later in (9, 10):
        await bench.work(now=NOW + later)
        seen.append(await bench.look())
    return seen


@every_way
async def test_a_job_that_fails_once_holds_up_nobody_and_succeeds_after_its_backoff(tell: Tell) -> None:
    failed, early, done = await tell(failing_once)
    assert [(row.dedupe_id, row.value) for row in failed.rows] == [("0", 1), ("behind", 4)]
    assert len(failed.messages) == 2
    [job] = failed.queue[":delayed"]
    assert (job.payload["attempts"], job.where) == (1, NOW + 10)
    assert list(failed.queue) == list(early.queue) == [":delayed"]
    assert (early.messages, len(done.messages)) == ([], 1)
    assert [(row.dedupe_id, row.value) for row in done.rows] == [("0", 2), ("behind", 4), ("spared", 3)]
    assert (done.queue, done.failed) == ({}, [])


async def working(bench: Bench, *waits_s: int) -> list[Seen]:
    """Let the worker work after each wait, and look."""
    seen, now = [], NOW
    for wait_s in waits_s:
        now += wait_s
        await bench.work(now=now)
        seen.append(await bench.look())
    return seen


async def failing_for_good(bench: Bench) -> list[Seen]:
    await bench.push(metric("0"))
    await bench.work()
    await bench.push(metric("0"), metric("never"))
    return await working(bench, 0, 10, 30, 60, 60)


@every_way
async def test_a_job_that_fails_five_times_is_kept_in_failed_jobs(tell: Tell) -> None:
    seen = await tell(failing_for_good)
    delayed = [one.queue.get(":delayed", []) for one in seen]
    assert [(job.payload["attempts"], job.where - NOW) for [job] in delayed[:-1]] == [
        (1, 10),
        (2, 40),
        (3, 100),
        (4, 160),
    ]
    [failed] = seen[-1].failed
    assert failed.where == ("redis", "default", None)
    assert failed.payload["attempts"] == 4
    assert (seen[-2].failed, seen[-1].queue) == ([], {})
    assert [row.dedupe_id for row in seen[-1].rows] == ["0"]


async def a_lost_tenant(bench: Bench) -> list[Seen]:
    await bench.push(metric("lost"))
    await bench.execute("delete from tenants")
    await bench.work()
    return [await bench.look()]


@every_way
async def test_the_job_of_a_tenant_that_is_gone_is_given_up_at_the_first_try(tell: Tell) -> None:
    (seen,) = await tell(a_lost_tenant)
    assert (seen.rows, seen.messages, seen.queue) == ([], [], {})
    assert [job.payload["attempts"] for job in seen.failed] == [0]


async def dying_workers(bench: Bench) -> list[Seen]:
    await bench.push(metric("survivor"))
    seen, now = [], NOW
    for _ in range(5):
        await bench.abandon(now=now)
        seen.append(await bench.look())
        await bench.work(now=now + RETRY_AFTER_S - 1)
        now += RETRY_AFTER_S
    await bench.work(now=now)
    return [*seen, await bench.look()]


@every_way
async def test_a_job_whose_workers_die_comes_back_after_retry_after_until_its_tries_are_used_up(
    tell: Tell,
) -> None:
    *reserved, given_up = await tell(dying_workers)
    held = [job for one in reserved for job in one.queue[":reserved"]]
    assert [(job.payload["attempts"], job.where - NOW) for job in held] == [
        (tries, tries * RETRY_AFTER_S) for tries in (1, 2, 3, 4, 5)
    ]
    assert (given_up.rows, given_up.messages, given_up.queue) == ([], [], {})
    [failed] = given_up.failed
    assert failed.payload["attempts"] == 5
    assert failed.where[2] == (
        "Illuminate\\Queue\\MaxAttemptsExceededException: App\\Jobs\\ProcessMetricSubmission has been "
        "attempted too many times or run too long. The job may have previously timed out."
    )


async def a_dead_worker(bench: Bench) -> list[Seen]:
    await bench.push(metric("survivor"))
    await bench.abandon(now=NOW)
    await bench.work(now=NOW + RETRY_AFTER_S)
    return [await bench.look()]


@every_way
async def test_a_job_whose_worker_died_is_done_by_the_next(tell: Tell) -> None:
    (seen,) = await tell(a_dead_worker)
    assert ([row.dedupe_id for row in seen.rows], len(seen.messages)) == (["survivor"], 1)
    assert (seen.queue, seen.failed) == ({}, [])


async def failing_until(bench: Bench) -> list[Seen]:
    await bench.push(metric("0"))
    await bench.work()
    await bench.push(metric("0"), metric("never"))
    await bench.amend(maxTries=1, retryUntil=NOW + 95)
    return await working(bench, 0, 10, 30, 60)


@every_way
async def test_a_job_with_a_time_is_tried_until_then_and_given_up_when_it_is_taken_later(tell: Tell) -> None:
    *tried, given_up = await tell(failing_until)
    held = [job for one in tried for job in one.queue[":delayed"]]
    assert [(job.payload["attempts"], job.where - NOW) for job in held] == [(1, 10), (2, 40), (3, 100)]
    assert (given_up.queue, [row.dedupe_id for row in given_up.rows]) == ({}, ["0"])
    [failed] = given_up.failed
    assert failed.payload["attempts"] == 3
    assert failed.where[2] is not None
    assert "MaxAttemptsExceededException" in failed.where[2]


async def failing_at_the_last_moment(bench: Bench) -> list[Seen]:
    await bench.push(metric("0"))
    await bench.work()
    await bench.push(metric("0"))
    await bench.amend(retryUntil=NOW)
    await bench.push(metric("0"), metric("never"))
    await bench.amend(retryUntil=NOW)
    await bench.work(2)
    return [await bench.look()]


@every_way
async def test_a_job_that_fails_when_its_time_is_over_is_not_tried_again(tell: Tell) -> None:
    (seen,) = await tell(failing_at_the_last_moment)
    assert (seen.queue, [job.payload["attempts"] for job in seen.failed]) == ({}, [0, 0])
    assert [job.where[2] for job in seen.failed] == [None, None]
