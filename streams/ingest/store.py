"""Writes metrics and failed jobs to PostgreSQL, in sets."""

from collections.abc import Iterable, Sequence
from typing import Protocol

import asyncpg
import msgspec

from streams.errors import Outage, RowsLocked, RowsRefused
from streams.ingest.failing import FailedJob
from streams.ingest.rows import Row, Rows, rows_of
from streams.postgres.outages import blames_data, describe
from streams.postgres.session import Proof, Session
from streams.wire.job import Job

INSERT = """
insert into metrics_raw (tenant_id, agent_id, metric_name, value, "timestamp", dedupe_id)
select tenant_id, agent_id, metric_name, value, "timestamp"::timestamp(6), dedupe_id
from unnest($1::uuid[], $2::text[], $3::text[], $4::float8[], $5::text[], $6::text[])
    as job (tenant_id, agent_id, metric_name, value, "timestamp", dedupe_id)
"""
# PostgreSQL itself reads the timestamps, and refuses what does not fit a column, just as when Laravel writes.

UPSERT = f"""{INSERT}
on conflict (tenant_id, dedupe_id) do update set
    agent_id = excluded.agent_id,
    metric_name = excluded.metric_name,
    value = excluded.value,
    "timestamp" = excluded."timestamp"
"""

FAIL = """
insert into failed_jobs (uuid, connection, queue, payload, exception, failed_at)
values ($1, $2, $3, $4, $5, now() at time zone 'utc')
on conflict do nothing
"""

LOCK_TIMEOUT_S = 5.0
"""Much longer than any transaction of a worker that is well, and shorter than a command may take."""

READY = {f"explain {UPSERT}": 6, f"explain {INSERT}": 6, f"explain {FAIL}": 5}
"""By how many arguments each has. They write nothing, but need the tables as they must be, and the rights."""


class MetricStore(Protocol):
    """Where jobs leave their rows."""

    async def check(self) -> None:
        """Return if writing can be expected to work.

        Raises:
            Outage: the store is away or has no tables yet.
        """

    async def write(self, jobs: Sequence[Job]) -> int:
        """Write all rows of some jobs, or none.

        Args:
            jobs: in the queue's order, with a timestamp in every metric.

        Returns:
            The number of rows written.

        Raises:
            RowsRefused: a row is bad.
            RowsLocked: a row is locked by somebody else, and stayed so for a while.
            Outage: the store is away.
        """

    async def fail(self, job: FailedJob) -> None:
        """Keep a job that was given up; once, however often it is given up.

        Raises:
            Outage: the store is away.
        """


class PostgresStore:
    """The real store.

    Args:
        session: started and stopped by the caller.
        lock_timeout_s: seconds to wait for a lock.
    """

    def __init__(self, session: Session, *, lock_timeout_s: float = LOCK_TIMEOUT_S) -> None:
        self._session = session
        self._limit = f"set local lock_timeout = '{lock_timeout_s * 1000:.0f}ms'"

    async def check(self) -> None:
        """Return if the tables answer; see `MetricStore.check`."""
        async with self._session.use(Proof.READY) as connection:
            for statement, count in READY.items():
                await connection.fetch(statement, *[None] * count)

    async def write(self, jobs: Sequence[Job]) -> int:
        """Write the rows in one transaction, with at most two statements; see `MetricStore.write`."""
        rows = rows_of(jobs)
        async with self._session.use() as connection:
            try:
                await _write(connection, rows, limit=self._limit)
            except asyncpg.LockNotAvailableError as error:
                raise RowsLocked(describe(error)) from error
            except (asyncpg.PostgresError, asyncpg.InterfaceError) as error:
                if not blames_data(error):
                    raise
                raise _refusal(error) from error
        return len(rows.upserts) + len(rows.inserts)

    async def fail(self, job: FailedJob) -> None:
        """Insert the row; see `MetricStore.fail`."""
        async with self._session.use() as connection:
            await connection.execute(FAIL, *msgspec.structs.astuple(job))


class FakeMetricStore:
    """A `MetricStore` in memory, for tests.

    Attributes:
        jobs: all jobs written, in order.
        failed: the jobs given up, by uuid.
        away: True for an outage: every call raises.
        bad_agents: rows with one of these agent ids are refused.
        lost_tenants: rows of these tenants are refused for good.
    """

    def __init__(self) -> None:
        self.jobs: list[Job] = []
        self.failed: dict[str, FailedJob] = {}
        self.away = False
        self.bad_agents: set[str] = set()
        self.lost_tenants: set[str] = set()

    async def check(self) -> None:
        """See `MetricStore.check`."""
        if self.away:
            raise Outage("postgres", "away, as the test asked")

    async def write(self, jobs: Sequence[Job]) -> int:
        """See `MetricStore.write`."""
        await self.check()
        if any(job.tenant_id in self.lost_tenants for job in jobs):
            raise RowsRefused("there is no such tenant", for_good=True)
        metrics = [metric for job in jobs for metric in job.metrics]
        if any(metric.agent_id in self.bad_agents for metric in metrics):
            raise RowsRefused("a row is bad")
        self.jobs += jobs
        return len(metrics)

    async def fail(self, job: FailedJob) -> None:
        """See `MetricStore.fail`."""
        await self.check()
        self.failed.setdefault(job.uuid, job)


async def _write(connection: asyncpg.Connection, rows: Rows, *, limit: str, tries: int = 3) -> None:
    """Write in one transaction; again if it lost against another, as in a deadlock with a Laravel worker."""
    try:
        async with connection.transaction():
            await connection.execute(limit)
            await _execute(connection, UPSERT, rows.upserts)
            await _execute(connection, INSERT, rows.inserts)
    except asyncpg.TransactionRollbackError:
        if tries == 1:
            raise
        await _write(connection, rows, limit=limit, tries=tries - 1)


async def _execute(connection: asyncpg.Connection, statement: str, rows: Iterable[Row]) -> None:
    columns = list(zip(*rows, strict=True))
    if columns:
        await connection.execute(statement, *columns)


def _refusal(error: asyncpg.PostgresError | asyncpg.InterfaceError) -> RowsRefused:
    """Return the refusal; a tenant that is gone will not come back, and Laravel gives its jobs up at once."""
    detail = f"{describe(error)} {getattr(error, 'detail', None) or ''}".strip()
    return RowsRefused(detail, for_good=isinstance(error, asyncpg.ForeignKeyViolationError))
