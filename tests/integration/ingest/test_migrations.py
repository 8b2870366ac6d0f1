"""`setup --database` adds the columns of a new version, beside older workers and Laravel's own migrations."""

import asyncio
from collections.abc import AsyncIterator

import asyncpg
import pytest

from streams.counters import Count, Statistics
from streams.database.migrations import ADDED, RECORD, NewColumn, add_columns
from streams.database.schema import ADVISORY_LOCK, apply_schema, ensure_tables
from streams.database.session import DatabaseSession, connected
from streams.errors import Outage
from streams.ingest.store import PostgresStore
from streams.laravel.reserve import ReservingQueue
from streams.models import FIELDS
from tests.integration.ingest.bench import Bench, failures, make_worker, metric, running
from tests.parts.eventually import eventually

COLOUR = NewColumn(len(ADDED) + 1, "metrics_raw", "colour", "varchar(16)")
SHADE = NewColumn(len(ADDED) + 2, "metrics_raw", "shade", "varchar(16)")
BOTH = (*ADDED, COLOUR, SHADE)
LARAVELS = "create table migrations (id serial primary key, migration varchar(255), batch integer)"
COLUMNS = """
select column_name, data_type, character_maximum_length, is_nullable, column_default
from information_schema.columns where table_name = 'metrics_raw' and column_name = any($1) order by 1
"""
PLAIN_ROW = """
with tenant as (insert into tenants (id, name) values (gen_random_uuid(), 'one') returning id)
insert into metrics_raw (tenant_id, agent_id, metric_name, value, "timestamp")
select id, 'edge-7', 'cpu', 1, now() from tenant
"""


@pytest.fixture
async def empty(database_url: str) -> AsyncIterator[asyncpg.Connection]:
    async with connected(database_url) as connection:
        yield connection


async def new_columns(connection: asyncpg.Connection) -> list[tuple[object, ...]]:
    return [tuple(row) for row in await connection.fetch(COLUMNS, [COLOUR.name, SHADE.name])]


async def recorded(connection: asyncpg.Connection) -> list[tuple[int, str]]:
    rows = await connection.fetch(f"select number, change from {RECORD} order by 1")  # noqa: S608 - a constant
    return [(row["number"], row["change"]) for row in rows]


def said_of(columns: tuple[NewColumn, ...], word: str) -> list[str]:
    return [f"{word:8} {column}" for column in columns]


async def test_a_new_database_has_a_column_for_each_field(empty: asyncpg.Connection) -> None:
    await apply_schema(empty)
    columns = await empty.fetch(
        "select attname from pg_attribute where attrelid = 'metrics_raw'::regclass and attnum > 0"
    )
    assert {row["attname"] for row in columns} == {"id", "tenant_id", *FIELDS}


async def test_a_new_database_gets_every_column_and_notes_it(empty: asyncpg.Connection) -> None:
    lines = await apply_schema(empty, BOTH)
    assert lines[:3] == ["created  table tenants", "created  table metrics_raw", "created  table failed_jobs"]
    assert lines[3:] == said_of(BOTH, "added")
    assert await new_columns(empty) == [
        ("colour", "character varying", 16, "YES", None),
        ("shade", "character varying", 16, "YES", None),
    ]
    assert await recorded(empty) == [(column.number, f"metrics_raw.{column.name}") for column in BOTH]


async def test_a_database_of_the_version_before_keeps_its_rows(empty: asyncpg.Connection) -> None:
    await apply_schema(empty)
    await empty.execute(PLAIN_ROW)
    assert (await apply_schema(empty, BOTH))[-2:] == said_of((COLOUR, SHADE), "added")
    rows = await empty.fetch("select value, colour, shade from metrics_raw")
    assert [tuple(row) for row in rows] == [(1.0, None, None)]


async def test_a_second_time_nothing_changes(empty: asyncpg.Connection) -> None:
    await apply_schema(empty, (*ADDED, COLOUR))
    first = await empty.fetch(f"select * from {RECORD} order by number")  # noqa: S608 - a constant
    assert (await apply_schema(empty, (*ADDED, COLOUR)))[3:] == said_of((*ADDED, COLOUR), "present")
    assert await empty.fetch(f"select * from {RECORD} order by number") == first  # noqa: S608 - a constant
    assert (await apply_schema(empty, BOTH))[3:] == [
        *said_of((*ADDED, COLOUR), "present"),
        *said_of((SHADE,), "added"),
    ]


async def test_an_older_setup_leaves_what_a_newer_one_has_added(empty: asyncpg.Connection) -> None:
    await apply_schema(empty, BOTH)
    await apply_schema(empty)
    assert len(await new_columns(empty)) == 2
    assert len(await recorded(empty)) == len(BOTH)


async def test_a_column_that_somebody_has_dropped_comes_back(empty: asyncpg.Connection) -> None:
    await apply_schema(empty, BOTH)
    await empty.execute("alter table metrics_raw drop column colour")
    assert f"added    {COLOUR}" in await apply_schema(empty, BOTH)


@pytest.mark.parametrize("is_new", [True, False])
async def test_of_two_setups_at_once_one_adds(database_url: str, *, is_new: bool) -> None:
    if not is_new:
        await ensure_tables(database_url)
    told = await asyncio.gather(*(ensure_tables(database_url, BOTH) for _ in range(2)))
    for column in (COLOUR, SHADE):
        assert sorted(line for lines in told for line in lines if str(column) in line) == [
            f"added    {column}",
            f"present  {column}",
        ]
    async with connected(database_url) as connection:
        assert len(await recorded(connection)) == len(BOTH)


async def test_an_older_ingest_goes_on_writing_beside_it(
    bench: Bench,
    queue: ReservingQueue,
    session: DatabaseSession,
    database: asyncpg.Connection,
    *,
    tenant: str,
    database_url: str,
) -> None:
    """Its statements name the columns that it knows: those of this version, and not the two new ones."""
    statistics, pushed, is_over = Statistics(), 0, asyncio.Event()

    async def push() -> None:
        nonlocal pushed
        while not is_over.is_set():
            await bench.push(metric(f"d-{pushed}"), tenant_id=tenant)
            pushed += 1

    async with running(make_worker(queue, PostgresStore(session), statistics=statistics)):
        pushing = asyncio.create_task(push())
        await eventually(lambda: statistics.messages[Count.INGESTED] > 50)
        assert (await ensure_tables(database_url, BOTH))[-2:] == said_of((COLOUR, SHADE), "added")
        added_at = statistics.messages[Count.INGESTED]
        await eventually(lambda: statistics.messages[Count.INGESTED] > added_at + 50)
        is_over.set()
        await pushing
        await eventually(bench.is_empty)
    assert await database.fetchval("select count(*) from metrics_raw") == pushed
    assert await failures(database) == []
    assert statistics.messages[Count.JOBS_DONE] == pushed


async def test_it_lets_those_who_write_pass_while_somebody_holds_the_table(
    empty: asyncpg.Connection, database_url: str
) -> None:
    await apply_schema(empty)
    async with connected(database_url) as holder, connected(database_url) as writer:
        held = holder.transaction()
        await held.start()
        await holder.execute(PLAIN_ROW)
        adding = asyncio.create_task(add_columns(empty, BOTH, (), lock=ADVISORY_LOCK, lock_timeout_s=0.1))
        await eventually(lambda: is_waiting(writer))
        await writer.execute(PLAIN_ROW)  # waits for the try, not for the holder
        assert not adding.done()
        await held.commit()
        assert (await adding)[-2:] == said_of((COLOUR, SHADE), "added")
    assert await empty.fetchval("select count(*) from metrics_raw") == 2


async def is_waiting(connection: asyncpg.Connection) -> bool:
    waiting = "select count(*) from pg_locks where not granted and relation = 'metrics_raw'::regclass"
    return bool(await connection.fetchval(waiting))


async def test_a_table_that_stays_locked_is_told_in_one_line(
    empty: asyncpg.Connection, database_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("streams.database.migrations.TRIES", 2)
    await apply_schema(empty)
    async with connected(database_url) as holder, holder.transaction():
        await holder.execute(PLAIN_ROW)
        with pytest.raises(Outage, match="lock timeout") as caught:
            async with connected(database_url) as connection:
                await add_columns(connection, BOTH, (), lock=ADVISORY_LOCK, lock_timeout_s=0.05)
        assert "\n" not in str(caught.value)
    assert await new_columns(empty) == []


async def test_tables_that_laravel_made_are_left_to_its_migrations(empty: asyncpg.Connection) -> None:
    await apply_schema(empty)
    await empty.execute(LARAVELS)
    await empty.execute(SHADE.statement)
    before = await new_columns(empty)
    colour, shade = (await apply_schema(empty, BOTH))[-2:]
    assert colour.startswith(f"missing  {COLOUR}: Laravel has made the table")
    assert COLOUR.statement in colour
    assert shade == f"present  {SHADE}"
    assert await new_columns(empty) == before
    assert await empty.fetchval("select to_regclass($1)", RECORD) is None


async def test_tables_that_setup_made_beside_laravels_stay_its_own(empty: asyncpg.Connection) -> None:
    await empty.execute(LARAVELS)
    assert f"added    {COLOUR}" in await apply_schema(empty, (*ADDED, COLOUR))
    assert f"added    {SHADE}" in await apply_schema(empty, BOTH)


async def test_a_table_of_another_framework_that_is_called_so_means_nothing(
    empty: asyncpg.Connection,
) -> None:
    await apply_schema(empty)
    await empty.execute('create table migrations (id serial primary key, "timestamp" bigint, name varchar)')
    assert f"added    {COLOUR}" in await apply_schema(empty, BOTH)
