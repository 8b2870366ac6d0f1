"""Writes metrics and failed jobs to PostgreSQL, in sets."""

import logging
from collections.abc import Awaitable, Callable, Iterable, Sequence
from typing import Protocol
from uuid import UUID, uuid4

import asyncpg
import msgspec

from streams.database.catalogue import conflict_target, notices, problems, read_tables
from streams.database.outages import ERRORS, PART, describe, who_mends
from streams.database.refusals import SqlMender
from streams.database.session import DatabaseSession, Proof
from streams.errors import Outage, RowsDoubted, RowsLocked, RowsRefused
from streams.ingest.failing import FailedJob
from streams.ingest.rows import MetricRow, Rows, columns_of, rows_of
from streams.ingest.statements import A_TENANT, COLUMNS, FAIL, INSERT, upsert
from streams.laravel.job import Job
from streams.models import JobMetric

log = logging.getLogger(__name__)

TABLES = ("tenants", "metrics_raw", "failed_jobs")

LOCK_TIMEOUT_S = 5.0
"""Much longer than any transaction of a worker that is well, and shorter than a command may take."""

SHARE_OF_MANY, SHARE_OF_ONE = 0.3, 0.9
"""Of the session's time for a command, how much a statement with several jobs gets, and with one alone.

The server ends it first, so that its answer tells a table that is slow from a server that is away.
"""


class MetricStore(Protocol):
    """Where jobs leave their rows."""

    async def check(self) -> None:
        """Return if writing can be expected to work.

        Raises:
            Outage: the store is away, or its tables are not as they must be.
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
            RowsDoubted: these rows are not taken, or there was no time for so many; others may be.
            Outage: the store is away.
        """

    async def takes_others(self) -> bool:
        """Tell whether an ordinary row would be taken now. None is left.

        Raises:
            Outage: as `check`.
        """

    async def fail(self, job: FailedJob) -> None:
        """Keep a job that was given up; once, however often it is given up.

        Raises:
            RowsRefused: it cannot be kept.
            Outage: the store is away.
        """


class PostgresStore:
    """The real store.

    Args:
        session: started and stopped by the caller.
        lock_timeout_s: seconds to wait for a lock.
    """

    def __init__(self, session: DatabaseSession, *, lock_timeout_s: float = LOCK_TIMEOUT_S) -> None:
        self._session = session
        self._lock_timeout_s = lock_timeout_s
        self._upsert = upsert()
        self._told: set[str] = set()

    async def check(self) -> None:
        """Return if the tables answer; see `MetricStore.check`."""
        async with self._session.use(Proof.READY) as connection:
            await _refuse_read_only(connection)
            tables = await read_tables(connection, *TABLES)
            if found := problems(tables):
                raise Outage(PART, "; ".join(found))
            metrics = tables["metrics_raw"]
            target = conflict_target(metrics) if metrics else None
            self._upsert = upsert(target) if target else upsert()
            # They write nothing, but need the tables as they must be, and the rights.
            for statement, count in ((self._upsert, len(COLUMNS)), (INSERT, len(COLUMNS)), (FAIL, 5)):
                await connection.fetch(f"explain {statement}", *[None] * count)
        self._tell(notices(tables))

    async def write(self, jobs: Sequence[Job]) -> int:
        """Write the rows in one transaction, with at most two statements; see `MetricStore.write`.

        Where it is in doubt whose fault a refusal is, a new connection is tried before anything else.
        """
        rows = rows_of(jobs)
        share = SHARE_OF_ONE if len(jobs) == 1 else SHARE_OF_MANY
        await self._twice_in_doubt(lambda: self._write(rows, share))
        return len(rows.upserts) + len(rows.inserts)

    async def takes_others(self) -> bool:
        """Write a row as of a job, twice, and take it back; see `MetricStore.takes_others`."""
        await self.check()
        try:
            async with self._session.use(Proof.READY) as connection:
                return await _takes_a_row(connection, self._upsert, self._limits(SHARE_OF_ONE))
        # Then it is not the rows that are refused.
        except Outage:
            return False

    async def fail(self, job: FailedJob) -> None:
        """Insert the row; see `MetricStore.fail`."""
        await self._twice_in_doubt(lambda: self._fail(job))

    async def _twice_in_doubt(self, action: Callable[[], Awaitable[None]]) -> None:
        try:
            await action()
        except RowsDoubted:
            if not await self._session.renewed():
                raise
            await self.check()  # the tables may have changed, too
            await action()

    async def _fail(self, job: FailedJob) -> None:
        async with self._session.use() as connection:
            try:
                await connection.execute(FAIL, *msgspec.structs.astuple(job))
            except ERRORS as error:
                _raise_refusal(error)
                raise

    async def _write(self, rows: Rows, share: float) -> None:
        async with self._session.use() as connection:
            try:
                await _write(connection, rows, upsert=self._upsert, limits=self._limits(share))
            except ERRORS as error:
                _raise_refusal(error)
                raise

    def _limits(self, share: float) -> str:
        statement_ms = self._session.timeout_s * 1000 * share
        return (
            # Local to the transaction: behind a pooler the session may be another client's the next moment.
            f"set local lock_timeout = '{self._lock_timeout_s * 1000:.0f}ms';"
            f"set local statement_timeout = '{statement_ms:.0f}ms'"
        )

    def _tell(self, lines: Iterable[str]) -> None:
        for line in lines:
            if line not in self._told:
                self._told.add(line)
                log.warning("%s", line)


class FakeMetricStore:
    """A `MetricStore` in memory, for tests.

    Attributes:
        jobs: all jobs written, in order.
        failed: the jobs given up, by uuid.
        away: True for an outage: every call raises.
        bad_agents: rows with one of these agent ids are refused.
        lost_tenants: rows of these tenants are refused for good.
        doubted_agents: rows with one of these agent ids are refused, and nobody can tell why.
        most_jobs: more at once take too long.
        takes_rows: whether an ordinary row would be taken.
    """

    def __init__(self) -> None:
        self.jobs: list[Job] = []
        self.failed: dict[str, FailedJob] = {}
        self.away = False
        self.bad_agents: set[str] = set()
        self.lost_tenants: set[str] = set()
        self.doubted_agents: set[str] = set()
        self.most_jobs = 1_000_000
        self.takes_rows = True

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
        if len(jobs) > self.most_jobs or any(m.agent_id in self.doubted_agents for m in metrics):
            raise RowsDoubted("postgres", "refused, as the test asked")
        self.jobs += jobs
        return len(metrics)

    async def takes_others(self) -> bool:
        """See `MetricStore.takes_others`."""
        await self.check()
        return self.takes_rows

    async def fail(self, job: FailedJob) -> None:
        """See `MetricStore.fail`."""
        await self.check()
        self.failed.setdefault(job.uuid, job)


async def _refuse_read_only(connection: asyncpg.Connection) -> None:
    # After a failover behind an address that stays, the old primary may answer on, read-only.
    if await connection.fetchval("show transaction_read_only") == "on":
        raise asyncpg.ReadOnlySQLTransactionError("the session is read-only")


async def _write(
    connection: asyncpg.Connection, rows: Rows, *, upsert: str, limits: str, tries: int = 3
) -> None:
    """Write in one transaction; again if it lost against another, as in a deadlock with a Laravel worker."""
    try:
        async with connection.transaction():
            await connection.execute(limits)
            await _execute(connection, upsert, rows.upserts)
            await _execute(connection, INSERT, rows.inserts)
    except asyncpg.TransactionRollbackError:
        if tries == 1:
            raise
        await _write(connection, rows, upsert=upsert, limits=limits, tries=tries - 1)


async def _execute(connection: asyncpg.Connection, statement: str, rows: Sequence[MetricRow]) -> None:
    if rows:
        await connection.execute(statement, *columns_of(rows))


async def _takes_a_row(connection: asyncpg.Connection, upsert: str, limits: str) -> bool:
    """Tell whether the table takes a row of any tenant, new and again, in a transaction that is undone."""
    tenant = await connection.fetchval(A_TENANT)
    # Without any tenant no row can be written, so nothing speaks for the table.
    if tenant is None:
        return False
    now = await connection.fetchval("select (now() at time zone 'utc')::text")
    probe = JobMetric(
        agent_id="metric-streams", metric_name="probe", value=0.0, timestamp=now, dedupe_id=uuid4().hex
    )
    row = MetricRow(UUID(tenant), probe)
    transaction = connection.transaction()
    await transaction.start()
    try:
        await connection.execute(limits)
        # The second time it meets its own row, as a correction does.
        for _ in range(2):
            await _execute(connection, upsert, [row])
    finally:
        await transaction.rollback()
    return True


def _raise_refusal(error: BaseException) -> None:
    """Raise what an error says of the rows alone; a tenant that is gone will not come back.

    Laravel gives the jobs of such a tenant up at once.
    """
    who = who_mends(error)
    detail = describe(error)
    if who is SqlMender.LOCK:
        raise RowsLocked(detail) from error
    if who is SqlMender.ROWS:
        for_good = isinstance(error, asyncpg.ForeignKeyViolationError)
        raise RowsRefused(detail, for_good=for_good) from error
