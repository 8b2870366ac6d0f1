"""The tenants on a real PostgreSQL."""

import asyncio
import re
import time
import uuid
from collections.abc import AsyncIterator
from typing import Any

import asyncpg
import pytest

from streams.counters import Note, Statistics
from streams.database.schema import apply_schema, ensure_tables
from streams.database.session import DatabaseSession, connect, connected
from streams.database.tenant_admin import add_tenant, list_tenants, remove_tenant
from streams.database.tenant_cache import TenantCache
from streams.database.tenants import FakeTenants, TenantDirectory, Tenants
from streams.database.tenants import existing as question
from streams.errors import MetricStreamsError, Outage
from tests.parts.eventually import eventually
from tests.parts.postgres import Postgres

KEPT_S = 3_600.0


@pytest.fixture
async def database(database_url: str) -> AsyncIterator[asyncpg.Connection]:
    async with connected(database_url) as connection:
        await apply_schema(connection)
        yield connection


def make(database_url: str, *, known_s: float = KEPT_S, unknown_s: float = KEPT_S) -> TenantDirectory:
    cache = TenantCache(known_s=known_s, unknown_s=unknown_s, clock=time.monotonic)
    return TenantDirectory(database_url, cache, Statistics(), timeout_s=1.0)


async def queries(connection: asyncpg.Connection) -> int:
    """Count the questions for tenants that this database has ever been asked."""
    await connection.execute("select pg_stat_force_next_flush()")
    return int(
        await connection.fetchval(
            "select idx_scan + seq_scan from pg_stat_user_tables where relname = 'tenants'"
        )
    )


async def test_those_that_exist_are_known_and_no_others(
    database_url: str, database: asyncpg.Connection
) -> None:
    tenant = await add_tenant(database, "one")
    existing, other = str(tenant.id), str(uuid.uuid4())
    async with make(database_url) as directory:
        assert await directory.known([existing, other, existing]) == {existing}
        assert await directory.known([]) == set()


async def test_what_was_answered_is_not_asked_again(database_url: str, database: asyncpg.Connection) -> None:
    ids = [str((await add_tenant(database, "one")).id), str(uuid.uuid4())]
    async with make(database_url) as directory:
        await directory.known(ids)
        await database.execute("alter table tenants rename to hidden")
        assert await directory.known(ids) == {ids[0]}


async def test_a_tenant_added_counts_at_once(database_url: str, database: asyncpg.Connection) -> None:
    new = uuid.uuid4()
    async with make(database_url) as directory:
        assert await directory.known([str(new)]) == set()
        await database.execute("insert into tenants (id, name) values ($1, 'new')", new)

        async def is_known() -> bool:
            return bool(await directory.known([str(new)]))

        await eventually(is_known)


async def test_a_tenant_removed_counts_at_once(database_url: str, database: asyncpg.Connection) -> None:
    tenant = await add_tenant(database, "one")
    async with make(database_url) as directory:
        assert await directory.known([str(tenant.id)])
        await database.execute("delete from tenants")

        async def is_unknown() -> bool:
            return not await directory.known([str(tenant.id)])

        await eventually(is_unknown)


async def test_emptying_the_table_counts_at_once(database_url: str, database: asyncpg.Connection) -> None:
    tenant = await add_tenant(database, "one")
    async with make(database_url) as directory:
        assert await directory.known([str(tenant.id)])
        await database.execute("truncate tenants cascade")

        async def is_unknown() -> bool:
            return not await directory.known([str(tenant.id)])

        await eventually(is_unknown)


async def test_without_the_trigger_a_removed_tenant_counts_after_the_time(
    database_url: str, database: asyncpg.Connection
) -> None:
    tenant = await add_tenant(database, "one")
    await database.execute("drop trigger metric_streams_tenants_changed on tenants")
    async with make(database_url, known_s=0.05) as directory:
        assert await directory.known([str(tenant.id)])
        await database.execute("delete from tenants")

        async def is_unknown() -> bool:
            return not await directory.known([str(tenant.id)])

        await eventually(is_unknown)


async def test_the_command_notifies_where_there_is_no_trigger(
    database_url: str, database: asyncpg.Connection
) -> None:
    await database.execute("drop trigger metric_streams_tenants_changed on tenants")
    tenant = await add_tenant(database, "one")
    async with make(database_url) as directory:
        assert await directory.known([str(tenant.id)])
        await remove_tenant(database, tenant.id, with_metrics=False)

        async def is_unknown() -> bool:
            return not await directory.known([str(tenant.id)])

        await eventually(is_unknown)


@pytest.mark.parametrize("fault", ["stop", "pause"])
async def test_in_an_outage_known_tenants_pass_and_others_wait(
    database_url: str, database: asyncpg.Connection, postgres: Postgres, fault: str
) -> None:
    tenant = await add_tenant(database, "one")
    existing, other = str(tenant.id), str(uuid.uuid4())
    async with make(database_url, known_s=0.001) as directory:
        assert await directory.known([existing]) == {existing}
        await asyncio.to_thread(getattr(postgres, fault))
        assert await directory.known([existing]) == {existing}
        with pytest.raises(Outage, match="postgres"):
            await directory.known([existing, other])
        await asyncio.to_thread(postgres.heal)

        async def answers() -> bool:
            try:
                return await directory.known([existing, other]) == {existing}
            except Outage:
                return False

        await eventually(answers, 20)


async def test_changes_are_heard_again_after_an_outage_and_those_in_between_are_not_missed(
    database_url: str, database: asyncpg.Connection, postgres: Postgres
) -> None:
    before, during, after = (uuid.uuid4() for _ in range(3))
    everyone = {str(tenant_id) for tenant_id in (before, during, after)}
    await add_tenant(database, "before", before)
    async with make(database_url) as directory:
        assert await directory.known(everyone) == {str(before)}
        await asyncio.to_thread(postgres.restart)
        async with connected(database_url) as connection:
            await add_tenant(connection, "during", during)

            async def knows(*expected: uuid.UUID) -> bool:
                try:
                    return await directory.known(everyone) == set(map(str, expected))
                except Outage:
                    return False

            await eventually(lambda: knows(before, during))
            await add_tenant(connection, "after", after)
            await eventually(lambda: knows(before, during, after))


async def test_it_starts_while_postgres_is_away_and_says_so(
    database_url: str, database: asyncpg.Connection, postgres: Postgres
) -> None:
    existing = str((await add_tenant(database, "one")).id)
    await asyncio.to_thread(postgres.stop)
    async with make(database_url) as directory:
        with pytest.raises(Outage, match="postgres"):
            await directory.check()
        await asyncio.to_thread(postgres.start)

        async def answers() -> bool:
            try:
                return await directory.known([existing]) == {existing}
            except Outage:
                return False

        await eventually(answers)


async def test_a_database_without_tables_is_an_outage_that_names_the_mend(database_url: str) -> None:
    async with make(database_url) as directory:
        with pytest.raises(Outage, match="setup --database"):
            await directory.known([str(uuid.uuid4())])
        await ensure_tables(database_url)
        assert await directory.known([str(uuid.uuid4())]) == set()


async def test_many_partitions_that_ask_at_once_share_one_question(
    database_url: str, database: asyncpg.Connection
) -> None:
    existing = str((await add_tenant(database, "one")).id)
    before = await queries(database)
    async with make(database_url) as directory:
        answers = await asyncio.gather(*(directory.known([existing]) for _ in range(8)))
        assert answers == [{existing}] * 8

    async def asked() -> int:
        return await queries(database) - before

    assert await eventually(asked) == 1


async def test_many_partitions_that_ask_for_tenants_of_their_own_wait_for_two_questions(
    database_url: str, database: asyncpg.Connection
) -> None:
    existing = [str((await add_tenant(database, f"tenant {number}")).id) for number in range(8)]
    before = await queries(database)
    async with make(database_url) as directory:
        answers = await asyncio.gather(*(directory.known([one, str(uuid.uuid4())]) for one in existing))
        assert answers == [{one} for one in existing]

    async def asked() -> int:
        return await queries(database) - before

    assert await eventually(asked) == 2


async def test_what_others_want_holds_up_no_known_tenant_in_an_outage(
    database_url: str, database: asyncpg.Connection
) -> None:
    known = str((await add_tenant(database, "one")).id)
    async with make(database_url, known_s=0.0) as directory:
        assert await directory.known([known]) == {known}
        await database.execute("alter table tenants rename to hidden")
        strangers = [directory.known([str(uuid.uuid4())]) for _ in range(3)]
        *away, answer = await asyncio.gather(*strangers, directory.known([known]), return_exceptions=True)
        assert [isinstance(each, Outage) for each in away] == [True] * 3
        assert answer == {known}


async def test_the_schema_can_be_applied_again_and_by_two_at_once(database_url: str) -> None:
    first, second = await asyncio.gather(ensure_tables(database_url), ensure_tables(database_url))
    assert {line.split()[-1] for line in first + second} == {"tenants", "metrics_raw", "failed_jobs"}
    assert await ensure_tables(database_url) == [
        "present  table tenants",
        "present  table metrics_raw",
        "present  table failed_jobs",
    ]


async def test_tenants_are_listed_oldest_first(database: asyncpg.Connection) -> None:
    added = [await add_tenant(database, name) for name in ("b", "a")]
    await database.execute("update tenants set created_at = created_at - interval '1 day' where name = 'b'")
    assert [tenant.name for tenant in await list_tenants(database)] == ["b", "a"]
    assert added[0].created_at is not None


async def test_a_taken_id_and_a_name_that_does_not_fit_are_refused_in_one_line(
    database: asyncpg.Connection,
) -> None:
    tenant = await add_tenant(database, "one")
    with pytest.raises(MetricStreamsError, match=f"already a tenant {tenant.id}"):
        await add_tenant(database, "two", tenant.id)
    with pytest.raises(MetricStreamsError, match="does not fit"):
        await add_tenant(database, "n" * 256)


async def test_a_tenant_with_metrics_is_removed_only_on_demand(database: asyncpg.Connection) -> None:
    tenant = await add_tenant(database, "one")
    await database.execute(
        "insert into metrics_raw (tenant_id, agent_id, metric_name, value, timestamp) "
        "values ($1, 'a', 'm', 1, now())",
        tenant.id,
    )
    with pytest.raises(MetricStreamsError, match="--with-metrics"):
        await remove_tenant(database, tenant.id, with_metrics=False)
    await remove_tenant(database, tenant.id, with_metrics=True)
    assert await database.fetchval("select count(*) from metrics_raw") == 0
    with pytest.raises(MetricStreamsError, match="no tenant"):
        await remove_tenant(database, tenant.id, with_metrics=True)


async def test_the_fake_behaves_as_the_real_one() -> None:
    fake: Tenants = (kept := FakeTenants(["a"]))
    assert await fake.known(["a", "b"]) == {"a"}
    kept.away = True
    with pytest.raises(Outage):
        await fake.known(["a"])


@pytest.mark.parametrize(
    ("preparation", "mend"),
    [
        ("drop table tenants cascade", "create the tables with: metric-streams setup --database"),
        (
            "drop table tenants cascade; create table tenants (id bigint primary key, name text)",
            "is an id no uuid|invalid input syntax for type bigint",
        ),
        (
            "alter table tenants rename column id to tenant",
            "has no column|a column is missing or has another name",
        ),
    ],
)
async def test_a_question_that_cannot_be_asked_is_told_with_its_mend_and_not_called_well_in_between(
    database_url: str, database: asyncpg.Connection, preparation: str, mend: str
) -> None:
    await database.execute(preparation)
    statistics = Statistics()
    cache = TenantCache(known_s=KEPT_S, unknown_s=KEPT_S, clock=time.monotonic)
    async with TenantDirectory(database_url, cache, statistics) as directory:
        for ask in (directory.check, lambda: directory.known([str(uuid.uuid4())]), directory.check):
            with pytest.raises(Outage, match=mend):
                await ask()
            assert not statistics.parts["postgres"].up


async def test_a_database_that_does_not_exist_is_told_with_its_own_mend(
    postgres: Postgres, unique: str
) -> None:
    with pytest.raises(Outage, match=r"create the database, or name the right one in DATABASE_URL\)$"):
        async with connected(postgres.url_of(unique)):
            pass


async def test_a_sign_of_life_does_not_call_well_what_cannot_be_worked_with(
    database_url: str, database: asyncpg.Connection
) -> None:
    statistics = Statistics()
    pings = (
        "select state_change from pg_stat_activity where query = 'select 1' and datname = current_database()"
    )
    async with DatabaseSession(database_url, statistics, ping_every_s=0.05) as session:

        async def work(statement: str) -> None:
            async with session.use() as connection:
                await connection.execute(statement)

        with pytest.raises(Outage):
            await work("select from nowhere")
        first = await eventually(lambda: database.fetchval(pings))

        async def again() -> bool:
            return bool(await database.fetchval(pings) != first)

        await eventually(again)
        assert not statistics.parts["postgres"].up
        await work("select 2")
        assert statistics.parts["postgres"].up


async def test_who_asks_right_after_a_dropped_connection_gets_the_next_one(database_url: str) -> None:
    async with DatabaseSession(database_url, Statistics()) as session:
        asked = asyncio.Event()

        async def ask(statement: str) -> object:
            async with session.use() as connection:
                asked.set()
                return await connection.fetchval(statement)

        # A table that lacks may stand on the server that DATABASE_URL leads to by now.
        with pytest.raises(Outage, match="nowhere"):
            await ask("select 1 from nowhere")
        assert await ask("select 2") == 2
        # Nobody knows what a connection is in the middle of whose user was cancelled.
        asked.clear()
        slow = asyncio.create_task(ask("select pg_sleep(60)"))
        await asked.wait()
        slow.cancel()
        await asyncio.wait([slow])
        assert await ask("select 3") == 3
    with pytest.raises(Outage):
        await asyncio.wait_for(ask("select 4"), 10)


async def test_a_bug_in_connecting_is_told_and_the_next_connection_is_as_good_as_any(
    database_url: str, caplog: pytest.LogCaptureFixture
) -> None:
    statistics, bugs = Statistics(), [KeyError("met once")]

    async def prepare(_connection: asyncpg.Connection) -> None:
        if bugs:
            raise bugs.pop()

    async with DatabaseSession(database_url, statistics, on_connect=prepare) as session:

        async def works() -> bool:
            try:
                async with session.use() as connection:
                    return bool(await connection.fetchval("select true"))
            except Outage:
                return False

        await eventually(works)
    assert statistics.notes[Note.BUGS] == 1
    assert "what keeps a connection to PostgreSQL has a bug: KeyError('met once')" in caplog.text


@pytest.mark.parametrize("id_type", ["char(36)", "varchar(36)", "text", "char(40)"])
async def test_ids_that_are_text_are_compared_as_text(
    database_url: str, database: asyncpg.Connection, id_type: str
) -> None:
    await database.execute(
        "drop trigger metric_streams_tenants_changed on tenants;"
        "alter table metrics_raw drop constraint metrics_raw_tenant_id_foreign;"
        f"alter table tenants alter id type {id_type} using id::text"
    )
    tenant = await add_tenant(database, "one")
    existing, other = str(tenant.id), str(uuid.uuid4())
    async with make(database_url) as directory:
        await directory.check()
        assert await directory.known([existing, other]) == {existing}
    assert [one.id for one in await list_tenants(database)] == [tenant.id]


async def test_an_index_on_ids_that_are_text_is_used(database: asyncpg.Connection) -> None:
    await database.execute(
        "drop trigger metric_streams_tenants_changed on tenants;"
        "alter table metrics_raw drop constraint metrics_raw_tenant_id_foreign;"
        "alter table tenants alter id type char(36) using id::text;"
        "set enable_seqscan to off"
    )
    for id_type in ("character", "uuid"):
        plan = await database.fetch(f"explain {question(id_type)}", [str(uuid.uuid4())])
        is_indexed = any("tenants_pkey" in row[0] for row in plan)
        assert is_indexed
        await database.execute("alter table tenants alter id type uuid using id::uuid")


@pytest.mark.parametrize(
    ("change", "told"),
    [
        ("drop table tenants cascade", "there is no table tenants"),
        ("alter table tenants rename id to uuid", 'tenants has no column "id"'),
    ],
)
async def test_a_table_of_tenants_that_cannot_be_asked_is_told_with_its_mend(
    database_url: str, database: asyncpg.Connection, change: str, told: str
) -> None:
    async with make(database_url) as directory:
        await database.execute(change)
        with pytest.raises(Outage, match=re.escape(told)):
            await directory.check()


@pytest.mark.parametrize("state", ["set search_path to nowhere", "set role pg_monitor"])
async def test_a_state_of_the_session_is_left_behind(
    database_url: str, database: asyncpg.Connection, state: str
) -> None:
    tenant = str((await add_tenant(database, "one")).id)
    cache = TenantCache(known_s=KEPT_S, unknown_s=KEPT_S, clock=time.monotonic)
    directory = TenantDirectory(database_url, cache, Statistics(), timeout_s=1.0)
    async with directory:
        async with directory._session.use() as connection:
            await connection.execute(state)

        async def knows() -> bool:
            try:
                return bool(await directory.known([tenant]))
            except Outage:
                return False

        await eventually(knows)


async def test_who_waits_for_a_lost_connection_lets_its_keeper_make_the_next(database_url: str) -> None:
    """The sign of life is due while the connection is in use, and somebody waits for it already."""
    async with DatabaseSession(database_url, Statistics(), ping_every_s=0.05) as session:

        async def ask() -> int:
            async with session.use() as connection:
                return int(await connection.fetchval("select 1"))

        asks: list[asyncio.Task[int]] = []

        async def lose() -> None:
            async with session.use() as connection:
                asks.extend(asyncio.create_task(ask()) for _ in range(2))
                await connection.execute("select pg_sleep(0.3)")  # until the sign of life is due
                connection.terminate()
                raise ConnectionResetError("lost, as the test asked")

        with pytest.raises(Outage):
            await lose()
        assert await asyncio.wait_for(asyncio.gather(*asks), 10) == [1, 1]


async def test_a_connection_that_is_lost_as_it_was_made_is_made_again(
    database_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    made: list[asyncpg.Connection] = []

    async def lost_at_once(*args: Any, **options: Any) -> asyncpg.Connection:
        connection = await connect(*args, **options)
        if not made:
            connection.terminate()
        made.append(connection)
        return connection

    monkeypatch.setattr("streams.database.session.connect", lost_at_once)
    async with DatabaseSession(database_url, Statistics(), ping_every_s=0.05) as session:

        async def is_there() -> bool:
            try:
                async with session.use() as connection:
                    return bool(await connection.fetchval("select true"))
            except Outage:
                return False

        await eventually(is_there)
