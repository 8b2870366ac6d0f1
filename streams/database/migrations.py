"""The columns that versions have added to the tables of ``schema.sql``, and how ``setup`` adds them.

A column may be null and has no default: adding it rewrites no row, and an older ``ingest``, which names its
columns, goes on writing beside it. Tables that Laravel's migrations made are left to them.
"""

import asyncio
from collections.abc import Collection, Sequence
from typing import NamedTuple

import asyncpg

from streams.backoff import delays
from streams.database.catalogue import Table, Tables, read_tables

RECORD = "metric_streams_migrations"
"""The table that tells which of the columns were added here, and when."""
LARAVELS_RECORD = "migrations"
"""Laravel's own of that kind: where it stands and ours does not, Laravel makes the tables."""
LOCK_TIMEOUT_S = 1.0
"""How long adding a column waits for a batch that is being written; the next batches wait behind it."""
TRIES = 8


class NewColumn(NamedTuple):
    """A column that a version has added."""

    number: int
    """They count from 1. What was released keeps its number and is never changed."""
    table: str
    name: str
    type: str

    def __str__(self) -> str:
        return f"column {self.table}.{self.name}"

    @property
    def statement(self) -> str:
        """What adds it."""
        return f'alter table {self.table} add column "{self.name}" {self.type} null'


ADDED: tuple[NewColumn, ...] = ()
"""In the order of their numbers."""

RECORD_SQL = f"""
create table if not exists {RECORD} (
    number integer primary key,
    change text not null,
    applied_at timestamptz not null default now()
)
"""
NOTE = f"insert into {RECORD} (number, change) values ($1, $2) on conflict do nothing"  # noqa: S608 - a constant


async def add_columns(
    connection: asyncpg.Connection,
    columns: Sequence[NewColumn],
    made_by_us: Collection[str],
    *,
    lock: int,
    lock_timeout_s: float = LOCK_TIMEOUT_S,
) -> list[str]:
    """Add what is missing of some columns, and note those that are there.

    It does not wait long for a lock that others hold, since all who write would wait behind it: it lets them
    pass and tries again.

    Args:
        connection: outside of a transaction.
        columns: in the order of their numbers.
        made_by_us: tables that were created in this very call.
        lock: of the advisory lock, so that only one adds.
        lock_timeout_s: how long a try waits for a table.

    Returns:
        A line for each column.

    Raises:
        LockNotAvailableError: somebody kept a table locked for as long as it was tried.
    """
    waits = delays()
    for _ in range(TRIES - 1):
        try:
            return await _add(connection, columns, made_by_us, lock, lock_timeout_s)
        except asyncpg.LockNotAvailableError:
            await asyncio.sleep(next(waits))
    return await _add(connection, columns, made_by_us, lock, lock_timeout_s)


async def _add(
    connection: asyncpg.Connection,
    columns: Sequence[NewColumn],
    made_by_us: Collection[str],
    lock: int,
    lock_timeout_s: float,
) -> list[str]:
    if not columns:
        return []
    async with connection.transaction():
        await connection.execute("select pg_advisory_xact_lock($1)", lock)
        await connection.execute("set local client_min_messages = warning")
        # A statement that waits for a table's lock makes all others wait behind it, readers as well.
        await connection.execute(f"set local lock_timeout = '{lock_timeout_s * 1000:.0f}ms'")
        tables = await read_tables(connection, RECORD, LARAVELS_RECORD, *{column.table for column in columns})
        is_laravels = tables[RECORD] is None and _is_laravels(tables[LARAVELS_RECORD])
        ours = [column for column in columns if column.table in made_by_us or not is_laravels]
        lines = [await _add_one(connection, column, tables, is_ours=column in ours) for column in columns]
        if ours:
            await connection.execute(RECORD_SQL)
            await connection.executemany(
                NOTE, [(column.number, f"{column.table}.{column.name}") for column in ours]
            )
    return lines


def _is_laravels(record: Table | None) -> bool:
    return record is not None and {"migration", "batch"} <= set(record.columns or {})


async def _add_one(
    connection: asyncpg.Connection, column: NewColumn, tables: Tables, *, is_ours: bool
) -> str:
    """Add a column where it is missing and ours to add, and return the line that tells it."""
    table = tables[column.table]
    if table is not None and column.name in (table.columns or {}):
        return f"present  {column}"
    if not is_ours:
        mend = "Laravel has made the table, so let a migration of the application add it"
        return f"missing  {column}: {mend} ({column.statement})"
    await connection.execute(column.statement)
    return f"added    {column}"
