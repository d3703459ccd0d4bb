"""The dashboard in a real browser."""

from __future__ import annotations

import shutil

import pytest
from playwright.async_api import async_playwright

from tests.memoryd.running import Running

CHROMIUM = shutil.which("chromium") or ""


@pytest.mark.long
@pytest.mark.skipif(not CHROMIUM, reason="Chromium is not installed")
async def test_the_page_shows_the_store_and_searches_it(memoryd: Running) -> None:
    for text in ("cats purr", "dogs bark", "<img src=x onerror=alert(1)>"):
        await memoryd.rpc.remember(text)
    async with async_playwright() as playwright:
        browser = await playwright.chromium.launch(
            executable_path=CHROMIUM, args=["--no-sandbox", "--disable-background-networking"]
        )
        page = await browser.new_page()
        problems: list[str] = []
        page.on("pageerror", lambda error: problems.append(str(error)))
        page.on("dialog", lambda dialog: problems.append("a stored text ran as a script"))
        await page.goto(memoryd.url)
        await page.wait_for_function("document.getElementById('rows').textContent === '3'")
        await page.fill("#query", "cats")
        await page.click("button")
        await page.wait_for_selector("#found li p")
        assert await page.text_content("#found li p") == "cats purr"
        assert "<img" in (await page.text_content("#latest") or "")
        assert problems == []
        await browser.close()
