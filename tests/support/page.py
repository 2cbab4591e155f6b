"""The page as a person meets it: a server, and tabs of a real Chromium."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import subprocess
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING

import httpx
import uvicorn
from playwright.async_api import async_playwright

from infra import assets

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator

    from playwright.async_api import BrowserContext

    from tests.support.web import Site

CHROMIUM = "/usr/bin/chromium"
FLAGS = [
    "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking",
    "--disable-component-update", "--disable-sync", "--mute-audio", "--autoplay-policy=no-user-gesture-required",
    "--disable-background-timer-throttling", "--disable-renderer-backgrounding", "--disable-background-media-suspend",
]  # fmt: skip
START_SECONDS = 60.0


class Server:
    """`leveret serve` as a process, which may be ended and started again on the same port."""

    def __init__(self, environment: dict[str, str], folder: Path, port: int) -> None:
        self.address = f"http://127.0.0.1:{port}"
        self._environment = environment | {"WORKER_SERVE_ADDRESS": f"127.0.0.1:{port}"}
        self._folder = folder
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        """Return once it answers."""
        with (self._folder / "page.log").open("ab") as log:
            argv = (sys.executable, "-m", "worker", "serve")
            self._process = subprocess.Popen(argv, cwd=self._folder, env=self._environment, stdout=log, stderr=log)
        deadline = time.monotonic() + START_SECONDS
        while True:
            with contextlib.suppress(httpx.HTTPError):
                if httpx.get(f"{self.address}/healthz", timeout=2).status_code == 200:
                    return
            assert self._process.poll() is None, (self._folder / "page.log").read_text()[-3000:]
            assert time.monotonic() < deadline, "the server did not answer"
            time.sleep(0.1)

    def kill(self) -> None:
        """End it as a crash would."""
        if self._process is not None:
            self._process.kill()
            self._process.wait(10)
            self._process = None

    def end(self) -> int:
        """Return its exit code after SIGTERM."""
        assert self._process is not None
        self._process.terminate()
        code = self._process.wait(20)
        self._process = None
        return code


@contextlib.contextmanager
def serving(environment: dict[str, str], folder: Path, port: int) -> Iterator[Server]:
    """Yield a server that runs, and does so no more afterwards."""
    server = Server(environment, folder, port)
    server.start()
    try:
        yield server
    finally:
        server.kill()


@contextlib.asynccontextmanager
async def answering(here: Site) -> AsyncIterator[str]:
    """Serve a site of rows in this process, and yield its address."""
    assets.fetch()
    configuration = uvicorn.Config(here.application, port=0, ws="none", lifespan="off", log_config=None)
    server = uvicorn.Server(configuration)
    answers = asyncio.create_task(server.serve())
    while not server.started:
        assert not answers.done()
        await asyncio.sleep(0.01)
    try:
        yield f"http://127.0.0.1:{server.servers[0].sockets[0].getsockname()[1]}"
    finally:
        here.services.pulse.stop()
        server.should_exit = True
        await answers


@contextlib.asynccontextmanager
async def browsing(**options: object) -> AsyncIterator[BrowserContext]:
    """Yield a fresh profile of Chromium."""
    async with async_playwright() as playwright:
        browser = await playwright.chromium.launch(executable_path=CHROMIUM, args=FLAGS)
        try:
            yield await browser.new_context(**options)
        finally:
            await browser.close()


def axe_script() -> str:
    """Return axe-core, which npm fetches once a machine."""
    cache = Path(os.environ.get("XDG_CACHE_HOME", Path.home() / ".cache")) / "leveret-tests" / "axe"
    script = cache / "node_modules" / "axe-core" / "axe.min.js"
    if not script.is_file():
        cache.mkdir(parents=True, exist_ok=True)
        argv = ("npm", "install", "--no-audit", "--no-fund", "--ignore-scripts", "--silent", "--prefix", str(cache))
        subprocess.run((*argv, "axe-core@4"), check=True, timeout=240, capture_output=True)
    return script.read_text()


def message(source: str, **data: object) -> str:
    """Return a message that makes HLS of a source."""
    rendition = {"resolution": "180p", "bitrate": "200k"}
    task = {"module": "hls", "data": {"source": source, "renditions": [rendition]} | data}
    return json.dumps({"job_title": "A film by form", "tasks": [task]})
