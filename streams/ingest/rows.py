"""Turns jobs into the columns of two statements, as the job itself would write them. Pure."""

from collections.abc import Iterable, Iterator, Sequence
from typing import NamedTuple
from uuid import UUID

import msgspec

from streams.laravel.job import Job, JobMetric

PHP_EMPTY = (None, "", "0")
"""The dedupe ids that PHP's ``empty()``, which the job asks, takes for none at all."""


class MetricRow(NamedTuple):
    """A row of ``metrics_raw``; the order is that of the statements' parameters."""

    tenant_id: UUID
    agent_id: str
    metric_name: str
    value: float
    timestamp: str
    dedupe_id: str | None


class Rows(NamedTuple):
    """What a batch of jobs writes."""

    upserts: list[MetricRow]
    """With a dedupe id, each once: the last of the batch wins, as if the jobs ran one after the other.

    In the order of their keys, so that workers with the same keys wait for each other and do not deadlock.
    """
    inserts: list[MetricRow]
    """Without one: always new rows."""


def stamped(job: Job, now: str) -> Job:
    """Return the job with `now` for every timestamp that is null, as the application fills them."""
    if all(metric.timestamp is not None for metric in job.metrics):
        return job
    metrics = [
        metric if metric.timestamp is not None else msgspec.structs.replace(metric, timestamp=now)
        for metric in job.metrics
    ]
    return msgspec.structs.replace(job, metrics=metrics)


def rows_of(jobs: Iterable[Job]) -> Rows:
    """Sort the metrics of stamped jobs, in the queue's order, into rows to upsert and rows to insert."""
    upserts: dict[tuple[UUID, str], MetricRow] = {}
    inserts: list[MetricRow] = []
    for job in jobs:
        for row in _rows(UUID(job.tenant_id), job.metrics):
            if row.dedupe_id in PHP_EMPTY:
                inserts.append(row)
            else:
                upserts[row.tenant_id, str(row.dedupe_id)] = row
    return Rows([upserts[key] for key in sorted(upserts)], inserts)


def _rows(tenant_id: UUID, metrics: Sequence[JobMetric]) -> Iterator[MetricRow]:
    for metric in metrics:
        yield MetricRow(
            tenant_id,
            str(metric.agent_id),
            str(metric.metric_name),
            float(metric.value),
            str(metric.timestamp),
            metric.dedupe_id,
        )
