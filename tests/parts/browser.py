"""Debian's Chromium, without a window, driven by playwright."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from importlib.resources import files
from pathlib import Path

from playwright.async_api import Browser, ConsoleMessage, Page, async_playwright

from tests.parts.process import find_program

ARGUMENTS = ["--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage"]
"""A sandbox needs rights that a container and root do not have; the pages are our own."""
SERIOUS = {"serious", "critical"}


def chromium() -> Path:
    """Return the program.

    Raises:
        MissingPartError: it is not installed.
    """
    return find_program("chromium", package="chromium")


@asynccontextmanager
async def browsing(program: Path) -> AsyncIterator[Browser]:
    """Start the browser for the block."""
    async with async_playwright() as playwright:
        browser = await playwright.chromium.launch(executable_path=program, args=ARGUMENTS)
        try:
            yield browser
        finally:
            await browser.close()


def complaints_of(page: Page, *, expected: str = "") -> list[str]:
    """Return a list that fills with what the page complains of: its console's errors, and what it throws.

    Args:
        page: not gone anywhere yet.
        expected: what is in a complaint that a test brings about itself; empty for none.
    """
    found: list[str] = []

    def hear(message: ConsoleMessage) -> None:
        text = f"{message.text} ({message.location.get('url')})"
        if message.type in {"error", "warning"} and not (expected and expected in text):
            found.append(text)

    page.on("console", hear)
    page.on("pageerror", lambda error: found.append(str(error)))
    return found


async def barriers(page: Page) -> list[str]:
    """Return what axe finds that keeps people out, serious or worse."""
    await page.evaluate(files("axe_playwright_python").joinpath("axe.min.js").read_text())
    found = await page.evaluate("axe.run()")
    return [
        f"{violation['id']}: {node['html'][:200]}: {node['failureSummary']}"
        for violation in found["violations"]
        if violation["impact"] in SERIOUS
        for node in violation["nodes"]
    ]
