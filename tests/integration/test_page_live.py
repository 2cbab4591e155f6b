"""The page in a real Chromium, while what it shows changes."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from playwright.async_api import expect

from tests.support.page import answering, browsing
from tests.support.web import site
from worker.core.attempt import Result

if TYPE_CHECKING:
    from pathlib import Path

    from playwright.async_api import Route


async def test_what_changed_before_the_stream_of_changes_began_is_shown(tmp_path: Path) -> None:
    async with site(tmp_path, heartbeat_seconds=1000.0) as here, answering(here) as address, browsing() as browser:
        attempt, drawn = await here.run("short"), asyncio.Event()

        async def after_the_end(route: Route) -> None:
            await drawn.wait()
            await here.repository.complete(attempt, Result())
            await route.continue_()

        page = await browser.new_page()
        await page.route("**/api/v1/events*", after_the_end)
        await page.goto(f"{address}/jobs/short")
        await expect(page.locator("#job-state")).to_contain_text("running")
        drawn.set()
        await expect(page.locator("#job-state")).to_contain_text("completed", timeout=30_000)
