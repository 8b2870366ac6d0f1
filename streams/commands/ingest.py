"""``metric-streams ingest``: runs the jobs of the queue for those who run no Laravel."""

import asyncio
import logging
import signal
from contextlib import AsyncExitStack
from typing import ClassVar

from click import IntRange
from faust.cli import option

from streams.commands.base import PlainCommand, command
from streams.counters import Statistics
from streams.database.session import DatabaseSession
from streams.errors import NotFinished
from streams.ingest.caution import Caution
from streams.ingest.report import SETTLED, Report
from streams.ingest.store import PostgresStore
from streams.ingest.wait_limit import WaitLimit
from streams.ingest.worker import IngestWorker, Until
from streams.ingest.worker_pool import WorkerPool
from streams.laravel.queue_gauge import QueueGauge
from streams.laravel.redis_client import connect
from streams.laravel.reserve import ReservingQueue, process_id
from streams.logs.logbook import Logbook
from streams.settings import Settings
from streams.tasks import ended_well
from streams.version import PRODUCT, product_version
from streams.web.ingest_pages import IngestPages, serving
from streams.web.shared import PROBE_TIMEOUT_S

log = logging.getLogger(__name__)

COMMAND_TIMEOUT_S = 30.0
"""For one statement at most; never more than a third of the retry after, or jobs would be taken over."""


class IngestCommand(PlainCommand):
    """Says what it does while it runs."""

    abstract: ClassVar[bool] = True
    log_level: ClassVar[str] = "INFO"


class IngestRun:
    """One run of the command: workers, report and web pages on the clients that it opens.

    Args:
        settings: where everything is.
        statistics: what the workers count in.
        until: when the run ends by itself.
        concurrency: how many workers run side by side.
    """

    def __init__(self, settings: Settings, statistics: Statistics, *, until: Until, concurrency: int) -> None:
        self._settings = settings
        self._statistics = statistics
        self._until = until
        self._concurrency = concurrency
        self._was_told_to_stop = False
        self._caution = Caution()
        limit_s = 0 if until is Until.STOPPED else settings.ingest_wait_limit_s
        self._limit = WaitLimit(limit_s, self._settled)

    async def run(self) -> None:
        """Run jobs until SIGTERM or SIGINT, the reserved jobs to their end, or until what is asked is done.

        Raises:
            ForeignJob: the queue holds a job of another class; it is where it was.
            StartupRefused: the web pages cannot be served.
            NotFinished: a part was away for too long, or a signal came, before what is asked was done.
        """
        log.info("%s %s starts to run the jobs of %s", PRODUCT, product_version(), self._settings.queue_name)
        async with AsyncExitStack() as clients:
            redis = connect(self._settings.redis_url.get_secret_value())
            clients.push_async_callback(redis.aclose)
            process = process_id()
            # A worker has a queue of its own, which remembers what woke it, and so has the report.
            queue, *queues = (
                ReservingQueue.from_settings(redis, self._settings, process)
                for _ in range(1 + self._concurrency)
            )
            sessions = [self._session(self._command_timeout_s) for _ in queues]
            pool = WorkerPool(
                [self._worker(*clients_of) for clients_of in zip(queues, sessions, strict=True)]
            )
            for caught in (signal.SIGTERM, signal.SIGINT):
                asyncio.get_running_loop().add_signal_handler(caught, self._stop, pool)
            report = Report(self._statistics, queue)
            if self._until is Until.STOPPED and self._settings.ingest_web_port:
                await self._serve(clients, queue, report)
            # Together, since each waits a while for a PostgreSQL that gives no answer.
            await asyncio.gather(*map(clients.enter_async_context, sessions))
            await _reported(pool, report, Logbook(self._statistics))
            if self._until is not Until.STOPPED:
                await self._tell_the_end(report)

    def _stop(self, pool: WorkerPool) -> None:
        self._was_told_to_stop = True
        pool.stop()

    async def _tell_the_end(self, report: Report) -> None:
        if self._was_told_to_stop:
            raise NotFinished(f"told to stop before {self._until.value}; what waits stays in the queue")
        if not self._settled():
            log.info("nothing is due in the queue %s: %s", self._settings.queue_name, await report.waiting())

    def _settled(self) -> int:
        return sum(self._statistics.messages[how] for how in SETTLED)

    @property
    def _command_timeout_s(self) -> float:
        # So that a statement, its second try and the settling end before another worker takes the jobs.
        return min(COMMAND_TIMEOUT_S, self._settings.queue_retry_after_s / 3)

    def _worker(self, queue: ReservingQueue, session: DatabaseSession) -> IngestWorker:
        return IngestWorker(
            queue,
            PostgresStore(session),
            queue_name=self._settings.queue_name,
            statistics=self._statistics,
            job_class=self._settings.job_class,
            queue_connection=self._settings.queue_connection,
            delete_when_missing_models=self._settings.job_delete_when_missing_models,
            until=self._until,
            limit=self._limit,
            caution=self._caution,
        )

    async def _serve(self, clients: AsyncExitStack, queue: ReservingQueue, report: Report) -> None:
        # On a connection of its own: a large batch would keep the question waiting.
        session = await clients.enter_async_context(self._session(PROBE_TIMEOUT_S))
        check = PostgresStore(session).check
        probes = {"redis": queue.check, "postgres": check, "jobs": report.check_progress}
        token = self._settings.web_token.get_secret_value()
        gauge = QueueGauge.from_settings(self._settings)
        clients.push_async_callback(gauge.stop)
        pages = IngestPages(self._statistics, report, probes, gauge, token=token)
        bind, port = self._settings.web_bind, self._settings.ingest_web_port
        await clients.enter_async_context(serving(pages.application(), bind, port))

    def _session(self, timeout_s: float) -> DatabaseSession:
        database_url = self._settings.database_url.get_secret_value()
        return DatabaseSession(database_url, self._statistics, timeout_s=timeout_s)


async def _reported(pool: WorkerPool, report: Report, logbook: Logbook) -> None:
    """Run the workers, with a line now and then, and one in the end."""
    reporting = asyncio.create_task(report.run(), name="ingest report")
    await logbook.start()
    try:
        await pool.run()
    finally:
        # Raises a bug of the report, which nobody would hear of otherwise.
        await ended_well(reporting)
        await logbook.stop()
        # Behind all else, so that the last line has the last jobs.
        await report.tell()


@command(
    option("--once", is_flag=True, help="run one job, if one is due, and end"),
    option("--until-empty", is_flag=True, help="end as soon as no job is due"),
    option(
        "--concurrency",
        type=IntRange(1, 64),
        help="batches under way at once, instead of INGEST_CONCURRENCY; only 1 keeps their order",
    ),
    base=IngestCommand,
)
async def ingest(self: IngestCommand, *, once: bool, until_empty: bool, concurrency: int | None) -> None:
    """Run the jobs of the queue: write their rows, publish them; until SIGTERM or Ctrl+C.

    With --once or --until-empty it exits with 75 where a part is away for longer than INGEST_WAIT_LIMIT_S
    seconds, or a signal ends it early.
    """
    until = Until.ONE_JOB if once else Until.EMPTY if until_empty else Until.STOPPED
    # "Once" means one job, not one of each worker.
    hands = 1 if once else concurrency or self.settings.ingest_concurrency
    await IngestRun(self.settings, Statistics(), until=until, concurrency=hands).run()
