"""Looks at PostgreSQL: whether it takes rows, whether the tables fit, and what its user may do."""

from collections.abc import Iterable, Sequence
from typing import NamedTuple

import asyncpg

from streams.database.catalogue import Tables, faults, notices, read_tables
from streams.database.schema import TABLES
from streams.database.session import connected
from streams.doctor.finding import Finding, broken, ok, warning

PART = "postgres"
RIGHTS = {
    "tenants": ("select",),
    "metrics_raw": ("select", "insert", "update"),
    "failed_jobs": ("insert",),
}
"""What the worker and ingest do there, by table."""

SERVER = """
select current_setting('server_version') as version,
       pg_is_in_recovery() as is_standby,
       current_setting('transaction_read_only')::bool as is_read_only,
       current_setting('synchronous_commit') as synchronous_commit,
       current_user as "user"
"""
MISSING = """
select relation, privilege from unnest($1::text[], $2::text[]) as asked(relation, privilege)
where to_regclass(relation) is not null and not has_table_privilege(relation, privilege)
"""


class Server(NamedTuple):
    """What the server says of itself."""

    version: str
    is_standby: bool
    is_read_only: bool
    synchronous_commit: str
    user: str


async def examine_postgres(database_url: str) -> list[Finding]:
    """Look at the server and at the tables.

    Raises:
        Outage: it does not answer, or does not let us in.
    """
    async with connected(database_url) as connection:
        server = Server(*(await connection.fetch(SERVER))[0])
        tables = await read_tables(connection, *TABLES)
        missing = await _missing_rights(connection)
        tenants = await _count_tenants(connection, tables, missing)
    return [*of_server(server), *of_tables(tables), *of_rights(server.user, missing), *of_tenants(tenants)]


async def _missing_rights(connection: asyncpg.Connection) -> list[tuple[str, str]]:
    asked = [(table, right) for table, rights in RIGHTS.items() for right in rights]
    rows = await connection.fetch(MISSING, [table for table, _ in asked], [right for _, right in asked])
    return [(row["relation"], row["privilege"]) for row in rows]


async def _count_tenants(
    connection: asyncpg.Connection, tables: Tables, missing: Sequence[tuple[str, str]]
) -> int | None:
    if tables["tenants"] is None or ("tenants", "select") in missing:
        return None
    return int(await connection.fetchval("select count(*) from tenants"))


def of_server(server: Server) -> Iterable[Finding]:
    """Return what is to be said of the server."""
    if server.is_standby:
        mend = "Let DATABASE_URL lead to the primary, or promote this server"
        yield broken(PART, f"{server.version}, a standby: it takes no rows", mend)
    elif server.is_read_only:
        mend = (
            f"alter role {server.user} reset default_transaction_read_only (it may be the database's, or the "
            "server's), or free its disk, if that is why somebody set it"
        )
        yield broken(PART, f"{server.version}, read-only: ingest can write no row", mend)
    else:
        yield ok(PART, f"{server.version}, takes rows")
    if server.synchronous_commit == "off":
        seen = "synchronous_commit is off: a crash of the server loses rows whose jobs are gone"
        yield warning(PART, seen, f"alter role {server.user} set synchronous_commit = on")


def of_tables(tables: Tables) -> Iterable[Finding]:
    """Return what is to be said of the tables."""
    found = faults(tables)
    yield from (broken(PART, fault.seen, fault.mend) for fault in found)
    for notice in notices(tables):
        yield warning(PART, notice, "Leave it, if that is meant; else give it an index over those two alone")
    if not found:
        yield ok(PART, f"the tables {', '.join(TABLES)} have their columns and the unique index")


def of_rights(user: str, missing: Sequence[tuple[str, str]]) -> Iterable[Finding]:
    """Return what is to be said of the user's rights."""
    for table, right in missing:
        yield broken(PART, f"{user} may not {right} on {table}", f"grant {right} on {table} to {user}")
    if not missing:
        yield ok(PART, f"{user} may do what the worker and ingest do")


def of_tenants(count: int | None) -> Iterable[Finding]:
    """Return what is to be said of how many tenants there are; None if that is not known."""
    if count == 0:
        mend = "metric-streams tenants add NAME, or let the application add one"
        yield warning(PART, "there is no tenant: every message is rejected as tenant_unknown", mend)
    elif count is not None:
        yield ok(PART, f"{count:,} tenant{'s' * (count != 1)}")
