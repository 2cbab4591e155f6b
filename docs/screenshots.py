"""Pictures of every screen, of a server with sample rows: `python docs/screenshots.py FOLDER`.

Wide and light, narrow and dark; Debian's Chromium draws them.
"""

from __future__ import annotations

import asyncio
import os
import subprocess
import sys
import tempfile
import zlib
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

from infra.local import LocalServices  # noqa: E402 - the tree is not installed where this may run
from infra.local.ports import free_port  # noqa: E402
from infra.provision import provision  # noqa: E402
from infra.settings import ProvisionSettings  # noqa: E402
from tests.support.page import browsing, serving  # noqa: E402
from tests.support.web import Site, site  # noqa: E402
from worker.control.intake.folders import put_folder  # noqa: E402
from worker.control.intake.hooks import put_hook  # noqa: E402
from worker.control.intake.schedules import put_schedule  # noqa: E402
from worker.control.option_sets import put_option_set  # noqa: E402
from worker.core.attempt import Failure  # noqa: E402
from worker.core.record import Hardware  # noqa: E402

SCREENS = {
    "now": "/", "jobs": "/jobs", "job": "/jobs/running",
    "parts": "/jobs/divided", "result": "/jobs/result-1", "new": "/new?module=hls",
    "fleet": "/fleet", "dead": "/dead", "worker": "/fleet/render-1", "settings": "/settings",
    "template": "/templates?name=h265-archive", "scans": "/scans", "scan": "/scans/library",
    "automatic": "/settings/automatic", "browse": "/new/browse", "absent": "/jobs/nowhere",
}  # fmt: skip
VIEWS = {"": (1440, 900, "light"), "-narrow": (390, 844, "dark")}
DRAWN = """() => [...document.images].every(
    (one) => one.getBoundingClientRect().top >= innerHeight || (one.complete && one.naturalWidth > 0))"""
TOUR = "The whole tour, " + "with everything that was said between the songs, " * 3
PROVED = {
    "proved": True,
    "encoders": {"libx264": True, "h264_nvenc": "Cannot load libcuda.so.1"},
    "tools": {"gource": True},
}


async def fill(here: Site) -> None:
    """Make the rows of a small fleet at work."""
    host = Hardware(cpu_percent=83, ram_percent=41, disk_free_bytes=40 << 30, cores=8, architecture="x86_64")
    title = "A night in the museum"
    await here.beat(
        "render-1", status="in_progress", job_id="running", job_title=title, hardware=host, capabilities=PROVED
    )
    calm = Hardware(cpu_percent=2, ram_percent=18, disk_free_bytes=800 << 30, cores=4, architecture="aarch64")
    part = {"job_id": "divided.p0001", "job_title": f"{TOUR} 2/24"}
    lanes = ["cpu", "visualize"]
    await here.beat("render-2", status="in_progress", lanes=lanes, hardware=calm, capabilities=PROVED, **part)
    await here.beat("render-3", status="paused", problem="outside its active hours 22:00-06:00", hardware=calm)
    attempt = await here.run("running", title=title)
    await here.repository.store_log(attempt, zlib.compress(b"[0.0 s] $ ffmpeg -i file:film.mkv -c:v libx264 out.mp4\n"))
    await here.divide("divided", TOUR, 24)
    await here.submit("waits", "The long way home", lane="nvenc", priority="high")
    await here.submit("next", "Harbour at dawn")
    again = await here.claim("again", "Rain on the roof")
    await here.repository.retry_later(again, Failure("ffmpeg exited 1", "ToolFailed", "render-2", 1), 112)
    await here.die("dead", "film.mkv is no media: Invalid data found", "Broken reel")
    for number, title in enumerate(("Mountain", "City at night", "The sea"), 1):
        film = here.folder / "out" / f"{number}.mp4"
        source = f"testsrc2=s=320x180:r=25:d=1,hue=h={number * 90}"
        poster = film.with_suffix(".jpg")
        picture = ("-frames:v", "1", "-update", "1", str(poster))
        argv = ("ffmpeg", "-v", "error", "-f", "lavfi", "-i", source, "-pix_fmt", "yuv420p", str(film), *picture)
        await asyncio.to_thread(subprocess.run, argv, check=True)
        await here.complete(f"result-{number}", film, poster, title=title)
    await fill_intake(here)


async def fill_intake(here: Site) -> None:
    """Make the rows of what makes jobs by itself, and a scan that has ended."""
    control, stores = here.services.control, here.services.control.stores
    (here.folder / "nas" / "inbox").mkdir()
    inbox = {"place": "nas://inbox", "template": "web-mp4", "include": ["*.mkv", "*.mov"]}
    await put_folder(control, here.services.folder_files, "inbox", inbox)
    nightly = {"cron": "30 3 * * *", "zone": "Europe/Berlin", "template": "web-mp4", "sources": ["nas://in/**"]}
    await put_schedule(control, "nightly", nightly)
    await put_hook(control, "history", {"kind": "github", "template": "gource-1080p", "secret": "of a picture " * 3})
    await put_option_set(control, "ffmpeg", "archive", {"codec": "libx265", "crf": 22})
    broken = {"source": "nas://films/reel-7.mkv", "verdict": "broken", "bytes": 7 << 20, "reasons": ["no moov atom"]}
    verdicts = {"broken": {"files": 1, "bytes": 7 << 20}, "does not conform": {"files": 3, "bytes": 9 << 30}}
    numbers = {"files": 41, "media": 40, "bytes": 31 << 30, "verdicts": verdicts}
    predicted = {"share": 0.55, "jobs": 3, "bytes": 5 << 30}
    saved = {"jobs": 3, "source_bytes": 9 << 30, "made_bytes": 4 << 30}
    await stores.add_scan("library", {"template": "h265-archive", "source": "nas://films"}, 9)
    await stores.claim_scan("one", 30.0)
    await stores.renew_scan("library", "one", 30.0, numbers)
    result = numbers | {"shown": [broken], "predicted": predicted, "saved": saved, "submitted": None}
    await stores.finish_scan("library", "one", result, None, 9)


async def main(target: Path) -> None:
    """Write the pictures."""
    with tempfile.TemporaryDirectory(prefix="leveret-screens-") as name:
        folder = Path(name)
        async with site(folder) as here:
            await fill(here)
        services = LocalServices(folder / "services")
        services.up()
        try:
            environment = {key: value for key, value in os.environ.items() if not key.startswith("WORKER_")} | {
                **services.environment("rabbitmq"),
                "PYTHONPATH": str(ROOT), "WORKER_DATABASE_URL": f"sqlite:///{folder / 'jobs.db'}",
                "WORKER_NAS_ROOT": str(folder / "nas"), "WORKER_STORAGE_URL": f"file://{folder / 'out'}/",
                "WORKER_HEARTBEAT_SECONDS": "3000",
            }  # fmt: skip
            list(provision(ProvisionSettings.read(environment)))
            await draw(environment, folder, target)
        finally:
            services.down(purge=True)


async def draw(environment: dict[str, str], folder: Path, target: Path) -> None:
    """Write the pictures of a server with this environment."""
    with serving(environment, folder, free_port(frozenset())) as server:
        for tail, (width, height, scheme) in VIEWS.items():
            size = {"width": width, "height": height}
            async with browsing(viewport=size, color_scheme=scheme) as browser:
                page = await browser.new_page()
                for screen, path in SCREENS.items():
                    await page.goto(server.address + path)
                    await page.wait_for_function(DRAWN)
                    await page.wait_for_timeout(500)
                    await page.screenshot(path=target / f"{screen}{tail}.png")


if __name__ == "__main__":
    FOLDER = Path(sys.argv[1]) if sys.argv[1:] else ROOT / "docs" / "screens"
    FOLDER.mkdir(parents=True, exist_ok=True)
    asyncio.run(main(FOLDER))
