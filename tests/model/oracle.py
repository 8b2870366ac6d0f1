"""What must be true of the model's outside, told without the agents. Pure."""

from collections import Counter
from collections.abc import Iterable, Mapping
from typing import NamedTuple

from streams.models import Candidate, Message, Origin, Reason, Rejection
from streams.wire import raw, rejected
from streams.wire.job import decode_job
from tests.model.parts import Log

RowKey = tuple[str, str]


class Reading(NamedTuple):
    """A row's content."""

    agent_id: str
    metric_name: str
    value: float
    timestamp: str | None


def rows_of(jobs: Iterable[bytes]) -> dict[RowKey, Reading]:
    """Return the table after all jobs have run in the queue's order, each an upsert."""
    rows: dict[RowKey, Reading] = {}
    for payload in jobs:
        job = decode_job(payload)
        ids = [metric.dedupe_id for metric in job.metrics]
        assert len(ids) == len(set(ids)), "a job names an id twice"
        for metric in job.metrics:
            assert metric.dedupe_id is not None
            rows[job.tenant_id, metric.dedupe_id] = Reading(
                metric.agent_id, metric.metric_name, metric.value, metric.timestamp
            )
    return rows


def job_uuids(jobs: Iterable[bytes]) -> Counter[str]:
    """Count the jobs by their uuid."""
    return Counter(decode_job(payload).uuid for payload in jobs)


def messages_of(log: Log) -> list[tuple[int, int, Message]]:
    """Return every message of a partition's log, with offset and index."""
    return [
        (offset, index, message)
        for offset, record in enumerate(log)
        for index, message in enumerate(raw.decode(record.value))
    ]


def refused(log: Log) -> Counter[tuple[Origin, int, Reason]]:
    """Count what stands on a partition of metrics.rejected, by message and reason."""
    found: Counter[tuple[Origin, int, Reason]] = Counter()
    for record in log:
        chunk = rejected.decode(record.value)
        found.update((chunk.origin, message.index, chunk.reason) for message in chunk.messages)
    return found


def upserted(rows: dict[RowKey, Reading], candidate: Candidate) -> None:
    """Do with a message what happens without dedupe."""
    reading = candidate.reading
    key = reading.dedupe_id or reading.key
    rows[reading.tenant_id, key] = Reading(
        reading.agent_id, reading.metric_name, reading.value, reading.timestamp
    )


def same_rows(found: Mapping[RowKey, Reading], expected: Mapping[RowKey, Reading]) -> bool:
    """Compare; where no device sent a timestamp a duplicate leaves the time of the first arrival."""
    return found.keys() == expected.keys() and all(found[key][:3] == expected[key][:3] for key in expected)


def is_rejected(outcome: object) -> bool:
    """Tell whether parse or validate refuse a message."""
    return isinstance(outcome, Rejection)
