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


async def test_a_look_that_the_server_could_not_answer_is_repeated(tmp_path: Path) -> None:
    async with site(tmp_path, heartbeat_seconds=1000.0) as here, answering(here) as address, browsing() as browser:
        attempt, refused = await here.run("short"), []

        async def refuse_once(route: Route) -> None:
            if "x-leveret-part" in route.request.headers and not refused:
                # The look sees nothing, and after this change comes no other.
                refused.append(await here.repository.complete(attempt, Result()))
                await route.fulfill(status=503, content_type="application/problem+json", body="{}")
            else:
                await route.continue_()

        page = await browser.new_page()
        await page.route("**/jobs/short", refuse_once)
        await page.route("**/api/v1/events*", only_the_first_word)
        await page.goto(f"{address}/jobs/short")
        await expect(page.locator("#job-state")).to_contain_text("completed", timeout=30_000)
        assert refused


async def only_the_first_word(route: Route) -> None:
    """Answer a stream that is alive, and says nothing new."""
    await route.fulfill(
        status=200, content_type="text/event-stream", body="retry: 600000\n\nid: 1\nevent: here\ndata: {}\n\n"
    )


async def test_the_page_of_a_job_that_is_divided_meanwhile_follows_its_parts(tmp_path: Path) -> None:
    async with site(tmp_path, heartbeat_seconds=1000.0) as here, answering(here) as address, browsing() as browser:
        attempt = await here.run("film")
        page, streams = await browser.new_page(), []
        page.on("request", lambda request: streams.append(request.url) if "/api/v1/events" in request.url else None)
        await page.goto(f"{address}/jobs/film")
        await expect(page.locator("#job-state")).to_contain_text("running")
        await here.divide_attempt(attempt)
        await expect(page.locator("#job-parts")).to_contain_text("running", timeout=30_000)
        async with asyncio.timeout(30):
            while streams[-1] != f"{address}/api/v1/events":
                await asyncio.sleep(0.1)
