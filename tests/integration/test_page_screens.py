"""Every screen in a real Chromium: axe finds nothing, nothing hangs out of it, a keyboard and no script are enough."""

from __future__ import annotations

import json
from contextlib import asynccontextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from playwright.async_api import expect

import worker.web
from tests.support.page import answering, axe_script, browsing
from tests.support.web import site
from worker.control.intake.folders import put_folder
from worker.control.intake.hooks import put_hook
from worker.control.intake.schedules import put_schedule
from worker.core.record import Hardware
from worker.web.pages import navigation

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from tests.support.web import Site

TAGS = ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22aa", "best-practice"]
RULES = f"axe.run({{runOnly: {TAGS}, resultTypes: ['violations']}})"
OVERHANG = "document.documentElement.scrollWidth - document.documentElement.clientWidth"
CUT = (
    "[...document.querySelectorAll('.scroll')].filter(one => one.scrollWidth > one.clientWidth)"
    ".map(one => one.getAttribute('aria-label'))"
)
UNEVEN = (
    "[...document.querySelectorAll('tbody tr:first-child > *')].filter(one => one.textContent.trim()"
    " && getComputedStyle(one).textAlign !== getComputedStyle("
    "one.closest('table').querySelector('thead tr').children[one.cellIndex]).textAlign).map(one => one.textContent)"
)
STYLES = Path(worker.web.__file__).parent / "static/page.css"
LONG = "The whole tour with everything that was said between the songs " * 3 + "x" * 120
SUBJECTS = (
    "/jobs/running", "/jobs/divided", "/jobs/done", "/jobs/dead", "/jobs/nowhere", "/jobs?state=queued&text=film",
    "/new?module=hls", "/new/browse", "/fleet/render-1", "/login", "/templates?name=h265-archive", "/scans/ended",
    "/scans/waits",
)  # fmt: skip
DARK = ("/", "/jobs/running", "/jobs/divided", "/new?module=hls", "/settings/automatic", "/scans/ended")
"""What is looked at in the dark, too: between them they have every colour."""
VIEWS = (("light", 1440), ("dark", 390))


@asynccontextmanager
async def at_work(folder: Path) -> AsyncIterator[str]:
    """Yield the address of a site with the rows of a fleet at work."""
    # Workers that beat once are alive for the whole test.
    async with site(folder, heartbeat_seconds=1000.0) as here:
        await fill(here)
        async with answering(here) as address:
            yield address


async def fill(here: Site) -> None:
    """Make rows of every kind, with words that are long."""
    proved = {"proved": True, "encoders": {"libx264": True, "h264_nvenc": "Cannot load libcuda.so.1"}}
    host = Hardware(cpu_percent=83, ram_percent=41, disk_free_bytes=40 << 30, cores=8, architecture="x86_64")
    await here.beat(
        "render-1", status="in_progress", job_id="running", job_title=LONG, hardware=host, capabilities=proved
    )
    await here.beat("render-2", status="paused", problem=f"outside its active hours: {LONG}")
    await here.run("running")
    await here.divide("divided", LONG, 24)
    await here.beat("render-3", status="in_progress", job_id="divided.p0001", job_title=f"{LONG} 2/24")
    for number in range(30):
        await here.submit(f"waits-{number}", LONG if number % 5 else "", lane="nvenc" if number % 2 else "cpu")
    await here.die("dead", f"film.mkv is no media: {LONG}", LONG)
    film = here.folder / "out" / "film.mp4"
    film.write_bytes(b"no film")
    await here.complete("done", film, title=LONG)
    await fill_intake(here)


async def fill_intake(here: Site) -> None:
    """Make rows of what makes jobs by itself."""
    control = here.services.control
    inbox = {"place": f"nas://{LONG[:40]}", "template": "web-mp4", "include": [LONG[:200]]}
    await put_folder(control, here.services.folder_files, "inbox", inbox)
    nightly = {"cron": "30 3 * * *", "zone": "Europe/Berlin", "template": "web-mp4", "sources": [f"nas://{LONG}"]}
    await put_schedule(control, "nightly", nightly)
    await put_hook(control, "film", {"kind": "github", "template": "gource-1080p", "secret": "of a test " * 3})
    broken = {"source": f"nas://{LONG}.mkv", "verdict": "broken", "bytes": 7, "reasons": [LONG]}
    verdicts = {"broken": {"files": 2, "bytes": 14}, "does not conform": {"files": 1, "bytes": 7}}
    numbers = {"files": 4, "media": 3, "bytes": 21, "verdicts": verdicts}
    saved = {"jobs": 3, "source_bytes": 90, "made_bytes": 30}
    result = numbers | {"shown": [broken] * 2, "predicted": None, "saved": saved, "submitted": None}
    for name in ("ended", "waits"):
        await control.stores.add_scan(name, {"template": "web-mp4", "source": f"nas://{LONG}"}, 9)
        if name == "ended":
            await control.stores.claim_scan("one", 30.0)
            await control.stores.renew_scan(name, "one", 30.0, numbers)
            await control.stores.finish_scan(name, "one", result, None, 9)


async def test_axe_finds_nothing_on_any_screen_and_nothing_hangs_out_of_it(tmp_path: Path) -> None:
    script, faults = axe_script(), []
    paths = [*dict.fromkeys(link.path for one in navigation.SCREENS for link in (one, *one.tabs)), *SUBJECTS]
    async with at_work(tmp_path) as address, browsing(bypass_csp=True) as browser:
        page = await browser.new_page()
        for path in paths:
            await page.goto(address + path)
            await page.evaluate(script)
            # One load a screen: the other view is the same page, turned dark and made narrow.
            for scheme, width in VIEWS:
                await page.emulate_media(color_scheme=scheme)
                await page.set_viewport_size({"width": width, "height": 900})
                if scheme == "light" or path in DARK:
                    found = await page.evaluate(RULES)
                    nodes = [
                        (one["id"], [node["html"][:120] for node in one["nodes"][:3]]) for one in found["violations"]
                    ]
                    faults += [(path, width, one) for one in nodes]
                if (overhang := await page.evaluate(OVERHANG)) > 0:
                    faults.append((path, width, f"{overhang} pixels hang out"))
                if width > 1000 and (uneven := await page.evaluate(UNEVEN)):
                    faults.append((path, width, f"numbers are not below their heads: {uneven}"))
                if width < 400 and (cut := await page.evaluate(CUT)):
                    faults.append((path, width, f"cut on a phone: {cut}"))
    assert faults == []


async def test_a_keyboard_alone_reaches_everything_and_reading_needs_no_script(tmp_path: Path) -> None:
    async with at_work(tmp_path) as address, browsing(java_script_enabled=False) as browser:
        page = await browser.new_page()
        await page.goto(address + "/")
        await expect(page.locator("#main")).to_contain_text("The whole tour")
        await page.keyboard.press("Tab")
        await page.keyboard.press("Enter")
        assert page.url.endswith("#main")
        await page.goto(address + "/new")
        await page.fill("#text", "{")
        await page.focus("button[value=try]")
        await page.keyboard.press("Enter")
        await expect(page.locator("#dry-run")).to_contain_text("not JSON")
        await page.fill("#text", json.dumps({"tasks": [{"module": "probe", "data": {"source": "nas://none.mkv"}}]}))
        await page.focus("button[value=try]")
        await page.keyboard.press("Enter")
        await expect(page.locator("#dry-run")).to_contain_text("render-1")
        await expect(page.locator("#dry-run")).to_contain_text(
            "typically took 0:12 and made 7 B (the median of the newest 1)"
        )
        await expect(page.locator("#h-run")).to_be_in_viewport()


async def test_the_fields_of_a_filter_are_of_one_height():
    fields = (
        "<label>Text <input></label><label>State <select><option>any</option></select></label><button>Filter</button>"
    )
    async with browsing(viewport={"width": 1280, "height": 800}) as browser:
        page = await browser.new_page()
        await page.set_content(f'<form class="filter">{fields}</form>')
        await page.add_style_tag(path=STYLES)
        tops = "[...document.querySelectorAll('input, select, button')].map(one => one.getBoundingClientRect().top)"
        assert len(set(await page.evaluate(tops))) == 1


async def test_the_picture_and_the_bar_of_a_storyboard_fit_a_phone():
    board = '<canvas width="256" height="144"></canvas><span>1:02:03</span><input type="range">'
    async with browsing(viewport={"width": 390, "height": 844}) as browser:
        page = await browser.new_page()
        await page.set_content(f'<main><div class="board">{board}</div></main>')
        await page.add_style_tag(path=STYLES)
        assert await page.evaluate(OVERHANG) <= 0
