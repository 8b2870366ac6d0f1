"""The list of rejected messages in a browser, before a server of the test: when it asks anew."""

from collections.abc import AsyncIterator
from importlib.resources import files
from typing import Any

import pytest
from aiohttp import web
from aiohttp.test_utils import TestServer
from playwright.async_api import Browser, Page

from tests.parts.browser import complaints_of
from tests.parts.eventually import eventually

PAGE = """
<!doctype html><title>list</title><link rel="icon" href="data:,">
<body><script type="module">
import { rejected } from "./view-rejected.js";
const place = { name: "rejected", query: new URLSearchParams() };
window.view = rejected({ go() {}, place: () => place });
document.body.append(view.element);
view.arrive(place.query);
</script>
"""
DONE = {"replayed": 1, "superseded": 0, "cut": 0}


class Seen:
    """A page with the list alone, and how often it asked for it."""

    def __init__(self, page: Page) -> None:
        self.page = page
        self.searches = 0

    async def hears(self, *changes: dict[str, Any] | None) -> None:
        for change in changes:
            await self.page.evaluate("change => view.update({ change })", change)

    async def has_searched(self, count: int) -> None:
        await eventually(lambda: self.searches >= count, 10)
        await self.page.evaluate("fetch('rejected/list')")  # whatever was asked for before is counted now
        self.searches -= 1
        assert self.searches == count


def change(began_at: float, *, is_over: bool, **more: Any) -> dict[str, Any]:
    told = {"does": "replay", "began_at": began_at, "progress": [0, 1], "is_over": is_over}
    return told | {"done": DONE if is_over else None, "error": ""} | more


@pytest.fixture
async def seen(browser: Browser) -> AsyncIterator[Seen]:
    async def serve_page(_: web.Request) -> web.Response:
        return web.Response(text=PAGE, content_type="text/html")

    async def serve_list(_: web.Request) -> web.Response:
        seen.searches += 1
        return web.json_response({"messages": [], "counted": 0, "by_reason": {}})

    application = web.Application()
    application.router.add_get("/dashboard/rejected/list", serve_list)
    application.router.add_get("/dashboard/", serve_page)
    application.router.add_static("/dashboard", str(files("streams.web").joinpath("dashboard")))
    async with TestServer(application) as server:
        page = await browser.new_page()
        complaints = complaints_of(page)
        seen = Seen(page)
        await page.goto(str(server.make_url("/dashboard/")))
        await page.wait_for_function("window.view")
        yield seen
        assert complaints == []


async def test_it_asks_anew_when_a_change_ends_that_it_saw_under_way(seen: Seen) -> None:
    await seen.hears(None, change(1.0, is_over=False), change(1.0, is_over=True), change(1.0, is_over=True))
    await seen.has_searched(2)


async def test_it_asks_anew_after_a_change_that_was_over_before_the_page_heard_of_it(seen: Seen) -> None:
    await seen.hears(None, change(1.0, is_over=True))
    await seen.has_searched(2)


async def test_it_asks_anew_after_a_second_change_that_ends_as_the_one_before(seen: Seen) -> None:
    await seen.hears(None, change(1.0, is_over=True), change(2.0, is_over=True))
    await seen.has_searched(3)


async def test_it_asks_anew_after_a_change_that_failed(seen: Seen) -> None:
    await seen.hears(None, change(1.0, is_over=True, done=None, error="stopped"))
    await seen.has_searched(2)


async def test_a_change_that_was_over_before_the_page_came_is_shown_and_asks_nothing(
    seen: Seen,
) -> None:
    await seen.hears(change(1.0, is_over=True), change(1.0, is_over=True))
    await seen.has_searched(1)
    assert "Replay done: 1 put back" in await seen.page.locator(".change").inner_text()
