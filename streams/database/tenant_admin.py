"""Lists, adds and removes tenants: what stands behind ``metric-streams tenants``."""

from collections.abc import Iterable, Sequence
from datetime import datetime
from uuid import UUID, uuid4

import asyncpg
import msgspec

from streams.database.catalogue import read_tables
from streams.database.schema import TENANTS_CHANNEL
from streams.database.tenants import existing
from streams.errors import MetricStreamsError

LIST = (
    "select id::text as id, name, created_at from tenants order by created_at nulls first, name, tenants.id"
)

# The application's migration may ask for settings, so they are given: an empty object.
ADD = """
insert into tenants (id, name, settings, created_at, updated_at)
values ($1::uuid, $2, '{}', now() at time zone 'utc', now() at time zone 'utc')
returning id::text as id, name, created_at
"""

# As text, since an id may be a char(36).
ONE = "select 1 from tenants where id::text = $1 for update"
HAS_METRICS = """
select exists (
    select from metrics_raw where tenant_id = (select id from tenants where id::text = $1)
)
"""


class Tenant(msgspec.Struct, frozen=True):
    """One customer of the application, as its table has it."""

    id: UUID
    name: str
    created_at: datetime | None
    """UTC, without a zone; None where the application left it out."""


async def list_tenants(connection: asyncpg.Connection) -> Sequence[Tenant]:
    """Return all tenants, the oldest first."""
    return [_tenant(row) for row in await connection.fetch(LIST)]


async def existing_tenants(connection: asyncpg.Connection, tenant_ids: Iterable[str]) -> set[str]:
    """Return those of the ids, UUIDs in their canonical form, that exist."""
    tenants = (await read_tables(connection, "tenants"))["tenants"]
    question = existing(tenants.type_of("id") if tenants else "")
    return {row["id"] for row in await connection.fetch(question, list(tenant_ids))}


async def add_tenant(connection: asyncpg.Connection, name: str, tenant_id: UUID | None = None) -> Tenant:
    """Create a tenant and tell every worker.

    Raises:
        MetricStreamsError: the id is taken, or the name does not fit.
    """
    new_id = tenant_id or uuid4()
    try:
        async with connection.transaction():
            rows = await connection.fetch(ADD, new_id, name)
            await _tell_workers(connection, new_id)
    except asyncpg.UniqueViolationError:
        raise MetricStreamsError(f"there is already a tenant {new_id}") from None
    except asyncpg.DataError as error:
        raise MetricStreamsError(f"the name {name!r} does not fit: {error}") from None
    return _tenant(rows[0])


async def remove_tenant(connection: asyncpg.Connection, tenant_id: UUID, *, with_metrics: bool) -> None:
    """Delete a tenant and tell every worker.

    The table's foreign key takes the tenant's metrics along, which cannot be undone.

    Args:
        connection: to the application's database.
        tenant_id: which one.
        with_metrics: also where the tenant has metrics.

    Raises:
        MetricStreamsError: there is no such tenant, or it has metrics and `with_metrics` is off.
    """
    async with connection.transaction():
        if not await connection.fetchval(ONE, str(tenant_id)):
            raise MetricStreamsError(f"there is no tenant {tenant_id}")
        if not with_metrics and await connection.fetchval(HAS_METRICS, str(tenant_id)):
            raise MetricStreamsError(
                f"tenant {tenant_id} has metrics, which would go with it: add --with-metrics if that is meant"
            )
        await connection.execute("delete from tenants where id::text = $1", str(tenant_id))
        await _tell_workers(connection, tenant_id)


async def _tell_workers(connection: asyncpg.Connection, tenant_id: UUID) -> None:
    """Notify as the trigger does, for a database without it; equal ones in a transaction become one."""
    await connection.execute("select pg_notify($1, $2)", TENANTS_CHANNEL, str(tenant_id))


def _tenant(row: asyncpg.Record) -> Tenant:
    return Tenant(UUID(row["id"]), row["name"], row["created_at"])
