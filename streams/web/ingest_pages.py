"""The web pages of ingest: statistics, liveness, readiness, and the same figures for Prometheus."""

import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Mapping
from contextlib import asynccontextmanager
from typing import Any

from aiohttp import web
from prometheus_client.metrics_core import Metric

from streams.asking import Probe
from streams.counters import Count, Statistics
from streams.errors import StartupRefused
from streams.ingest.report import Report
from streams.laravel.queue_gauge import QueueGauge, QueueState
from streams.laravel.reserve import Backlog
from streams.version import product_version
from streams.web.common_metrics import part_metrics, process_metrics, queue_metrics
from streams.web.guard import Guard, GuardedRunner
from streams.web.listening import why_not_listening
from streams.web.prometheus import Samples, counter, page
from streams.web.shared import (
    REFUSAL,
    REFUSAL_HEADERS,
    PartHealth,
    ask_all,
    is_allowed,
    parts_shown,
    ready_page,
)

SHUTDOWN_S = 1.0
JOBS = {"done": Count.JOBS_DONE, "released": Count.JOBS_RELEASED, "failed": Count.JOBS_FAILED}

Handler = Callable[[web.Request], Awaitable[web.Response]]


class IngestPages:
    """What each page answers.

    Args:
        statistics: what the workers count in.
        report: knows the queue and the rates.
        probes: by part, how readiness asks whether it answers.
        gauge: looks at the queue.
        token: WEB_TOKEN; empty for none.
    """

    def __init__(
        self,
        statistics: Statistics,
        report: Report,
        probes: Mapping[str, Probe],
        gauge: QueueGauge,
        *,
        token: str,
    ) -> None:
        self._statistics = statistics
        self._report = report
        self._probes = probes
        self._gauge = gauge
        self._token = token

    def application(self) -> web.Application:
        """Return the application that serves them."""
        application = web.Application()
        application.router.add_get("/", self._guarded(self._show_statistics))
        application.router.add_get("/metrics", self._guarded(self._show_metrics))
        application.router.add_get("/health/live", self._show_live)
        application.router.add_get("/health/ready", self._show_ready)
        return application

    def _guarded(self, handler: Handler) -> Handler:
        async def check(request: web.Request) -> web.Response:
            if not is_allowed(request.headers, self._token):
                return web.json_response(REFUSAL, status=401, headers=REFUSAL_HEADERS)
            return await handler(request)

        return check

    async def _show_statistics(self, _request: web.Request) -> web.Response:
        return web.json_response(
            statistics_page(self._statistics, self._report, await self._report.backlog())
        )

    async def _show_metrics(self, request: web.Request) -> web.Response:
        parts, queue = await ask_all(self._probes), await self._gauge.look()
        families = ingest_metrics(self._statistics, parts, queue)
        body, headers = page(families, request.headers.get("Accept", ""))
        return web.Response(body=body, headers=headers)

    async def _show_live(self, _request: web.Request) -> web.Response:
        return web.json_response({"live": True})

    async def _show_ready(self, _request: web.Request) -> web.Response:
        body, status = ready_page(await ask_all(self._probes))
        return web.json_response(body, status=status)


def statistics_page(statistics: Statistics, report: Report, backlog: Backlog | None) -> dict[str, Any]:
    """Return what ``/`` shows; the queue is null while Redis does not answer."""
    return {
        "version": product_version(),
        "uptime_s": round(time.time() - statistics.started_at, 1),
        "rows": statistics.messages[Count.INGESTED],
        "jobs": {outcome: statistics.messages[counter] for outcome, counter in JOBS.items()},
        "rates": {"rows_per_s": round(report.rates.rows, 1), "jobs_per_s": round(report.rates.jobs, 1)},
        "lag_jobs": None if backlog is None else backlog.due,
        "oldest_job_s": None if report.oldest_job_s is None else round(report.oldest_job_s, 1),
        "queue": None if backlog is None else backlog._asdict(),
        "parts": parts_shown(statistics),
    }


def ingest_metrics(
    statistics: Statistics, parts: Mapping[str, PartHealth], queue: QueueState | None
) -> Iterator[Metric]:
    """Yield what ``/metrics`` shows; the queue is left out while Redis does not answer."""
    yield from process_metrics("ingest", statistics)
    yield from part_metrics(parts)
    yield counter("ingest_rows", "rows written", statistics.messages[Count.INGESTED])
    settled: Samples = {outcome: statistics.messages[counted] for outcome, counted in JOBS.items()}
    told = "jobs settled: done, released to be tried again, or failed for good"
    yield counter("ingest_jobs", told, settled, "outcome")
    yield from queue_metrics(queue)


@asynccontextmanager
async def serving(
    application: web.Application, host: str, port: int, guard: Guard | None = None
) -> AsyncIterator[None]:
    """Serve an application for the block.

    Args:
        application: with the pages.
        host: the address, WEB_BIND.
        port: the port.
        guard: of its connections; one with the usual limits if there is none.

    Raises:
        StartupRefused: the address cannot be had.
    """
    # Whoever stops ingest need not wait for a page that asks a part.
    runner = GuardedRunner(application, guard or Guard(), access_log=None, shutdown_timeout=SHUTDOWN_S)
    await runner.setup()
    try:
        await _listen(runner, host, port)
        yield
    finally:
        await runner.cleanup()


async def _listen(runner: web.AppRunner, host: str, port: int) -> None:
    site = web.TCPSite(runner, host, port)
    try:
        await site.start()
    except OSError as error:
        raise StartupRefused(
            f"{why_not_listening(error, host, port, 'INGEST_WEB_PORT')}, or 0 for none"
        ) from error
