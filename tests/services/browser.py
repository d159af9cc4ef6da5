"""Browser: Debian's chromium without a window, driven by playwright."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from playwright.async_api import Page, async_playwright

from tests.services.catalogue import find_chromium

FLAGS = [
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-sync",
]


@asynccontextmanager
async def page_at(url: str) -> AsyncIterator[Page]:
    """A page of that address, in a browser that knows nothing yet.

    Scripts of the test may run there, whatever the page itself forbids.
    """
    async with async_playwright() as playwright:
        browser = await playwright.chromium.launch(
            executable_path=find_chromium(), args=FLAGS, headless=True
        )
        try:
            context = await browser.new_context(bypass_csp=True)
            page = await context.new_page()
            await page.goto(url)
            yield page
        finally:
            await browser.close()
