"""Turns jobs into the columns of two statements, as the job itself would write them. Pure."""

from collections.abc import Iterable, Sequence
from operator import attrgetter
from typing import NamedTuple
from uuid import UUID

import msgspec

from streams.laravel.job import Job
from streams.models import FIELDS, JobMetric

PHP_EMPTY = (None, "", "0")
"""The dedupe ids that PHP's ``empty()``, which the job asks, takes for none at all."""


class MetricRow(NamedTuple):
    """A row of ``metrics_raw``."""

    tenant_id: UUID
    metric: JobMetric
    """Its names texts, its value a double and its timestamp given, as the columns hold them."""


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
        tenant_id = UUID(job.tenant_id)
        for metric in job.metrics:
            row = MetricRow(tenant_id, _as_stored(metric))
            if metric.dedupe_id in PHP_EMPTY:
                inserts.append(row)
            else:
                # A statement may not touch a row twice (PostgreSQL: "cannot affect row a second time").
                upserts[tenant_id, str(metric.dedupe_id)] = row
    return Rows([upserts[key] for key in sorted(upserts)], inserts)


def columns_of(rows: Sequence[MetricRow]) -> list[list[object]]:
    """Return rows as a statement's parameters: a list for the tenants, and one for each of `FIELDS`."""
    metrics = [row.metric for row in rows]
    return [[row.tenant_id for row in rows], *(list(map(attrgetter(name), metrics)) for name in FIELDS)]


def _as_stored(metric: JobMetric) -> JobMetric:
    agent_id, metric_name, value = metric.agent_id, metric.metric_name, metric.value
    if type(agent_id) is str and type(metric_name) is str and type(value) is float:
        return metric
    return msgspec.structs.replace(
        metric, agent_id=str(agent_id), metric_name=str(metric_name), value=float(value)
    )
