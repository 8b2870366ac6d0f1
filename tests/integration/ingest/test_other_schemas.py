"""Tables that are not those of ``schema.sql``: what can work, works; else it is told with the mend."""

import asyncio
import json
import uuid

import asyncpg
import pytest

from streams.database.session import DatabaseSession
from streams.errors import Outage
from streams.ingest.store import PostgresStore
from streams.ingest.worker import IngestWorker
from streams.models import FIELDS
from tests.integration.ingest.bench import Bench, failures, metric, rows

UNIQUE = "create unique index on metrics_raw"
NO_UNIQUE = "alter table metrics_raw drop constraint metrics_raw_tenant_id_dedupe_id_unique"
PARTITIONED = f"""
{NO_UNIQUE};
alter table metrics_raw rename to before;
create table metrics_raw (like before including defaults) partition by range ("timestamp");
create table metrics_raw_all partition of metrics_raw default;
"""
CHAR_36 = """
drop trigger metric_streams_tenants_changed on tenants;
alter table metrics_raw drop constraint metrics_raw_tenant_id_foreign;
alter table tenants alter id type {0} using id::text;
alter table metrics_raw alter tenant_id type {0} using tenant_id::text;
alter table metrics_raw add constraint metrics_raw_tenant_id_foreign
    foreign key (tenant_id) references tenants (id);
"""
VIEW = """
alter table metrics_raw rename to metrics_stored;
create view metrics_raw as select * from metrics_stored;
"""
MATERIALIZED = VIEW.replace("create view", "create materialized view")

WORKS = {
    "a hypertable's index": f'{NO_UNIQUE}; {UNIQUE} ("timestamp", tenant_id, dedupe_id)',
    "a partial index": (f"{NO_UNIQUE}; {UNIQUE} (tenant_id, dedupe_id) where dedupe_id is not null"),
    "an index in another order": f"{NO_UNIQUE}; {UNIQUE} (dedupe_id, tenant_id)",
    "one that includes": f"{NO_UNIQUE}; {UNIQUE} (tenant_id, dedupe_id) include (id)",
    "partitioned": f'{PARTITIONED} create unique index on metrics_raw (tenant_id, dedupe_id, "timestamp")',
    "char(36)": CHAR_36.format("char(36)"),
    "varchar": CHAR_36.format("varchar(64)"),
    "an updatable view": VIEW,
    "another column with a default": "alter table metrics_raw add colour text not null default ''",
}
REFUSED = {
    NO_UNIQUE: "create unique index concurrently",
    f"{NO_UNIQUE}; {UNIQUE} (id, tenant_id, dedupe_id)": "no unique index",
    f"{NO_UNIQUE}; {UNIQUE} (tenant_id, dedupe_id) where value > 0": "no unique index",
    f"{NO_UNIQUE}; {UNIQUE} (tenant_id, lower(dedupe_id))": "no unique index",
    PARTITIONED: "no unique index",
    **{
        f'alter table metrics_raw drop "{name}"': f'metrics_raw has no column "{name}"'
        for name in ("tenant_id", *FIELDS)
    },
    "alter table failed_jobs drop uuid": 'failed_jobs has no column "uuid"',
    "alter table failed_jobs drop failed_at": 'failed_jobs has no column "failed_at"',
    "drop table failed_jobs": "there is no table failed_jobs (create the tables with: metric-streams setup",
    "alter table metrics_raw add colour text not null": 'wants a value for "colour"',
    "alter table metrics_raw alter id drop default": 'wants a value for "id"',
    MATERIALIZED: "metrics_raw is a materialized view",
    "drop table metrics_raw, tenants": "there is no table tenants",
}


@pytest.mark.parametrize("change", WORKS.values(), ids=WORKS)
@pytest.mark.usefixtures("tenant")
async def test_what_can_work_works(
    bench: Bench, worker: IngestWorker, database: asyncpg.Connection, change: str
) -> None:
    await database.execute(change)
    await bench.push(metric("d-1", 1), metric(None, 2))
    await bench.push(metric("d-1", 3))
    await worker.turn()
    await bench.push(metric("d-1", 4))
    await worker.turn()
    assert {(row[4], row[2]) for row in await rows(database)} == {("d-1", 4.0), (None, 2.0)}
    assert await failures(database) == []
    assert await bench.is_empty()


@pytest.mark.usefixtures("tenant")
async def test_what_a_wider_index_loses_is_said_once(
    bench: Bench, worker: IngestWorker, database: asyncpg.Connection, caplog: pytest.LogCaptureFixture
) -> None:
    await database.execute(WORKS["a hypertable's index"])
    for number in range(3):
        await bench.push(metric(f"d-{number}"))
        await worker.turn()
    [line] = [line for line in caplog.messages if "second row" in line]
    assert "timestamp" in line


@pytest.mark.parametrize("change", REFUSED)
@pytest.mark.usefixtures("tenant")
async def test_what_cannot_work_is_told_before_a_job_is_touched_and_works_once_mended(
    bench: Bench, worker: IngestWorker, session: DatabaseSession, database: asyncpg.Connection, change: str
) -> None:
    await database.execute(change)
    payload = await bench.push(metric("d-1"))
    with pytest.raises(Outage) as caught:
        await worker.turn()
    assert REFUSED[change] in caught.value.detail
    assert "\n" not in caught.value.detail
    with pytest.raises(Outage) as told:
        await PostgresStore(session).check()
    assert told.value.detail == caught.value.detail
    assert await bench.waiting() == [payload]


@pytest.mark.usefixtures("tenant")
async def test_an_index_that_changes_while_it_runs_is_looked_up_anew(
    bench: Bench, worker: IngestWorker, database: asyncpg.Connection
) -> None:
    await bench.push(metric("d-1"))
    await worker.turn()
    await database.execute(WORKS["a hypertable's index"])
    await bench.push(metric("d-2"))
    for _ in range(3):
        try:
            await worker.turn()
        except Outage:
            await asyncio.sleep(0)
    assert len(await rows(database)) == 2
    assert await failures(database) == []


@pytest.mark.usefixtures("tenant")
async def test_what_a_device_sent_is_escaped_wherever_postgresqls_detail_is_shown(
    bench: Bench, worker: IngestWorker, database: asyncpg.Connection, caplog: pytest.LogCaptureFixture
) -> None:
    evil = "\x1b[2J\nforged \u202e" + uuid.uuid4().hex
    await database.execute("alter table metrics_raw add constraint tame check (agent_id !~ 'forged')")
    payload = await bench.push(metric("evil", agent_id=evil), maxTries=1)
    await worker.turn()
    [failed] = await failures(database)
    for shown in (caplog.text, failed["exception"]):
        assert "\x1b" not in shown
        assert "\u202e" not in shown
    assert "\n" not in failed["exception"]
    assert "\\x1b[2J" in failed["exception"]
    assert json.loads(failed["payload"])["uuid"] == json.loads(payload)["uuid"]
