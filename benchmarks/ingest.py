"""The job runner: rows a second from the queue into PostgreSQL, and its own CPU a row.

The queue is filled before ``ingest`` starts, with jobs of one size as handoff writes them. Measured from its
first turn until the queue is empty and nothing is reserved: CPU of ``ingest`` alone, and beside it that of
the servers. By its own CPU it should manage 20,000 rows a second on one core. Left out: how long it takes to
start, and whoever listens to what it publishes. PostgreSQL does not wait for the disk here.
"""

import argparse
import time
from collections.abc import Iterator
from typing import NamedTuple

from redis import Redis

from agents.examine import examine, read_chunk
from agents.handoff import jobs_of
from benchmarks.material import Mix, publications
from benchmarks.report import report, say
from benchmarks.stack import Run, stack
from benchmarks.usage import Usage
from streams.laravel.replays import ChunkId
from streams.models import Origin
from streams.wire import raw
from streams.wire.unique import UniqueChunk
from tests.parts.eventually import eventually_sync
from tests.parts.worker import Ingest

RECEIVED_AT, SKEW_S, EPOCH = "2026-11-24T14:00:00.123456Z", 86_400.0, 1
START_TIMEOUT_S, TIMEOUT_S = 60.0, 600.0
US_A_S = 1e6


def main(arguments: list[str]) -> None:
    """Print one line of JSON for each size of job."""
    parser = argparse.ArgumentParser(prog="./dev bench ingest", description=__doc__)
    parser.add_argument("--rows", type=int, default=200_000, help="to write (%(default)s)")
    parser.add_argument("--job", type=int, nargs="+", default=[10, 100, 500], help="rows a job (10 100 500)")
    options = parser.parse_args(arguments)
    figures: dict[str, object] = {}
    with stack() as parts:
        for size in options.job:
            jobs = list(_jobs(Mix(parts.tenants), options.rows, size))
            with parts.run() as run, say(f"{options.rows:,} rows in jobs of {size}"):
                servers = {"redis": parts.redis.pid, "postgres": parts.postgres.pid}
                figures[f"jobs_of_{size}"] = measured(run, servers, jobs, size)
            parts.postgres.execute("truncate metrics_raw")
    report("ingest", {"rows": options.rows, **figures})


def measured(run: Run, servers: dict[str, int], jobs: list[bytes], size: int) -> dict[str, object]:
    """Fill the queue, and let `ingest` empty it."""
    queue = _Queue(Redis.from_url(run.redis_url), run.queue)
    queue.fill(jobs)
    with Ingest(run.environment) as ingest:
        eventually_sync(lambda: queue.waiting < len(jobs), START_TIMEOUT_S)
        with Usage([ingest.pid], servers) as usage:
            began, rows = time.monotonic(), len(jobs) * size  # those just taken are still to be written
            eventually_sync(lambda: queue.is_done, TIMEOUT_S)
            seconds = time.monotonic() - began
            usage.stop()
            figures = usage.figures(rows, "row")
    own_us = float(str(figures["cpu_us_a_row"]))
    on_one_core = {"rows_a_s_of_one_core_of_its_own": round(US_A_S / own_us)}
    return {"rows_a_s": round(rows / seconds), "seconds": round(seconds, 2), **on_one_core, **figures}


class _Queue(NamedTuple):
    """The queue, from outside."""

    redis: "Redis"
    name: str

    def fill(self, jobs: list[bytes]) -> None:
        with self.redis.pipeline(transaction=False) as pipeline:
            for job in jobs:
                pipeline.rpush(self.name, job)
                pipeline.rpush(f"{self.name}:notify", 1)
            pipeline.execute()

    @property
    def waiting(self) -> int:
        return int(str(self.redis.llen(self.name)))

    @property
    def is_done(self) -> bool:
        return not self.redis.exists(self.name, f"{self.name}:reserved")


def _jobs(mix: Mix, rows: int, size: int) -> Iterator[bytes]:
    """Yield jobs of one size, tenant after tenant."""
    for number, first in enumerate(range(0, rows, size)):
        one = Mix([mix.tenants[number % len(mix.tenants)]])
        origin = Origin(0, number)
        published = publications(min(size, rows - first), one, number)
        encoded = [raw.encode_message(topic, payload, RECEIVED_AT, 1) for topic, payload in published]
        messages, _ = read_chunk(raw.join(encoded))
        candidates = examine(messages, origin, SKEW_S).candidates.values()
        chunk = UniqueChunk(origin, [candidate.reading for candidate in candidates])
        yield from jobs_of(chunk, ChunkId(EPOCH, chunk.origin.offset, b""), derive_ids=True)
