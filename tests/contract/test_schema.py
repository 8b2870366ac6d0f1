"""Our schema is the one that Laravel's migrations make."""

import asyncpg

from streams.database.schema import ensure_tables
from streams.database.session import connected
from tests.contract.laravel import Laravel
from tests.parts.postgres import Postgres

COLUMNS = """
select table_name, ordinal_position, column_name, udt_name, character_maximum_length, datetime_precision,
       is_nullable, column_default
from information_schema.columns where table_schema = 'public'
order by table_name, ordinal_position
"""
CONSTRAINTS = """
select conrelid::regclass::text, conname, pg_get_constraintdef(oid)
from pg_constraint where connamespace = 'public'::regnamespace order by 1, 2
"""
INDEXES = "select tablename, indexname, indexdef from pg_indexes where schemaname = 'public' order by 1, 2"


async def described(connection: asyncpg.Connection) -> dict[str, list[tuple[object, ...]]]:
    queries = {"columns": COLUMNS, "constraints": CONSTRAINTS, "indexes": INDEXES}
    return {name: [tuple(row) for row in await connection.fetch(sql)] for name, sql in queries.items()}


async def test_our_tables_are_those_that_laravel_makes(
    laravel: Laravel, database_url: str, postgres: Postgres, unique: str
) -> None:
    laravel.migrate()
    with postgres.new_database(f"{unique}_ours") as our_url:
        await ensure_tables(our_url)
        async with connected(database_url) as theirs, connected(our_url) as ours:
            assert await described(ours) == await described(theirs)


async def test_setting_up_leaves_laravels_tables_alone_and_adds_the_trigger(
    laravel: Laravel, database_url: str
) -> None:
    laravel.migrate()
    async with connected(database_url) as connection:
        before = await described(connection)
        assert [line.split()[0] for line in await ensure_tables(database_url)] == ["present"] * 3
        assert await described(connection) == before
        triggers = await connection.fetch("select tgname from pg_trigger where not tgisinternal order by 1")
        assert [row["tgname"] for row in triggers] == [
            "metric_streams_tenants_changed",
            "metric_streams_tenants_emptied",
        ]
