"""A connection in a state that it does not leave by itself is given up for a new one."""

import asyncio

import asyncpg
import pytest

from streams.database.session import DatabaseSession
from streams.errors import Outage
from streams.ingest.store import PostgresStore
from streams.ingest.worker import IngestWorker
from tests.integration.ingest.bench import Bench, failures, metric, rows, running
from tests.parts.eventually import eventually

STATES = [
    "set session characteristics as transaction read only",
    "set default_transaction_read_only to on",
    "set search_path to nowhere",
    "set role pg_monitor",
    "set session authorization pg_monitor",
]


@pytest.mark.parametrize("state", STATES)
@pytest.mark.usefixtures("tenant")
async def test_a_state_of_the_session_is_left_behind(
    bench: Bench, worker: IngestWorker, session: DatabaseSession, database: asyncpg.Connection, state: str
) -> None:
    await bench.push(metric("d-1"))
    await worker.turn()
    async with session.use() as connection:
        await connection.execute(state)
    pushed = [await bench.push(metric(f"d-{number}")) for number in (2, 3)]
    async with running(worker):
        await eventually(bench.is_empty)
    assert len(pushed) + 1 == len(await rows(database))
    assert await failures(database) == []


@pytest.mark.usefixtures("tenant")
async def test_a_server_that_is_read_only_for_a_while_is_waited_for_and_readiness_tells(
    bench: Bench, worker: IngestWorker, session: DatabaseSession, database: asyncpg.Connection
) -> None:
    name = await database.fetchval("select current_database()")
    await bench.push(metric("d-1"))
    await worker.turn()
    await database.execute(f'alter database "{name}" set default_transaction_read_only to on')
    await database.execute(
        "select pg_terminate_backend(pid) from pg_stat_activity "
        "where datname = current_database() and pid <> pg_backend_pid()"
    )
    payload = await bench.push(metric("d-2"))

    async def is_told() -> bool:
        try:
            await PostgresStore(session).check()
        except Outage as outage:
            return "25006" in outage.detail and "standby" in outage.detail
        return False

    async with running(worker):
        await eventually(is_told)

        async def put_back() -> bool:
            return await bench.waiting() == [payload]

        await eventually(put_back)
        await database.execute(f'alter database "{name}" reset default_transaction_read_only')
        await eventually(bench.is_empty)
    assert len(await rows(database)) == 2
    assert await failures(database) == []


@pytest.mark.usefixtures("tenant")
async def test_ended_by_an_administrator_again_and_again_it_goes_on_and_blames_no_job(
    bench: Bench, worker: IngestWorker, database: asyncpg.Connection
) -> None:
    async with running(worker):
        for number in range(5):
            await bench.push(metric(f"d-{number}"))
            await database.execute(
                "select pg_terminate_backend(pid) from pg_stat_activity "
                "where datname = current_database() and pid <> pg_backend_pid()"
            )
            await asyncio.sleep(0)
        await eventually(bench.is_empty)
    assert len(await rows(database)) == 5
    assert await failures(database) == []
