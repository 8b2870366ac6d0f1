"""The guard on the event loop: noticed when it stands still, not blamed when the process was stopped."""

import asyncio
import threading

from streams.kafka.loop_watchdog import LoopWatchdog, Silence
from tests.parts.eventually import eventually

DEADLINE_S = 10.0


async def test_a_loop_that_stands_still_is_ended_from_outside() -> None:
    ended = threading.Event()
    guard = LoopWatchdog(0.05, lambda _silent_s: ended.set(), every_s=0.01)
    await guard.start()
    assert ended.wait(DEADLINE_S), "this blocks the loop, until the guard has noticed"


async def test_a_loop_that_turns_is_left_alone() -> None:
    ended = threading.Event()
    guard = LoopWatchdog(DEADLINE_S, lambda _silent_s: ended.set(), every_s=0.01)
    await guard.start()
    await eventually(guard._beat.is_set)
    await guard.stop()
    assert not ended.is_set()


async def test_with_a_limit_of_zero_nothing_is_watched() -> None:
    before = threading.active_count()
    await LoopWatchdog(0.0).start()
    assert threading.active_count() == before


async def test_when_the_loop_is_closed_the_guard_goes_quietly() -> None:
    guard = LoopWatchdog(DEADLINE_S, every_s=0.01)
    threads = set(threading.enumerate())
    await asyncio.to_thread(lambda: asyncio.run(guard.start()))
    (thread,) = [t for t in threading.enumerate() if t not in threads and t.name == "frozen loop guard"]
    await eventually(lambda: not thread.is_alive())


def test_silence_adds_up_until_a_beat_comes() -> None:
    silence = Silence(1.0, now=0.0)
    for second in range(1, 11):
        silence.tick(float(second), beat=False)
    assert silence.silent_s == 10.0
    silence.tick(11.0, beat=True)
    assert silence.silent_s == 0.0


def test_the_time_that_the_whole_process_was_stopped_does_not_count() -> None:
    silence = Silence(1.0, now=0.0)
    silence.tick(3_600.0, beat=False)
    assert silence.silent_s == 2.0
