"""A refusal that blames no data: one job's if others pass, and the table's or the server's if none does."""

import json
from contextlib import suppress

import asyncpg
import pytest

from streams.errors import Outage
from streams.ingest.store import FakeMetricStore
from streams.ingest.worker import IngestWorker
from streams.laravel.reserve import ReservingQueue
from tests.integration.ingest.bench import Bench, Clock, failures, make_worker, metric, rows
from tests.integration.ingest.tables import refuse
from tests.parts.eventually import eventually

BLAME_NO_DATA = [
    "0A000",  # Timescale: a chunk that is compressed
    "42501",  # row security
    "42P01",  # a table that a trigger misses
    "54000",
    "55000",
    "58030",
    "F0000",
    "XX000",
    "ZZ999",  # nobody's
]


async def push_among_others(bench: Bench, odd: int = 3, others: int = 6) -> str:
    payload = b""
    for number in range(others):
        if number == odd:
            payload = await bench.push(metric("odd", agent_id="odd"))
        await bench.push(metric(f"d-{number}"))
    return str(json.loads(payload)["uuid"])


@pytest.mark.parametrize("sqlstate", BLAME_NO_DATA)
@pytest.mark.usefixtures("tenant")
async def test_a_job_refused_alone_has_failed_and_holds_up_no_other(
    bench: Bench,
    worker: IngestWorker,
    database: asyncpg.Connection,
    caplog: pytest.LogCaptureFixture,
    sqlstate: str,
) -> None:
    await refuse(database, sqlstate)
    uuid = await push_among_others(bench)
    await worker.turn()
    assert {row[4] for row in await rows(database)} == {f"d-{number}" for number in range(6)}
    assert [attempts for attempts, _ in await bench.delayed()] == [1]
    assert await bench.waiting() == []
    assert any(uuid in line and sqlstate in line for line in caplog.messages)


@pytest.mark.usefixtures("tenant")
async def test_a_job_refused_alone_is_in_failed_jobs_in_the_end(
    bench: Bench, worker: IngestWorker, database: asyncpg.Connection, clock: Clock
) -> None:
    await refuse(database, "0A000")
    uuid = await push_among_others(bench)
    for wait_s in (10, 30, 60, 60, 0):
        await worker.turn()
        clock.now_s += wait_s
    [failed] = await failures(database)
    assert failed["uuid"] == uuid
    assert "0A000" in failed["exception"]
    assert await bench.is_empty()


@pytest.mark.usefixtures("tenant")
async def test_a_batch_of_which_none_passes_does_not_hold_up_a_table_that_takes_others(
    bench: Bench, worker: IngestWorker, database: asyncpg.Connection
) -> None:
    await refuse(database, "0A000")
    for number in range(5):
        await bench.push(metric(f"odd-{number}", agent_id="odd"))
    await worker.turn()
    assert [attempts for attempts, _ in await bench.delayed()] == [1] * 5
    assert await rows(database) == []


@pytest.mark.parametrize("sqlstate", BLAME_NO_DATA)
@pytest.mark.usefixtures("tenant")
async def test_a_table_that_takes_nothing_blames_no_job_and_names_the_first(
    bench: Bench, worker: IngestWorker, database: asyncpg.Connection, sqlstate: str
) -> None:
    await refuse(database, sqlstate, when="true")
    pushed = [await bench.push(metric(f"d-{number}")) for number in range(5)]
    with pytest.raises(Outage, match=sqlstate) as caught:
        await worker.turn()
    assert json.loads(pushed[0])["uuid"] in caught.value.detail
    assert await bench.waiting() == pushed
    await database.execute("drop trigger refuse on metrics_raw")
    for _ in range(3):
        await worker.turn()
    assert len(await rows(database)) == 5
    assert await failures(database) == []


@pytest.mark.usefixtures("tenant")
async def test_a_full_disk_is_the_servers_and_asks_no_smaller_units(
    bench: Bench, worker: IngestWorker, database: asyncpg.Connection
) -> None:
    await refuse(database, "53100")
    pushed = [await bench.push(metric(f"d-{number}", agent_id="odd")) for number in range(3)]
    pushed.append(await bench.push(metric("other")))
    with pytest.raises(Outage, match="53100"):
        await worker.turn()
    assert await bench.waiting() == pushed


@pytest.mark.usefixtures("tenant")
async def test_row_security_refuses_one_tenants_jobs_alone(
    bench: Bench, worker: IngestWorker, database: asyncpg.Connection, clock: Clock
) -> None:
    role = f"role_{bench.prefix.strip('_')}"
    name = await database.fetchval("select current_database()")
    await database.execute(
        f'create role "{role}";'
        f'grant all on all tables in schema public to "{role}";'
        f'grant all on all sequences in schema public to "{role}";'
        "alter table metrics_raw enable row level security;"
        "create policy but_odd on metrics_raw using (true) with check (agent_id <> 'odd');"
        f'alter role postgres in database "{name}" set role to "{role}"'
    )
    try:
        await database.execute(
            "select pg_terminate_backend(pid) from pg_stat_activity "
            "where datname = current_database() and pid <> pg_backend_pid()"
        )
        await push_among_others(bench)
        await turn_until_settled(worker, bench)  # on the next connection, which has the other role
        assert await bench.delayed() == [(1, clock.now_s + 10)]
        assert len(await rows(database)) == 6
    finally:
        await database.execute(f'alter role postgres in database "{name}" reset role')
        await database.execute(f'drop owned by "{role}"; drop role "{role}"')


async def turn_until_settled(worker: IngestWorker, bench: Bench) -> None:
    async def settled() -> bool:
        with suppress(Outage):
            await worker.turn()
        return not await bench.waiting()

    await eventually(settled)


@pytest.mark.parametrize("sqlstate", ["42703", "22P05", "XX000"])
@pytest.mark.usefixtures("tenant")
async def test_a_job_that_failed_jobs_does_not_take_holds_up_no_other(
    bench: Bench,
    worker: IngestWorker,
    database: asyncpg.Connection,
    caplog: pytest.LogCaptureFixture,
    sqlstate: str,
) -> None:
    await refuse(database, sqlstate, when="true")
    await database.execute(
        "drop trigger refuse on metrics_raw;"
        "create trigger refuse before insert on failed_jobs for each row execute function refuse()"
    )
    payload = await bench.push(metric("bad", agent_id="a" * 65), maxTries=1)
    await bench.push(metric("good"))
    await worker.turn()
    assert [row[4] for row in await rows(database)] == ["good"]
    assert [attempts for attempts, _ in await bench.delayed()] == [0]
    assert json.loads(payload)["uuid"] in caplog.text


async def test_where_others_pass_each_doubted_job_uses_a_try_and_where_none_does_nobody(
    bench: Bench, queue: ReservingQueue
) -> None:
    store = FakeMetricStore()
    store.doubted_agents, store.takes_rows = {"odd"}, False
    worker = make_worker(queue, store)
    pushed = [await bench.push(metric(f"d-{number}", agent_id="odd")) for number in range(3)]
    with pytest.raises(Outage):
        await worker.turn()
    assert await bench.waiting() == pushed
    pushed.append(await bench.push(metric("other")))
    await turn_until_settled(worker, bench)
    assert [attempts for attempts, _ in await bench.delayed()] == [1] * 3
    assert len(store.jobs) == 1
