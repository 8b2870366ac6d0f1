"""The metrics that the worker and ingest have in common, under the same names."""

import time
from collections.abc import Iterator, Mapping

from prometheus_client.metrics_core import Metric

from streams.counters import Statistics
from streams.laravel.queue_gauge import QueueState
from streams.version import product_version
from streams.web.prometheus import gauge
from streams.web.shared import PartHealth


def process_metrics(program: str, statistics: Statistics) -> Iterator[Metric]:
    """Yield what is said of each process: what runs, since when, and what time it takes it to be."""
    build = {(product_version(), program): 1}
    yield gauge("build_info", "always 1; the version that runs, and as what", build, "version", "program")
    started = statistics.started_at
    yield gauge("start_timestamp_seconds", "Unix time at which the process started", started)
    now = time.time()
    yield gauge("clock_timestamp_seconds", "Unix time by this machine's clock, to be compared", now)


def part_metrics(parts: Mapping[str, PartHealth]) -> Iterator[Metric]:
    """Yield how each part fares: the same that readiness says."""
    ups = {name: int(part.up) for name, part in sorted(parts.items())}
    told = "1 if the part is as /health/ready wants it; more than whether a server answers"
    yield gauge("part_up", told, ups, "part")
    ready = all(part.up for part in parts.values())
    yield gauge("ready", "1 if /health/ready says that messages get through", int(ready))


def queue_metrics(queue: QueueState | None) -> Iterator[Metric]:
    """Yield the state of the job queue; nothing while Redis does not answer."""
    if queue is None:
        return
    told = "jobs in the queue by state: waiting in the list, delayed, reserved; due are those to be taken now"
    yield gauge("queue_jobs", told, queue.backlog._asdict(), "state")
    oldest = "how long the job at the front of the queue has waited at least; 0 if none waits"
    yield gauge("queue_oldest_job_seconds", oldest, queue.oldest_job_s or 0.0)
    still = "how long the same job has been seen at the front of the queue; 0 if none waits"
    yield gauge("queue_front_still_seconds", still, queue.front_still_s or 0.0)
    if queue.size_bytes is not None:
        told = "memory of the list of jobs, as Redis estimates it (MEMORY USAGE)"
        yield gauge("queue_bytes", told, queue.size_bytes)
    if queue.memory is not None:
        yield gauge("redis_memory_bytes", "memory that Redis uses, as it counts it", queue.memory.used)
        limit = "maxmemory of Redis, or the memory of its machine"
        yield gauge("redis_memory_limit_bytes", limit, queue.memory.limit)
