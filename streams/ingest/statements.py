"""The statements that write metrics and failed jobs."""

IDENTITY = "tenant_id, dedupe_id"

# PostgreSQL itself reads the timestamps, and refuses what does not fit a column, just as when Laravel writes.
INSERT = """
insert into metrics_raw (tenant_id, agent_id, metric_name, value, "timestamp", dedupe_id)
select tenant_id, agent_id, metric_name, value, "timestamp"::timestamp(6), dedupe_id
from unnest($1::uuid[], $2::text[], $3::text[], $4::float8[], $5::text[], $6::text[])
    as job (tenant_id, agent_id, metric_name, value, "timestamp", dedupe_id)
"""

FAIL = """
insert into failed_jobs (uuid, connection, queue, payload, exception, failed_at)
values ($1, $2, $3, $4, $5, now() at time zone 'utc')
on conflict do nothing
"""

A_TENANT = """
select id::text from tenants where id::text ~ '^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$'
order by random() limit 1
"""


def upsert(target: str = IDENTITY) -> str:
    """Return the statement for rows with a dedupe id.

    Args:
        target: the index on which a row is recognized, as `streams.database.catalogue` tells it.
    """
    return f"""{INSERT}
on conflict ({target}) do update set
    agent_id = excluded.agent_id,
    metric_name = excluded.metric_name,
    value = excluded.value,
    "timestamp" = excluded."timestamp"
"""
