"""Looks at the worker and ingest on this machine, by their pages: what they wait for."""

from collections.abc import Iterable

from streams.doctor.finding import Finding, broken, ok, warning
from streams.doctor.pages import FetchedPage, ingest_url, read_page, worker_url
from streams.settings import Settings
from streams.version import product_version

WORKER, INGEST = "worker", "ingest"
READY = "/health/ready"
MENDS = {
    "mqtt": "See the lines of mqtt. Is our client id in use elsewhere? Each deployment needs its own",
    "kafka": "See the lines of kafka",
    "redis": "See the lines of redis",
    "postgres": "See the lines of postgres",
    "consumer": "It mends itself within a minute; if not, restart the worker",
    "positions": "See the worker's log: it says which records and why. A restart ends this line",
    "book": "See the worker's log and docs/guarantees.md: a message is not accounted for. Keep the topics",
    "progress": "Restart the worker, if it does not end by itself at WATCHDOG_LIMIT_S",
    "jobs": "See the log of ingest: jobs are due and none is settled",
}
"""What mends what readiness says is missing, by its name there."""


async def examine_worker(settings: Settings) -> list[Finding]:
    """Look at the worker's pages."""
    url = worker_url(settings)
    ready, page = await read_page(settings, url + READY), await read_page(settings, url + "/")
    return list(of_worker(url, ready, page, settings))


async def examine_ingest(settings: Settings) -> list[Finding]:
    """Look at ingest's pages; it need not run where Laravel's workers do."""
    url = ingest_url(settings)
    ready = await read_page(settings, url + READY) if url else None
    page = await read_page(settings, url + "/") if url else None
    return [] if ready is None else list(of_process(INGEST, f"{url}", ready, page))


def of_worker(
    url: str, ready: FetchedPage | None, page: FetchedPage | None, settings: Settings
) -> Iterable[Finding]:
    """Return what is to be said of the worker."""
    if ready is None:
        mend = "If one should: metric-streams worker; else let WEB_BIND and WEB_PORT say where one runs"
        yield warning(WORKER, f"none answers at {url}", mend)
        return
    yield from of_process(WORKER, url, ready, page)
    name = page.body.get("app", settings.consumer_group) if page else settings.consumer_group
    if name != settings.consumer_group:
        mend = "Call the doctor with the environment of the worker"
        yield broken(WORKER, f"it runs as {name}, and CONSUMER_GROUP here is {settings.consumer_group}", mend)


def of_process(part: str, url: str, ready: FetchedPage, page: FetchedPage | None) -> Iterable[Finding]:
    """Return what is to be said of a process of ours."""
    parts = ready.body.get("parts", {})
    missing = {name: how.get("detail", "") for name, how in parts.items() if not how.get("up")}
    for name, detail in missing.items():
        yield broken(part, f"not ready, {name}: {detail}", MENDS.get(name, f"See the log of the {part}"))
    if not missing:
        yield ok(part, f"ready, at {url}")
    if page is not None and page.is_refused:
        yield warning(part, "its statistics ask for another WEB_TOKEN", "Let WEB_TOKEN be the worker's own")
    elif page is not None and (version := page.body.get("version")) != product_version():
        mend = "docs/upgrading.md says in which order versions change"
        yield warning(part, f"it is version {version}, and this is {product_version()}", mend)
