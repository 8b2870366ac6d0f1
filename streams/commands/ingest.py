"""``faust -A streams ingest``: runs the jobs of the queue for those who run no Laravel."""

import asyncio
import signal
from typing import ClassVar

from streams.application import app, settings, statistics
from streams.commands.base import PlainCommand
from streams.ingest.store import PostgresStore
from streams.ingest.worker import IngestWorker
from streams.postgres.session import Session
from streams.queue.handoff import connect
from streams.queue.reserve import ReservingQueue
from streams.settings import Settings
from streams.statistics import Statistics

COMMAND_TIMEOUT_S = 30.0
"""For one statement at most; never more than a third of the retry after, or jobs would be taken over."""


class IngestCommand(PlainCommand):
    """Says what it does while it runs."""

    abstract: ClassVar[bool] = True
    log_level: ClassVar[str] = "INFO"


async def run_jobs(settings: Settings, statistics: Statistics) -> None:
    """Run jobs until SIGTERM or SIGINT, the jobs at hand to their end."""
    queue = ReservingQueue.from_settings(connect(settings.redis_url.get_secret_value()), settings)
    database_url = settings.database_url.get_secret_value()
    timeout_s = min(COMMAND_TIMEOUT_S, settings.queue_retry_after_s / 3)
    try:
        async with Session(database_url, statistics, timeout_s=timeout_s) as session:
            worker = IngestWorker(
                queue, PostgresStore(session), queue_name=settings.queue_name, statistics=statistics
            )
            for caught in (signal.SIGTERM, signal.SIGINT):
                asyncio.get_running_loop().add_signal_handler(caught, worker.stop)
            await worker.run()
    finally:
        await queue.close()


@app.command(base=IngestCommand)
async def ingest() -> None:
    """Run the jobs of the queue: write their rows, publish them; until SIGTERM or Ctrl+C."""
    await run_jobs(settings, statistics)
