"""The statements that write metrics and failed jobs."""

from streams.models import FIELDS

IDENTITY = "tenant_id, dedupe_id"
COLUMNS = ("tenant_id", *FIELDS)
"""Those of metrics_raw that are written, in the order of the parameters."""

# PostgreSQL itself reads the timestamps, and refuses what does not fit a column, just as when Laravel writes.
_PARAMETERS = {"tenant_id": "uuid", "value": "float8"}
_READ_AS = {"timestamp": '"timestamp"::timestamp(6)'}
_QUOTED = {name: f'"{name}"' for name in COLUMNS}
_NAMES = ", ".join(_QUOTED.values())
INSERT = f"""
insert into metrics_raw ({_NAMES})
select {", ".join(_READ_AS.get(name, _QUOTED[name]) for name in COLUMNS)}
from unnest({", ".join(f"${i}::{_PARAMETERS.get(name, 'text')}[]" for i, name in enumerate(COLUMNS, 1))})
    as job ({_NAMES})
"""  # noqa: S608 - of names that stand here

# A job that is given up twice, after a crash in between, has the same uuid: one row.
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
    corrected = ", ".join(
        f"{_QUOTED[name]} = excluded.{_QUOTED[name]}" for name in FIELDS if name != "dedupe_id"
    )
    return f"{INSERT} on conflict ({target}) do update set {corrected}"
