"""The dashboard in a browser, before a real worker: what an operator sees, and does by clicking."""

import asyncio
import uuid
from collections import Counter

import pytest
from playwright.async_api import Browser, Page, expect

from streams.mqtt.address import Address
from streams.mqtt.publisher import MqttPublisher
from tests.acceptance import rejections
from tests.acceptance.conftest import Pipeline
from tests.acceptance.rejections import (
    MANY,
    add_tenant,
    flowed,
    mixed,
    rejected_json,
    rows_stand,
    settled,
)
from tests.parts.browser import barriers, complaints_of
from tests.parts.eventually import eventually
from tests.parts.redis import Redis
from tests.parts.worker import Worker

TOKEN = "a-token-that-is-long-enough"  # noqa: S105 - of this test alone
IN_TIME_MS = 60_000
AWAY_MS = 5_000
SIZES = {"desk": (1440, 900), "phone": (390, 844), "wall": (2560, 1440)}
VIEWS = ["overview", "rejected", "tenants", "devices", "workers"]
SOUND = '{"value": 1}'


@pytest.fixture
def own_redis(pipeline: Pipeline) -> Redis:
    server: Redis = pipeline.own(lambda: Redis(append_only=True))
    pipeline.environment |= {"REDIS_URL": server.url}
    return server


async def publish(pipeline: Pipeline, tenant: str, payloads: list[str]) -> None:
    async with MqttPublisher(Address.parse(pipeline.mosquitto.url)) as publisher:
        sent = (publisher.publish(f"metrics/{tenant}/edge-7/cpu", each.encode(), 1) for each in payloads)
        assert all(await asyncio.gather(*sent))


async def opened(
    browser: Browser, worker: Worker, view: str = "overview", *, expected: str = ""
) -> tuple[Page, list[str]]:
    page = await browser.new_page()
    page.set_default_timeout(IN_TIME_MS)
    complaints = complaints_of(page, expected=expected)
    await page.goto(f"{worker.web_url}/dashboard/#/{view}")
    await expect(page.locator("#live")).to_have_text("live", timeout=IN_TIME_MS)
    return page, complaints


def tile(title: str) -> str:
    return f".tile:has(.title:text-is('{title}')) .value"


async def test_it_shows_live_rates_and_a_redis_that_goes_away_and_comes_back(
    pipeline: Pipeline, browser: Browser, own_redis: Redis
) -> None:
    worker = pipeline.worker()
    page, complaints = await opened(browser, worker)

    async def flow() -> None:
        while True:
            await publish(pipeline, pipeline.tenants[0], [SOUND] * 20)

    flowing = asyncio.create_task(flow())
    try:
        for title in ("Received", "Handed off"):
            await expect(page.locator(tile(title))).not_to_have_text("0", timeout=IN_TIME_MS)
        await expect(page.locator(".uplot canvas")).to_have_count(5)
        await expect(page.locator("td", has_text=pipeline.tenants[0])).to_be_visible(timeout=IN_TIME_MS)
    finally:
        flowing.cancel()
    redis = page.locator("[data-part=redis]")
    await expect(redis).to_have_attribute("data-state", "up")
    own_redis.stop()
    await expect(redis).to_have_attribute("data-state", "down", timeout=AWAY_MS)
    await expect(page.locator("#banner")).to_contain_text("redis", timeout=AWAY_MS)
    await expect(page.locator("#banner")).to_contain_text("this worker's alone", timeout=AWAY_MS)
    own_redis.start()
    await expect(redis).to_have_attribute("data-state", "up", timeout=IN_TIME_MS)
    await expect(page.locator("#banner")).to_be_hidden(timeout=IN_TIME_MS)
    assert complaints == []


async def test_a_queue_that_nobody_works_shows_until_somebody_does(
    pipeline: Pipeline, browser: Browser
) -> None:
    page, complaints = await opened(browser, pipeline.worker())
    waiting = page.locator(".tile:has(.title:text-is('Jobs waiting'))")
    await expect(waiting).to_contain_text("0 under way", timeout=IN_TIME_MS)
    await publish(pipeline, pipeline.tenants[0], [SOUND])
    await expect(waiting).to_contain_text("nobody works it for", timeout=IN_TIME_MS)
    await expect(waiting).to_have_attribute("data-state", "down")
    pipeline.ingest()
    await expect(waiting).to_contain_text("0 under way", timeout=IN_TIME_MS)
    await expect(waiting).to_have_attribute("data-state", "")
    assert complaints == []


async def test_a_redis_that_no_longer_answers_shows_as_soon(
    pipeline: Pipeline, browser: Browser, own_redis: Redis
) -> None:
    page, _ = await opened(browser, pipeline.worker())
    redis = page.locator("[data-part=redis]")
    await expect(redis).to_have_attribute("data-state", "up")
    own_redis.pause()
    await expect(redis).to_have_attribute("data-state", "down", timeout=2 * AWAY_MS)


async def test_a_worker_that_ends_leaves_a_page_that_says_so(pipeline: Pipeline, browser: Browser) -> None:
    worker = pipeline.worker()
    page, _ = await opened(browser, worker)
    worker.stop()
    await expect(page.locator("#live")).to_contain_text("stale", timeout=AWAY_MS)
    await expect(page.locator("#banner")).to_contain_text("told nothing")
    worker.start()
    await expect(page.locator("#live")).to_have_text("live", timeout=IN_TIME_MS)
    await expect(page.locator("#banner")).not_to_contain_text("told nothing")


async def test_a_rejected_message_is_found_explained_and_replayed_by_clicking(
    pipeline: Pipeline, browser: Browser
) -> None:
    worker, unknown = pipeline.worker(TENANT_UNKNOWN_S="0.1"), str(uuid.uuid4())
    pipeline.ingest()
    await publish(
        pipeline, unknown, [f'{{"value": {n}, "dedupe_id": "late-{n}"}}' for n in range(5)] + [SOUND]
    )
    await publish(pipeline, pipeline.tenants[0], ['{"value": "<img src=x onerror=alert(1)>"}'])
    page, complaints = await opened(browser, worker)
    await page.get_by_role("link", name="tenant_unknown").click()
    await expect(page.locator("#found")).to_contain_text("6 found", timeout=IN_TIME_MS)
    await page.locator("tbody a", has_text="tenant_unknown").first.click()
    await expect(page.locator("#means")).to_contain_text("The application has no such tenant")
    await expect(page.locator(".detail")).to_contain_text(f"no tenant {unknown}")

    await pipeline.query("insert into tenants (id, name) values ($1, 'late')", uuid.UUID(unknown))
    await page.locator("#replay-one").click()
    await expect(page.locator("#ask-title")).to_have_text("Replay 1 messages?", timeout=IN_TIME_MS)
    await page.locator("#ask-yes").click()
    await expect(page.locator(".change")).to_contain_text("Replay done: 1 put back", timeout=IN_TIME_MS)

    await expect(page.locator("#found")).to_contain_text("5 found", timeout=IN_TIME_MS)
    await page.locator("#replay-all").click()
    await expect(page.locator("#ask-title")).to_have_text("Replay 5 messages?", timeout=IN_TIME_MS)
    await page.locator("#ask-yes").click()
    await expect(page.locator(".change")).to_contain_text("Replay done: 5 put back", timeout=IN_TIME_MS)

    async def landed() -> bool:
        return len(await pipeline.rows()) == 6

    await eventually(landed, interval_s=0.2)
    await page.goto(f"{worker.web_url}/dashboard/#/rejected?reason=value_not_a_number")
    await expect(page.locator("#found")).to_contain_text("1 found", timeout=IN_TIME_MS)
    await page.locator("tbody a", has_text="value_not_a_number").first.click()
    await expect(page.locator("pre")).to_contain_text("<img src=x onerror=alert(1)>")
    assert complaints == []


@pytest.mark.long
async def test_a_thousand_that_are_put_back_from_the_page_and_again_by_the_command_land_once(
    pipeline: Pipeline, browser: Browser
) -> None:
    """With the device's own id, with a derived one, and without any."""
    worker, unknown = pipeline.worker(TENANT_UNKNOWN_S="1"), str(uuid.uuid4())
    pipeline.ingest()
    await rejections.publish(pipeline, *mixed(unknown))
    await settled(pipeline, MANY)
    await add_tenant(pipeline, unknown)
    page, complaints = await opened(browser, worker, "rejected?reason=tenant_unknown")
    await expect(page.locator("#found")).to_contain_text("1,000 found", timeout=IN_TIME_MS)
    await page.locator("#replay-all").click()
    await expect(page.locator("#ask-title")).to_have_text("Replay 1,000 messages?", timeout=IN_TIME_MS)
    await page.locator("#ask-yes").click()
    await expect(page.locator(".change")).to_contain_text("Replay done: 1,000 put back", timeout=IN_TIME_MS)
    await expect(page.locator("#found")).to_contain_text("0 found", timeout=IN_TIME_MS)
    await rows_stand(pipeline, MANY)
    replay = ("replay", "--reason", "tenant_unknown", "--all", "--yes", "--json")
    (told,) = await rejected_json(pipeline, *replay)
    assert told["replayed"] + told["superseded"] == MANY
    await flowed(pipeline)
    rows = await pipeline.rows()
    assert sorted(row["value"] for row in rows) == list(range(MANY))
    assert Counter(row["tenant_id"] for row in rows) == {unknown: MANY}
    assert complaints == []


async def test_the_token_is_asked_for_and_opens_every_view(pipeline: Pipeline, browser: Browser) -> None:
    worker = pipeline.worker(WEB_TOKEN=TOKEN)
    page = await browser.new_page()
    await page.goto(f"{worker.web_url}/dashboard/#/workers")
    await page.get_by_label("WEB_TOKEN of this worker").fill("wrong")
    await page.get_by_role("button", name="Log in").click()
    await expect(page.get_by_role("alert").filter(has_text="not the worker's WEB_TOKEN")).to_be_visible()
    await page.get_by_label("WEB_TOKEN of this worker").fill(TOKEN)
    await page.keyboard.press("Enter")
    await expect(page.locator("#live")).to_have_text("live", timeout=IN_TIME_MS)
    await expect(page).to_have_title("Workers · metric-streams")
    await page.get_by_role("button", name="Log out").click()
    await expect(page.get_by_label("WEB_TOKEN of this worker")).to_be_visible()


@pytest.mark.long
async def test_every_worker_of_the_group_is_on_any_workers_page(pipeline: Pipeline, browser: Browser) -> None:
    first, second = pipeline.worker(), pipeline.worker()
    for worker in (first, second):
        page, complaints = await opened(browser, worker, "workers")
        rows = page.get_by_role("group", name="Workers of the group").locator("tbody tr")
        await expect(rows).to_have_count(2, timeout=IN_TIME_MS)
        assert complaints == []
    second.kill()
    page, _ = await opened(browser, first, "workers")
    await expect(page.get_by_text("silent for")).to_be_visible(timeout=IN_TIME_MS)


@pytest.mark.long
async def test_a_device_that_fell_silent_is_found(pipeline: Pipeline, browser: Browser) -> None:
    worker = pipeline.worker()
    await publish(pipeline, pipeline.tenants[0], [SOUND, SOUND.replace("1", "2"), "{"])
    page, complaints = await opened(browser, worker, "devices?agent=edge-*&silent_s=0")
    row = page.get_by_role("group", name="Devices").locator("tbody tr")
    found = page.get_by_role("button", name="Search")

    async def told() -> bool:
        await found.click()
        await expect(page.locator("#devices-found")).to_contain_text("found", timeout=IN_TIME_MS)
        return await row.count() == 1

    await eventually(told, 90, interval_s=1.0)
    await expect(row).to_contain_text("edge-7")
    await expect(row.locator("td").nth(3)).to_have_text("3")
    await expect(row.locator("td").nth(4)).to_have_text("33 %")
    await page.goto(f"{worker.web_url}/dashboard/#/devices?silent_s=86400")
    await expect(page.get_by_text("No device is known that fits")).to_be_visible(timeout=IN_TIME_MS)
    assert complaints == []


async def test_keys_lead_to_every_view_and_the_url_leads_back(pipeline: Pipeline, browser: Browser) -> None:
    page, complaints = await opened(browser, pipeline.worker())
    for number, view in enumerate(VIEWS, 1):
        await page.keyboard.press(str(number))
        await expect(page).to_have_title(f"{view.capitalize()} · metric-streams")
    await page.keyboard.press("1")
    await page.keyboard.press("[")
    assert page.url.endswith("#/overview?span=300")
    await page.reload()
    await expect(page.get_by_role("button", name="5 min", exact=True)).to_have_attribute(
        "aria-pressed", "true"
    )
    await page.keyboard.press("?")
    await expect(page.get_by_role("dialog")).to_be_visible()
    await page.keyboard.press("Escape")
    await page.keyboard.press("t")
    await expect(page.get_by_role("button", name="Theme: light")).to_be_visible()
    assert complaints == []


async def test_nothing_keeps_people_out_and_nothing_overflows(pipeline: Pipeline, browser: Browser) -> None:
    worker = pipeline.worker()
    await publish(pipeline, pipeline.tenants[0], [SOUND, "{"])
    for scheme in ("light", "dark"):
        for size, (width, height) in SIZES.items():
            page, complaints = await opened(browser, worker)
            await page.emulate_media(color_scheme="dark" if scheme == "dark" else "light")
            await page.set_viewport_size({"width": width, "height": height})
            for view in VIEWS:
                await page.goto(f"{worker.web_url}/dashboard/#/{view}")
                await expect(page).to_have_title(f"{view.capitalize()} · metric-streams")
                assert await barriers(page) == [], (scheme, size, view)
                assert await page.evaluate("document.documentElement.scrollWidth <= innerWidth"), (size, view)
            assert complaints == []
            await page.close()
