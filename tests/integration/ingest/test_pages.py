"""The web pages of ingest, asked over HTTP."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from importlib.metadata import version

import pytest
from aiohttp import ClientSession, web

from streams.counters import Statistics
from streams.database.session import DatabaseSession
from streams.errors import StartupRefused
from streams.ingest.progress import STALLED_S
from streams.ingest.report import Report
from streams.ingest.store import PostgresStore
from streams.ingest.worker import IngestWorker, Until
from streams.laravel.queue_gauge import QueueGauge
from streams.laravel.reserve import ReservingQueue
from streams.settings import Settings
from streams.web.ingest_pages import IngestPages, serving
from tests.integration.ingest.bench import Bench, Clock, make_worker, metric
from tests.parts.eventually import eventually
from tests.parts.ports import free_port
from tests.parts.postgres import Postgres
from tests.parts.redis import Redis as RedisServer
from tests.parts.scrape import Scrape

HOST = "127.0.0.1"

Serve = Callable[..., AbstractAsyncContextManager[ClientSession]]


@pytest.fixture
def statistics() -> Statistics:
    return Statistics()


@pytest.fixture
def worker(queue: ReservingQueue, session: DatabaseSession, statistics: Statistics) -> IngestWorker:
    return make_worker(queue, PostgresStore(session), until=Until.EMPTY, statistics=statistics)


@pytest.fixture
def serve(queue: ReservingQueue, session: DatabaseSession, statistics: Statistics, bench: Bench) -> Serve:
    """Serve the pages for a block, which gets a client of them."""

    @asynccontextmanager
    async def serve(*, token: str = "", seconds: Clock | None = None) -> AsyncIterator[ClientSession]:
        clock = seconds or Clock()
        report = Report(statistics, queue, clock=clock)
        settings = Settings(redis_url=bench.redis_url, queue_prefix=bench.prefix)
        gauge = QueueGauge(bench.redis, settings, clock=clock)
        probes = {
            "redis": queue.check,
            "postgres": PostgresStore(session).check,
            "jobs": report.check_progress,
        }
        application = IngestPages(statistics, report, probes, gauge, token=token).application()
        port = free_port()
        async with serving(application, HOST, port), ClientSession(f"http://{HOST}:{port}") as client:
            yield client

    return serve


@pytest.mark.usefixtures("tenant")
async def test_the_statistics_tell_what_was_done_and_what_waits(
    bench: Bench, worker: IngestWorker, serve: Serve
) -> None:
    await bench.push(metric("d-1"), metric("d-2"))
    await bench.push(metric(agent_id="a" * 65))
    await worker.run()
    await bench.push(metric("d-3"))
    async with serve() as client, client.get("/") as answer:
        shown = await answer.json()
    assert answer.status == 200
    assert shown["rows"] == 2
    assert shown["version"] == version("metric-streams")
    assert shown["jobs"] == {"done": 1, "released": 1, "failed": 0}
    assert shown["queue"] == {"waiting": 1, "delayed": 1, "reserved": 0, "due": 1}
    assert shown["lag_jobs"] == 1
    assert shown["oldest_job_s"] == 0
    assert shown["parts"]["redis"]["up"]


@pytest.mark.usefixtures("tenant")
async def test_prometheus_reads_the_same_figures(bench: Bench, worker: IngestWorker, serve: Serve) -> None:
    await bench.push(metric("d-1"), metric("d-2"))
    await worker.run()
    await bench.push(metric("d-3"))
    async with serve() as client, client.get("/metrics") as answer:
        page = Scrape.parse(await answer.text())
    assert answer.headers["Content-Type"] == "text/plain; version=0.0.4; charset=utf-8"
    assert page.value("ingest_rows_total") == 2
    assert page.value("ingest_jobs_total", outcome="done") == 1
    assert page.value("ingest_jobs_total", outcome="failed") == 0
    assert page.value("queue_jobs", state="due") == 1
    assert page.value("queue_oldest_job_seconds") == 0
    assert page.value("part_up", part="redis") == 1


@pytest.mark.usefixtures("tenant")
async def test_both_tell_how_long_the_oldest_job_has_waited(bench: Bench, serve: Serve) -> None:
    seconds = Clock()
    await bench.push(metric("d-1"))
    await bench.push(metric("d-2"))
    async with serve(seconds=seconds) as client:
        async with client.get("/"):
            pass
        seconds.now_s += 12
        async with client.get("/") as answer:
            assert (await answer.json())["oldest_job_s"] == 12
        async with client.get("/metrics"):
            pass
        seconds.now_s += 24
        async with client.get("/metrics") as answer:
            assert Scrape.parse(await answer.text()).value("queue_oldest_job_seconds") == 24


@pytest.mark.usefixtures("tenant")
async def test_it_is_ready_while_every_part_answers_and_jobs_move(serve: Serve) -> None:
    async with serve() as client, client.get("/health/ready") as answer:
        assert answer.status == 200
        shown = await answer.json()
    assert shown["ready"]
    assert set(shown["parts"]) == {"redis", "postgres", "jobs"}


@pytest.mark.usefixtures("tenant")
@pytest.mark.parametrize("fault", ["stop", "pause"])
@pytest.mark.parametrize("part", ["redis", "postgres"])
async def test_a_part_that_is_away_makes_it_unready_and_is_named_until_it_is_back(
    serve: Serve, redis_server: RedisServer, postgres: Postgres, part: str, fault: str
) -> None:
    server = {"redis": redis_server, "postgres": postgres}[part]
    async with serve() as client:
        await asyncio.to_thread(getattr(server, fault))
        async with client.get("/health/ready") as answer:
            assert answer.status == 503
            parts = (await answer.json())["parts"]
        down = {name for name in parts if not parts[name]["up"]}
        assert down - {"jobs"} == {part}  # a Redis that gives no answer does not tell of the jobs either
        for page in ("/", "/metrics", "/health/live"):
            async with client.get(page) as answer:
                assert answer.status == 200
        await asyncio.to_thread(server.heal)

        async def ready() -> bool:
            async with client.get("/health/ready") as answer:
                return answer.status == 200

        await eventually(ready, 20)


@pytest.mark.usefixtures("tenant")
async def test_jobs_that_do_not_move_make_it_unready(bench: Bench, serve: Serve) -> None:
    seconds = Clock()
    async with serve(seconds=seconds) as client:
        await bench.push(metric("d-1"))
        seconds.now_s += STALLED_S
        async with client.get("/health/ready") as answer:
            assert answer.status == 503
            parts = (await answer.json())["parts"]
    assert "none was settled for 30 s" in parts["jobs"]["detail"]


@pytest.mark.usefixtures("tenant")
async def test_with_a_token_statistics_ask_for_it_and_health_does_not(serve: Serve, unique: str) -> None:
    async with serve(token=unique) as client:
        for page in ("/", "/metrics"):
            async with client.get(page) as answer:
                assert (answer.status, answer.headers["WWW-Authenticate"]) == (401, "Bearer")
            async with client.get(page, headers={"Authorization": f"Bearer {unique}"}) as answer:
                assert answer.status == 200
        for page in ("/health/live", "/health/ready"):
            async with client.get(page) as answer:
                assert answer.status == 200


async def test_a_port_that_is_taken_refuses_the_start_and_names_the_setting() -> None:
    port = free_port()
    async with serving(web.Application(), HOST, port):
        with pytest.raises(StartupRefused, match="INGEST_WEB_PORT"):
            async with serving(web.Application(), HOST, port):
                pass
