"""Creates the tables for those who run no Laravel, and the trigger that both can use."""

from collections.abc import Sequence
from importlib import resources

import asyncpg

from streams.database.migrations import ADDED, NewColumn, add_columns
from streams.database.session import connected

ADVISORY_LOCK = 0x6D65_7472_6963  # "metric" in ASCII; any number that nobody else takes
TABLES = ("tenants", "metrics_raw", "failed_jobs")

TENANTS_CHANNEL = "metric_streams_tenants"
"""The NOTIFY channel with the id of a tenant that came or went; empty where all may have."""


def schema_sql() -> str:
    """Return the statements of ``schema.sql``."""
    return resources.files("streams.database").joinpath("schema.sql").read_text(encoding="utf-8")


async def apply_schema(connection: asyncpg.Connection, columns: Sequence[NewColumn] = ADDED) -> list[str]:
    """Create what is missing of the tables and the trigger in one transaction, then of the columns.

    The lock is there because two ``create table if not exists`` at the same moment can collide in
    PostgreSQL's own catalogue.

    Returns:
        A line for each table and for each column.
    """
    async with connection.transaction():
        await connection.execute("select pg_advisory_xact_lock($1)", ADVISORY_LOCK)
        await connection.execute("set local client_min_messages = warning")
        # Behind the lock: another setup may have created them a moment ago.
        before = await _present(connection)
        await connection.execute(schema_sql())
    lines = [f"{'present' if table in before else 'created'}  table {table}" for table in TABLES]
    made_by_us = {*TABLES} - before
    return lines + await add_columns(connection, columns, made_by_us, lock=ADVISORY_LOCK)


async def ensure_tables(database_url: str, columns: Sequence[NewColumn] = ADDED) -> list[str]:
    """Create what is missing of the tables, the trigger and the columns that were added since.

    Returns:
        A line for each table and for each column.

    Raises:
        Outage: PostgreSQL does not answer, or the user may not create tables.
    """
    async with connected(database_url) as connection:
        return await apply_schema(connection, columns)


async def _present(connection: asyncpg.Connection) -> set[str]:
    rows = await connection.fetch(
        "select t from unnest($1::text[]) t where to_regclass(t) is not null", TABLES
    )
    return {row["t"] for row in rows}
