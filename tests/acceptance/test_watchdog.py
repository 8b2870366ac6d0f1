"""A worker that stands still: which one ends, with what it says, and which one waits."""

import asyncio
import os
import re
import time
from pathlib import Path

import pytest

from tests.acceptance.conftest import Pipeline
from tests.parts.devices import publish
from tests.parts.eventually import eventually
from tests.parts.redis import Redis
from tests.parts.variants import long, long_but
from tests.parts.worker import Worker

LIMIT_S = 6
LONGER_THAN_THE_LIMIT_S = 2.5 * LIMIT_S
ENDS_WITHIN_S = 60.0

# What Python runs before the worker's first line. The rest waits until the last agent is about to be
# imported, since `python -m faust` does not find a Faust that was imported before it.
HOOK = """
import sys

class Faulty:
    def find_spec(self, name, *_):
        if name == "agents.handoff":
            sys.meta_path.remove(self)
            import faulty

sys.meta_path.insert(0, Faulty())
"""
# A short limit on the orderly stop, and, below, one fault.
FAULTY = """
import asyncio, time
import streams.faust_app as app
import streams.kafka.consumer as consumer
import streams.laravel.push as handoff
import tables.seen as seen

app.STOP_LIMIT_S = 5.0

async def hang(*_, **__):
    await asyncio.Event().wait()

async def bug(*_, **__):
    raise ZeroDivisionError("a bug")

async def freeze(*_, **__):
    while True:
        time.sleep(1)

async def nothing(*_, **__):
    return False

push = handoff.RedisJobQueue.push

async def kill_the_thread(*args):
    from streams import app
    loop = app.consumer._thread.thread_loop
    loop.call_soon_threadsafe(loop.stop)
    return await push(*args)

async def no_records(*_, **__):
    await asyncio.sleep(0.1)
    return
    yield
"""
FAULTS = {
    "an agent that never returns": ("handoff.RedisJobQueue.push = hang", "does not return"),
    "a bug that holds up a partition": ("handoff.RedisJobQueue.push = bug", "a bug, see the log"),
    "records that never arrive": (
        "consumer.OrderedConsumer.getmany = no_records",
        "its records do not reach the agent",
    ),
    "commits that fail": ("consumer.ConsumerThread._commit = nothing", "is committed although"),
    "a loop that is frozen": ("handoff.RedisJobQueue.push = freeze", "the event loop was blocked for"),
}


def _faulty_worker(pipeline: Pipeline, directory: Path, fault: str, *, wait: str = "/health/ready") -> Worker:
    (directory / "sitecustomize.py").write_text(HOOK)
    (directory / "faulty.py").write_text(f"{FAULTY}\n{fault}\n")
    path = os.pathsep.join([str(directory), str(Path(__file__).parents[2])])
    settings = pipeline.environment | {"WATCHDOG_LIMIT_S": str(LIMIT_S), "PYTHONPATH": path}
    worker = pipeline.own(lambda: Worker(settings, wait=wait))
    assert isinstance(worker, Worker)
    return worker


async def _publish(pipeline: Pipeline, count: int = 5) -> None:
    topic = f"metrics/{pipeline.tenants[0]}/edge-1/cpu"
    await publish(pipeline.mosquitto.url, topic, [b'{"value": %d}' % n for n in range(count)])


async def _ends(worker: Worker) -> list[str]:
    """Wait until it has ended by itself; return the critical lines about a stand-still."""
    code = await eventually(lambda: worker.exit_code, timeout_s=ENDS_WITHIN_S)
    assert code not in (None, 0), worker.log_tail()
    return [line for line in worker.log_text().splitlines() if "CRITICAL" in line and "WATCHDOG" in line]


@pytest.mark.parametrize(
    "name",
    long_but(("a bug that holds up a partition", "commits that fail", "a loop that is frozen"), FAULTS),
)
async def test_a_stand_still_that_a_restart_mends_ends_the_worker_with_one_line(
    pipeline: Pipeline, tmp_path: Path, name: str
) -> None:
    fault, said = FAULTS[name]
    worker = _faulty_worker(pipeline, tmp_path, fault)
    await _publish(pipeline)
    (line,) = await _ends(worker)
    assert said in line
    if name == "a loop that is frozen":
        assert "in freeze" in worker.log_text(), "the stacks show where it stands"


async def test_a_consumer_thread_that_died_ends_the_worker(pipeline: Pipeline, tmp_path: Path) -> None:
    worker = _faulty_worker(pipeline, tmp_path, "handoff.RedisJobQueue.push = kill_the_thread")

    async def has_ended_while_more_comes() -> bool:
        await _publish(pipeline)
        return worker.exit_code is not None

    await eventually(has_ended_while_more_comes, timeout_s=ENDS_WITHIN_S, interval_s=1.0)
    (line,) = await _ends(worker)
    # Positions and commits both stop; which of them is at the limit first depends on what was under way.
    assert re.search(rf"no progress on (the commits of )?{pipeline.topics}\.(raw|unique)\[\d\]", line)


async def test_a_recovery_that_does_not_end_ends_the_worker(pipeline: Pipeline, tmp_path: Path) -> None:
    worker = _faulty_worker(
        pipeline, tmp_path, "seen.SeenStore.on_recovery_completed = hang", wait="/health/live"
    )
    (line,) = await _ends(worker)
    assert "no progress on the group" in line


async def _stands_ready_to(worker: Worker, seconds: float) -> None:
    until = time.monotonic() + seconds
    await eventually(lambda: time.monotonic() > until or worker.exit_code is not None, timeout_s=seconds + 10)
    assert worker.exit_code is None, worker.log_tail()


async def test_while_redis_is_away_the_worker_waits_and_then_goes_on(
    pipeline: Pipeline, redis_server: Redis
) -> None:
    worker = pipeline.worker(WATCHDOG_LIMIT_S=str(LIMIT_S))
    redis_server.kill()
    await _publish(pipeline)
    await _stands_ready_to(worker, LONGER_THAN_THE_LIMIT_S)
    redis_server.heal()
    pipeline.ingest()
    await eventually(pipeline.rows, timeout_s=30)


@pytest.mark.parametrize("how", ["pause", long("kill")])
async def test_while_kafka_is_away_readiness_fails_and_the_worker_waits(pipeline: Pipeline, how: str) -> None:
    worker = pipeline.worker(WATCHDOG_LIMIT_S=str(LIMIT_S))
    getattr(pipeline.kafka, how)()
    await eventually(lambda: asyncio.to_thread(worker.status, "/health/ready"), timeout_s=5)

    async def is_not_ready() -> bool:
        return await asyncio.to_thread(worker.status, "/health/ready") == 503

    await eventually(is_not_ready, timeout_s=20)
    await _publish(pipeline)
    await _stands_ready_to(worker, LONGER_THAN_THE_LIMIT_S)
    await asyncio.to_thread(pipeline.kafka.heal)
    await eventually(lambda: asyncio.to_thread(worker.is_ready), timeout_s=60)
    pipeline.ingest()
    await eventually(pipeline.rows, timeout_s=30)


async def test_a_worker_that_was_stopped_for_longer_than_the_limit_goes_on_when_it_is_continued(
    pipeline: Pipeline,
) -> None:
    worker = pipeline.worker(WATCHDOG_LIMIT_S=str(LIMIT_S))
    worker.pause()
    await _publish(pipeline)
    await _stands_ready_to(worker, LONGER_THAN_THE_LIMIT_S)
    worker.resume()
    pipeline.ingest()
    await eventually(pipeline.rows, timeout_s=30)
    await eventually(lambda: asyncio.to_thread(worker.is_ready), timeout_s=30)
