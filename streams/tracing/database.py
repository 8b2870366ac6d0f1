"""Finds what became of a job and a reading in the database: the row, and the job that failed for good."""

from datetime import datetime
from typing import NamedTuple

from streams.database.session import connected
from streams.models import Reading
from streams.settings import Settings

ROW = """
select agent_id, metric_name, value, "timestamp", dedupe_id from metrics_raw
where tenant_id::text = $1 and dedupe_id = $2
"""
ROW_WITHOUT_ID = """
select agent_id, metric_name, value, "timestamp", dedupe_id from metrics_raw
where tenant_id::text = $1 and agent_id = $2 and metric_name = $3 and "timestamp" = $4 and value = $5
"""
FAILED = "select failed_at, exception from failed_jobs where uuid = $1"


class DatabaseRow(NamedTuple):
    """A row of metrics_raw."""

    agent_id: str
    metric_name: str
    value: float
    timestamp: datetime
    dedupe_id: str | None


class Failure(NamedTuple):
    """A job that failed for good."""

    failed_at: datetime
    exception: str


class Stored(NamedTuple):
    """What the database holds."""

    row: DatabaseRow | None
    failure: Failure | None


async def find_stored(settings: Settings, reading: Reading, uuid: str | None) -> Stored:
    """Return the row that a reading wrote, and its job if that failed.

    Raises:
        Outage: PostgreSQL does not answer, or lacks the tables.
    """
    derives = settings.dedupe_id_when_missing == "derive"
    dedupe_id = reading.dedupe_id or (reading.key if derives else None)
    async with connected(settings.database_url.get_secret_value()) as connection:
        if dedupe_id is not None:
            rows = await connection.fetch(ROW, reading.tenant_id, dedupe_id)
        else:
            when = datetime.fromisoformat(reading.timestamp)
            named = (reading.agent_id, reading.metric_name, when, float(reading.value))
            rows = await connection.fetch(ROW_WITHOUT_ID, reading.tenant_id, *named)
        failures = await connection.fetch(FAILED, uuid) if uuid else []
    row = DatabaseRow(*rows[0]) if rows else None
    return Stored(row, Failure(*failures[0]) if failures else None)
