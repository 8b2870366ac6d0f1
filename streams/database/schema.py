"""Creates the tables for those who run no Laravel, and the trigger that both can use."""

from importlib import resources

import asyncpg

from streams.database.session import connected

ADVISORY_LOCK = 0x6D65_7472_6963  # "metric" in ASCII; any number that nobody else takes
TABLES = ("tenants", "metrics_raw", "failed_jobs")

TENANTS_CHANNEL = "metric_streams_tenants"
"""The NOTIFY channel with the id of a tenant that came or went; empty where all may have."""


def schema_sql() -> str:
    """Return the statements of ``schema.sql``."""
    return resources.files("streams.database").joinpath("schema.sql").read_text(encoding="utf-8")


async def apply_schema(connection: asyncpg.Connection) -> None:
    """Create what is missing of the tables and the trigger, in one transaction.

    The lock is there because two ``create table if not exists`` at the same moment can collide in
    PostgreSQL's own catalogue.
    """
    async with connection.transaction():
        await connection.execute("select pg_advisory_xact_lock($1)", ADVISORY_LOCK)
        await connection.execute("set local client_min_messages = warning")
        await connection.execute(schema_sql())


async def ensure_tables(database_url: str) -> list[str]:
    """Create what is missing of the tables and the trigger.

    Returns:
        A line for each table.

    Raises:
        Outage: PostgreSQL does not answer, or the user may not create tables.
    """
    async with connected(database_url) as connection:
        before = await _present(connection)
        await apply_schema(connection)
    return [f"{'present' if table in before else 'created'}  table {table}" for table in TABLES]


async def _present(connection: asyncpg.Connection) -> set[str]:
    rows = await connection.fetch(
        "select t from unnest($1::text[]) t where to_regclass(t) is not null", TABLES
    )
    return {row["t"] for row in rows}
