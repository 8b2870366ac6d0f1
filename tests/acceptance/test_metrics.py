"""The worker's and ingest's ``/metrics`` beside real parts: true figures, a bounded number of series."""

import asyncio
import re
import urllib.error
import uuid
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path

import asyncpg
import pytest
from aiokafka import AIOKafkaProducer
from playwright.async_api import Browser, expect

from streams.ingress.chunking import partition_of
from streams.mqtt.address import Address
from streams.mqtt.publisher import MqttPublisher
from streams.wire import raw
from tests.acceptance.conftest import Pipeline
from tests.parts.browser import complaints_of
from tests.parts.eventually import eventually
from tests.parts.redis import Redis
from tests.parts.scrape import Scrape
from tests.parts.worker import Ingest, Worker

REPOSITORY = Path(__file__).parents[2]
UNKNOWN = "00000000-0000-4000-8000-000000000000"
TOKEN = "a-token-of-the-tests"  # noqa: S105 - of nothing but these
UNITS = (
    "_total", "_seconds", "_bytes", "_messages", "_jobs", "_ids", "_records", "_offset", "_epoch", "_info",
    "_up", "_ready", "_leader", "_placed",
)  # fmt: skip
"""A unit, or what says by itself that it is a number of events, a place, or yes or no."""
RESIDENT = re.compile(r"VmRSS:\s+(\d+) kB")  # proc_pid_status(5)
IN_TIME_MS = 60_000
LABELS = {"stage", "outcome", "reason", "topic", "partition", "part", "state", "le", "version", "program"}


async def publish(pipeline: Pipeline, topic: str, payloads: Sequence[bytes]) -> None:
    async with MqttPublisher(Address.parse(pipeline.mosquitto.url)) as publisher:
        assert all(await asyncio.gather(*(publisher.publish(topic, each, 1) for each in payloads)))


async def counted(worker: Worker, outcome: str, count: int) -> Scrape:
    """Return the page once so many messages have come to an outcome."""

    async def page() -> Scrape | None:
        found = await Scrape.of(worker.web_url)
        return found if found.value("messages_total", outcome=outcome) == count else None

    found = await eventually(page, 60, interval_s=0.3)
    assert found is not None
    return found


async def test_every_message_is_counted_by_stage_and_outcome_and_timed(pipeline: Pipeline) -> None:
    worker = pipeline.worker()
    (tenant, _) = pipeline.tenants
    copy = b'{"value": 1, "dedupe_id": "same"}'
    await publish(pipeline, f"metrics/{tenant}/edge-1/cpu", [copy, copy, b'{"value": 2}', b"{"])
    await publish(pipeline, f"metrics/{UNKNOWN}/edge-1/cpu", [b'{"value": 1}'] * 3)
    await counted(worker, "pushed", 2)
    page = await counted(worker, "rejected", 4)
    assert page.value("messages_total", stage="ingress", outcome="received") == 7
    assert page.value("messages_total", stage="ingress", outcome="acknowledged") == 7
    assert page.value("messages_total", stage="refine", outcome="accepted") == 2
    assert page.value("messages_total", stage="refine", outcome="duplicate") == 1
    assert page.value("rejected_messages_total", reason="tenant_unknown") == 3
    assert page.value("rejected_messages_total", reason="payload_not_json") == 1
    assert page.value("latency_seconds_count", stage="ingress") == 7
    assert page.value("latency_seconds_count", stage="refine") == 7
    assert page.value("latency_seconds_count", stage="handoff") == 2
    sums = [page.value("latency_seconds_sum", stage=stage) for stage in ("ingress", "refine", "handoff")]
    assert all(isinstance(each, float) and 0 < each < 7 * 60 for each in sums)
    assert page.value("queue_jobs", state="due") == page.value("jobs_pushed_total")
    assert page.value("leader") == 1
    assert page.value("dedupe_ids") == 1
    clock = page.value("clock_timestamp_seconds")
    last = page.value("mqtt_last_timestamp_seconds", outcome="received")
    assert clock is not None
    assert last is not None
    assert clock - 60 < last <= clock
    assert set(page.values("book_unaccounted_messages")) == {0}
    assert set(page.values("lag_seconds")) == {0}
    assert len(page.values("partition_placed")) == 8  # of two topics with four partitions
    assert set(page.values("part_up")) == {1}
    assert page.value("ready") == 1
    assert page.value("queue_bytes")
    assert (page.value("redis_memory_bytes") or 0) < (page.value("redis_memory_limit_bytes") or 0)
    fence = page.values("fence_offset")
    assert fence == [0]


async def test_ingest_tells_the_same_things_by_the_same_names(pipeline: Pipeline) -> None:
    worker = pipeline.worker()
    ingest = pipeline.own(lambda: Ingest(pipeline.environment, pages=True))
    (tenant, _) = pipeline.tenants
    await publish(
        pipeline, f"metrics/{tenant}/edge-1/cpu", [b'{"value": 1, "dedupe_id": "%d"}' % n for n in range(5)]
    )

    async def written() -> bool:
        with suppress(OSError):  # it does not listen yet
            return (await Scrape.of(ingest.web_url)).value("ingest_rows_total") == 5
        return False

    await eventually(written, 60, interval_s=0.3)
    page, other = await Scrape.of(ingest.web_url), await Scrape.of(worker.web_url)
    assert page.value("ingest_jobs_total", outcome="failed") == 0
    assert page.value("part_up", part="postgres") == other.value("part_up", part="postgres") == 1
    common = page.names() & other.names()
    for name in ("part_up", "ready", "build_info", "queue_jobs", "queue_oldest_job_seconds"):
        assert f"metric_streams_{name}" in common
    assert page.value("build_info", program="ingest") == other.value("build_info", program="worker") == 1
    for each in (page, other):
        check_conventions(each)
    named = set(named_in(REPOSITORY / "docs" / "operations.md", r"`([a-z0-9_]+)`(?=[^|\n]*\|)"))
    shown = {f"metric_streams_{name}" for name in named} & (
        page.names() | other.names() | families(page, other)
    )
    assert len(shown) > 30, "the document names them"
    for path in (REPOSITORY / "docker").rglob("*.*"):
        if path.suffix in (".yml", ".json"):
            asked = set(named_in(path, r"\bmetric_streams_[a-z0-9_]+"))
            assert asked - page.names() - other.names() == set(), path
    undocumented = {name.removeprefix("metric_streams_") for name in families(page, other)} - named
    assert undocumented == set()


def named_in(path: Path, pattern: str) -> list[str]:
    return re.findall(pattern, path.read_text())


def families(*pages: Scrape) -> set[str]:
    """Return the names of our metrics as the document has them: a counter's with its ending."""
    return {
        f"{family.name}_total" if family.type == "counter" else family.name
        for page in pages
        for family in page.families
        if family.name.startswith("metric_streams_")
    }


def check_conventions(page: Scrape) -> None:
    for family in page.families:
        if not family.name.startswith("metric_streams_"):
            continue  # those of the process, as prometheus_client names them
        assert family.documentation, family.name
        assert re.fullmatch(r"[a-z0-9_]+", family.name)
        name = f"{family.name}_total" if family.type == "counter" else family.name
        assert name.endswith(UNITS), name
        labels = {label for sample in family.samples for label in sample.labels}
        assert labels <= LABELS, family.name


async def test_a_part_that_is_away_and_the_age_of_what_waits_for_it_show(pipeline: Pipeline) -> None:
    redis: Redis = pipeline.own(lambda: Redis(append_only=True))
    pipeline.environment["REDIS_URL"] = redis.url
    worker = pipeline.worker()
    (tenant, _) = pipeline.tenants
    redis.stop()
    await publish(pipeline, f"metrics/{tenant}/edge-1/cpu", [b'{"value": 1}'])

    async def waits() -> bool:
        page = await Scrape.of(worker.web_url)
        unique = f"{pipeline.topics}.unique"
        return (
            page.value("part_up", part="redis") == 0
            and page.value("ready") == 0
            and max(page.values("lag_seconds", topic=unique), default=0) > 3
            and sum(page.values("lag_records", topic=unique)) == 1
            and not page.values("queue_jobs")
        )

    await eventually(waits, 60, interval_s=0.5)
    redis.start()

    async def caught_up() -> bool:
        page = await Scrape.of(worker.web_url)
        return page.value("ready") == 1 and set(page.values("lag_seconds")) == {0}

    await eventually(caught_up, 60, interval_s=0.5)


async def test_a_token_is_asked_for_where_one_is_set(pipeline: Pipeline) -> None:
    worker = pipeline.worker(WEB_TOKEN=TOKEN)
    with pytest.raises(urllib.error.HTTPError, match="401"):
        await Scrape.of(worker.web_url)
    assert (await Scrape.of(worker.web_url, TOKEN)).value("leader") == 1


TENANTS, DEVICES_EACH, CHUNK = 10_000, 10, 500


async def test_the_page_does_not_grow_with_tenants_and_devices(pipeline: Pipeline) -> None:
    worker = pipeline.worker()
    (tenant, _) = pipeline.tenants
    first = [b'{"value": 1, "dedupe_id": "%d"}' % number for number in range(200)]
    await publish(pipeline, f"metrics/{tenant}/edge-1/cpu", first)
    before = await counted(worker, "accepted", len(first))
    tenants = [str(uuid.uuid4()) for _ in range(TENANTS)]
    await add_tenants(pipeline, tenants)
    await write_chunks(pipeline, tenants)
    after = await counted(worker, "pushed", len(first) + TENANTS * DEVICES_EACH)
    new = after.series() - before.series()
    # Partitions to which the first tenant had sent nothing have a page in the book, and a fence, by now.
    assert {name for name, _ in new} <= {
        "metric_streams_book_messages_total",
        "metric_streams_book_unaccounted_messages",
        "metric_streams_fence_epoch",
        "metric_streams_fence_offset",
    }
    assert len(after.series()) < 500
    assert all(tenant not in str(series) for series in after.series())
    assert set(after.values("book_unaccounted_messages")) == {0}


@pytest.mark.long
async def test_the_dashboard_stays_live_and_memory_bounded_whatever_devices_call_themselves(
    pipeline: Pipeline, browser: Browser
) -> None:
    """Three times ten thousand tenants with ten devices each; there is room for two of the rounds."""
    worker = pipeline.worker(DEDUPE_MAX_IDS="100000")
    page = await browser.new_page()
    complaints = complaints_of(page)
    await page.goto(f"{worker.web_url}/dashboard/")
    await expect(page.locator("#live")).to_have_text("live", timeout=IN_TIME_MS)
    resident_mb = []
    for round_ in range(1, 4):
        tenants = [str(uuid.uuid4()) for _ in range(TENANTS)]
        await add_tenants(pipeline, tenants)
        await write_chunks(pipeline, tenants)
        await counted(worker, "pushed", round_ * TENANTS * DEVICES_EACH)
        await expect(page.locator("#live")).to_have_text("live", timeout=IN_TIME_MS)
        resident_mb.append(resident_kb(worker.pid) / 1_024)
    assert resident_mb[2] - resident_mb[1] < 50, resident_mb
    assert resident_mb[2] < 500, resident_mb
    for view, there in {"tenants": "table", "devices": "td", "workers": "td"}.items():
        await page.goto(f"{worker.web_url}/dashboard/#/{view}")
        await expect(page.locator(there).first).to_be_visible(timeout=IN_TIME_MS)
        await expect(page.locator("#live")).to_have_text("live", timeout=IN_TIME_MS)
    assert await page.locator("tr").count() < 500
    assert complaints == []


def resident_kb(pid: int) -> int:
    found = RESIDENT.search(Path(f"/proc/{pid}/status").read_text())
    assert found is not None
    return int(found[1])


async def add_tenants(pipeline: Pipeline, tenants: Sequence[str]) -> None:
    connection = await asyncpg.connect(pipeline.environment["DATABASE_URL"])
    try:
        rows = [(uuid.UUID(tenant), f"tenant {number}") for number, tenant in enumerate(tenants)]
        await connection.executemany("insert into tenants (id, name) values ($1, $2)", rows)
    finally:
        await connection.close()


async def write_chunks(pipeline: Pipeline, tenants: Sequence[str]) -> None:
    """Write what ingress would, a message of each device, straight into metrics.raw."""
    partitions = int(pipeline.environment["TOPIC_PARTITIONS"])
    waiting: dict[int, list[bytes]] = {number: [] for number in range(partitions)}
    for tenant in tenants:
        waiting[partition_of(tenant, partitions)] += [
            raw.encode_message(
                f"metrics/{tenant}/device-{tenant[:8]}-{number}/cpu",
                b'{"value": 1}',
                "2026-11-23T14:00:00.123456Z",
                1,
            )
            for number in range(DEVICES_EACH)
        ]
    async with AIOKafkaProducer(
        bootstrap_servers=pipeline.kafka.bootstrap, enable_idempotence=True
    ) as producer:
        for number, messages in waiting.items():
            for begin in range(0, len(messages), CHUNK):
                value = raw.join(messages[begin : begin + CHUNK])
                await producer.send(f"{pipeline.topics}.raw", value, partition=number)
