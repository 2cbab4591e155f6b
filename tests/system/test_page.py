"""The page in a real Chromium, with a real broker and real workers: upload, submit, watch, play, cancel, heal."""

from __future__ import annotations

import asyncio
import json
import os
import re
import shutil
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest
from playwright.async_api import expect

from infra import assets
from infra.local.ports import free_port
from tests.support.fleet import LONG, ROOT, until
from tests.support.page import browsing, message, serving

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.support.fleet import Fleet
    from tests.support.page import Server

SECONDS = 90_000
TOKEN = "lvt_" + "of-a-test" * 4
pytestmark = pytest.mark.xdist_group("fleet")


@pytest.fixture
def server(alone: Fleet) -> Iterator[Server]:
    assets.fetch()
    nas = alone.folder / "nas"
    nas.mkdir(exist_ok=True)
    environment = alone.environment | {"WORKER_NAS_ROOT": str(nas), "WORKER_LOG_FORMAT": "json"}
    with serving(environment, alone.folder, free_port(frozenset())) as running:
        yield running


@pytest.fixture
async def worker_with_nas(alone: Fleet, server: Server) -> str:
    """Return the worker that runs what the page submits."""
    await alone.start("worker", WORKER_NAS_ROOT=str(alone.folder / "nas"))
    await alone.worker("worker", "idle", seconds=60)
    return "worker"


async def test_a_film_is_uploaded_submitted_watched_and_played_to_its_end(alone, server, worker_with_nas):
    async with browsing(viewport={"width": 1440, "height": 900}) as browser:
        page, other = await browser.new_page(), await browser.new_page()
        foreign, errors = [], []
        page.on("request", lambda request: foreign.append(request.url) if server.address not in request.url else None)
        page.on("pageerror", lambda error: errors.append(str(error)))
        await other.goto(f"{server.address}/")
        await page.goto(f"{server.address}/new?module=hls")
        await page.set_input_files("#upload-file", str(alone.clip))
        await page.click("#upload-start")
        await expect(page.locator("#upload-status")).to_contain_text("nas://uploads/", timeout=SECONDS)
        uploaded = json.loads(await page.input_value("#text"))["tasks"][0]["data"]["source"]
        assert await page.input_value("#field-source") == uploaded
        await page.fill("#text", message(uploaded))
        await page.click("button[value=try]")
        await expect(page.locator("#dry-run")).to_contain_text("can take it")
        await page.click("button[value=submit]")
        await page.wait_for_url(re.compile("/jobs/"))
        await expect(page.locator("#job-state")).to_contain_text("completed", timeout=SECONDS)
        # Two tabs agree: the other one has heard of it, too.
        await expect(other.locator("#now-results")).to_contain_text("A film by form", timeout=SECONDS)
        job_id = page.url.partition("/jobs/")[2].partition("?")[0]
        assert (await alone.rows.job(job_id)).state == "completed"
        await page.wait_for_selector("video")
        kinds = await page.eval_on_selector_all(
            "[data-choice=play] option", "all => all.map((one) => one.dataset.engine)"
        )
        assert set(kinds) >= {"hls", "dash"}
        for kind in ("hls", "dash"):
            if kind == "dash":
                await page.select_option("[data-choice=play]", index=kinds.index("dash"))
            else:
                await page.evaluate("document.querySelector('video').play().catch(() => {})")
            # A video that is replaced has ended too, and lasts no time.
            played = "(video => video.ended && video.duration > 0.5)(document.querySelector('video'))"
            await until(lambda: page.evaluate(played), 90, f"{kind} played to its end")  # noqa: B023 - awaited at once
            assert await page.locator("[data-player-problem]").is_hidden()
        assert not [url for url in foreign if not url.startswith("blob:")]
        assert errors == []


async def test_cancel_kills_and_a_server_that_was_killed_heals_by_itself(alone, server, worker_with_nas):
    body = {"job_title": "A long one", "tasks": [{"module": "ffmpeg", "data": {
        "sources": [str(alone.clip)], "source_maps": [{"source": 0}], "output_file": "long.mkv"} | LONG}]}  # fmt: skip
    async with browsing() as browser:
        page = await browser.new_page()
        page.on("dialog", lambda dialog: asyncio.ensure_future(dialog.accept()))
        await page.goto(f"{server.address}/new")
        await page.fill("#text", json.dumps(body))
        await page.click("button[value=submit]")
        await page.wait_for_url(re.compile("/jobs/"))
        await expect(page.locator("#job-state")).to_contain_text("running", timeout=SECONDS)
        server.kill()
        await expect(page.locator("#banner")).to_contain_text("does not answer", timeout=SECONDS)
        server.start()
        await expect(page.locator("#banner")).to_be_hidden(timeout=SECONDS)
        await expect(page.locator("#job-now")).to_contain_text("%", timeout=SECONDS)
        await page.click("text=Cancel")
        await expect(page.locator("#job-state")).to_contain_text("cancelled", timeout=SECONDS)
        assert server.end() == 0


def test_the_examples_of_the_page_on_the_api_run(alone, server):
    shutil.copy(alone.clip, alone.folder / "nas" / "film.mkv")
    text = (ROOT / "docs/how-to/use-the-api.md").read_text()
    environment = os.environ | {"LEVERET_SERVER": server.address, "LEVERET_TOKEN": TOKEN}
    programs = {"sh": ("bash", "-euc"), "python": (sys.executable, "-c"), "js": ("node", "--input-type=module", "-e")}
    blocks = re.findall(r"^```(sh|python|js)\n(.*?)^```$", text, re.MULTILINE | re.DOTALL)
    assert [kind for kind, _ in blocks] == ["sh", "python", "js"]
    for kind, code in blocks:
        done = subprocess.run(
            (*programs[kind], code), env=environment, capture_output=True, text=True, timeout=60, check=False
        )
        assert done.returncode == 0, (kind, done.stderr[-500:], done.stdout[-500:])
        assert "queued" in done.stdout, kind
