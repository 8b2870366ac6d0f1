"""What the tap makes of Redis's own account of what it did."""

import asyncio

from streams.laravel.job import encode_job
from streams.models import JobMetric
from streams.tasks import ended
from tests.faults.messages import Known
from tests.faults.tap import COMES_BACK, MOVES_ON, Pushes, Tap, judge, watch
from tests.parts.eventually import eventually

UUIDS = [f"00000000-0000-4000-8000-{number:012d}" for number in range(9)]


def push(tap: Tap, *uuids: str, partition: int = 0, raw: int, epoch: int = 1) -> None:
    """Feed what MONITOR prints of a push (``src/monitor`` and ``sdscatrepr`` of Redis 7)."""
    head = b"+1764000000.123456 [0 "
    tap.read(head + b'127.0.0.1:5000] "EVALSHA" "abc" "3" "the keys"\r\n')
    for uuid in uuids:
        payload = b'"{\\"uuid\\":\\"%s\\",\\"displayName\\":\\"App\\"}"' % uuid.encode()
        tap.read(head + b'lua] "RPUSH" "laravel_database_queues:default" ' + payload + b"\r\n")
        tap.read(head + b'lua] "RPUSH" "laravel_database_queues:default:notify" "1"\r\n')
    hset = head + b'lua] "HSET" "laravel_database_metric-streams:metrics:fence" '
    fence = b'"%d" "%d:%d:%d"' % (partition, epoch, raw, raw + 5)
    proof = b'"%d:proof" "1;%d;%d;8c1f2a9e00d4b7f3"' % (partition, raw + 1, raw + 5)
    tap.read(hset + fence + b" " + proof + b' "owner" "metric-streams"\r\n')
    tap.read(hset + b'"%d:locator" "9.%d.1.1.77aa00112233aabb"\r\n' % (partition, epoch))


def test_each_job_pushed_once_is_as_it_should_be() -> None:
    tap = Tap()
    push(tap, UUIDS[0], UUIDS[1], raw=10)
    push(tap, UUIDS[2], raw=11)
    assert judge(tap) == Pushes(jobs=3, doubled=0, due_again=0, again=0)


def test_a_job_pushed_twice_is_a_doubled_one() -> None:
    tap = Tap()
    push(tap, UUIDS[0], raw=10)
    push(tap, UUIDS[0], raw=10)
    assert judge(tap).doubled == 1


def test_a_job_that_its_own_queue_brings_back_is_no_push() -> None:
    tap = Tap()
    payload = b'"{\\"uuid\\":\\"%s\\"}"' % UUIDS[0].encode()
    tap.read(b'+1.0 [0 lua] "RPUSH" "laravel_database_queues:default" ' + payload + b"\r\n")
    tap.read(b'+1.0 [0 lua] "zremrangebyrank" "laravel_database_queues:default:reserved" "0" "0"\r\n')
    push(tap, UUIDS[1], raw=10)
    assert [one.uuid for one in tap.pushes] == [UUIDS[1]]


def test_what_redis_forgot_is_owed_once_more() -> None:
    tap = Tap()
    push(tap, UUIDS[0], raw=10)
    push(tap, UUIDS[1], raw=11)
    push(tap, UUIDS[2], partition=1, raw=3)
    tap.set_back({0: (1, 10)})
    assert judge(tap) == Pushes(jobs=3, doubled=0, due_again=2, again=0)
    push(tap, UUIDS[1], raw=11)
    push(tap, UUIDS[2], partition=1, raw=3)
    assert judge(tap) == Pushes(jobs=3, doubled=0, due_again=2, again=2)


def test_what_is_pushed_again_before_the_fences_are_noted_counts_for_the_life_that_has_begun() -> None:
    """The tap hears it at once, and whoever has read the fences may be slow to say so."""
    tap = Tap()
    push(tap, UUIDS[0], raw=10)
    push(tap, UUIDS[1], raw=11)
    tap.read(b'+1.0 [0 127.0.0.1:1] "ECHO" "%s 1"\r\n' % COMES_BACK.encode())
    push(tap, UUIDS[1], raw=11)
    tap.set_back({0: (1, 10)})
    assert judge(tap) == Pushes(jobs=2, doubled=0, due_again=1, again=1)


def test_what_another_history_has_pushed_is_not_owed_again() -> None:
    """metrics.unique was made anew since: the log has other jobs, by which the same rows come."""
    tap = Tap()
    push(tap, UUIDS[0], raw=500)
    tap.begin_era()
    push(tap, UUIDS[1], raw=10)
    tap.set_back({0: (1, 5)})
    assert judge(tap).due_again == 1


def test_what_redis_still_knew_may_not_be_pushed_again() -> None:
    tap = Tap()
    push(tap, UUIDS[0], raw=10)
    tap.set_back({0: (1, 10)})
    push(tap, UUIDS[0], raw=10)
    assert judge(tap).doubled == 1


def test_a_new_epoch_lies_behind_every_offset_of_the_old_one() -> None:
    tap = Tap()
    push(tap, UUIDS[0], raw=2, epoch=7)
    tap.set_back({0: (6, 900)})
    assert judge(tap).due_again == 1


def push_values(tap: Tap, *values: tuple[str, float], moves_the_fence: bool = True) -> None:
    """Feed what MONITOR prints of a job with these ids and values, as the worker makes it."""
    metrics = [
        JobMetric(
            agent_id="edge-0",
            metric_name="load",
            value=value,
            timestamp="2026-01-01 00:00:00",
            dedupe_id=name,
        )
        for name, value in values
    ]
    payload = encode_job("7c9e6679-7425-40de-944b-e07fc1f90ae7", metrics, UUIDS[0], "i" * 32)
    shown = payload.replace(b"\\", b"\\\\").replace(b'"', b'\\"')
    head = b"+1764000000.123456 [0 lua] "
    tap.read(head + b'"RPUSH" "laravel_database_queues:default" "' + shown + b'"\r\n')
    if moves_the_fence:
        tap.read(head + b'"HSET" "laravel_database_metric-streams:metrics:fence" "0" "1:5:10"\r\n')


def test_the_value_that_was_pushed_last_is_known_of_what_may_be_corrected() -> None:
    tap = Tap()
    push_values(tap, ("0-1", 0.125), ("0-7", 0.875), ("0-2", 0.25))
    push_values(tap, ("0-1", 1.25), ("0123456789abcdef0123456789abcdef", 5), ("0-3", 0))
    assert tap.last == {Known(0, 1): 1.25, Known(0, 2): 0.25, Known(0, 3): 0}


def test_a_value_that_no_fence_follows_was_not_pushed() -> None:
    tap = Tap()
    push_values(tap, ("0-1", 0.125), moves_the_fence=False)
    tap.read(b'+1.0 [0 127.0.0.1:5000] "GET" "something"\r\n')
    assert not tap.last


def test_after_another_history_a_job_may_be_pushed_once_more_but_not_twice() -> None:
    tap = Tap()
    push(tap, UUIDS[0], raw=10)
    tap.begin_era()
    push(tap, UUIDS[0], raw=10)
    assert judge(tap).doubled == 0
    push(tap, UUIDS[0], raw=10)
    assert judge(tap).doubled == 1


def test_what_lies_behind_a_place_to_which_refine_has_gone_back_may_come_once_more() -> None:
    tap = Tap()
    for at, raw in enumerate([9, 5, 6, 7, 9]):
        push(tap, UUIDS[0 if raw == 9 else at], raw=raw)
    assert judge(tap) == Pushes(jobs=4, doubled=0, due_again=0, again=0)
    push(tap, UUIDS[0], raw=9)
    assert judge(tap).doubled == 1


def test_an_older_job_that_comes_once_more_is_doubled_and_no_going_back() -> None:
    tap = Tap()
    for at, raw in enumerate([5, 6, 7]):
        push(tap, UUIDS[at], raw=raw)
    push(tap, UUIDS[0], raw=5)
    push(tap, UUIDS[1], raw=6)
    assert judge(tap).doubled == 2


async def test_a_redis_that_dies_while_it_is_watched_leaves_a_gap_and_one_that_is_left_none() -> None:
    tap, attached, seen = Tap(), asyncio.Event(), list[int]()
    left = b'+1.0 [0 127.0.0.1:1] "ECHO" "%s"\r\n' % MOVES_ON.encode()

    async def serve(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        seen.append(tap.gaps)
        writer.write(b"+OK\r\n" + (left if len(seen) == 1 else b""))
        await writer.drain()
        writer.close()

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    watching = asyncio.create_task(watch(tap, lambda: port, attached))
    await eventually(lambda: len(seen) >= 3)
    await ended(watching)
    server.close()
    assert seen[:3] == [0, 0, 1]
