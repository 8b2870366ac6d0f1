"""Each of a reading's fields is a column of the row, also when it is corrected."""

import uuid

import asyncpg
import pytest

from streams.ingest.worker import IngestWorker
from streams.models import FIELDS, JobMetric
from tests.integration.ingest.bench import Bench
from tests.parts.fields import stored

NAMES = ", ".join(f'"{name}"' for name in FIELDS if name != "timestamp")
ROW = f'select {NAMES}, "timestamp"::text from metrics_raw'  # noqa: S608 - names of columns


async def rows(database: asyncpg.Connection) -> list[dict[str, object]]:
    return [dict(row) for row in await database.fetch(ROW)]


@pytest.mark.parametrize("changed", FIELDS)
async def test_what_a_job_says_is_in_the_row_and_so_is_what_it_corrects(
    bench: Bench, worker: IngestWorker, database: asyncpg.Connection, tenant: str, changed: str
) -> None:
    said, corrected = stored(), stored(changed)
    id_ = {"dedupe_id": uuid.uuid4().hex}
    for one in (said | id_, corrected | id_):
        await bench.push(JobMetric(**one), tenant_id=tenant)
        await worker.turn()
        assert await rows(database) == [one]


async def test_a_row_without_an_id_has_the_others(
    bench: Bench, worker: IngestWorker, database: asyncpg.Connection, tenant: str
) -> None:
    said = stored() | {"dedupe_id": None}
    await bench.push(JobMetric(**said), tenant_id=tenant)
    await worker.turn()
    assert await rows(database) == [said]
