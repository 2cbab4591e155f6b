"""A worker that is killed in the middle of fetching a source: the next fetches it, and nothing of the first is left."""

from __future__ import annotations

import asyncio
import os
import signal
import sys
from pathlib import Path

import pytest

from tests.support.http_files import Site, serving
from tests.support.storages import external
from worker.adapters.storage.web import WebSource
from worker.engine.attempt.excerpts import Excerpts
from worker.engine.attempt.sources import FOLDER, SharedSources
from worker.engine.host.scratch import Scratch

ROOT = Path(__file__).resolve().parents[2]
CONTENT = os.urandom(200_000)
SPANS = [(10_000, 20_000), (120_000, 160_000)]


async def fetch(kind: str, url: str, scratch: Path, attempt: str) -> bytes:
    """Return a source, or an excerpt of it, as an attempt fetches it."""
    web, sources = WebSource(allow_private=True, attempts=1, seconds=30), SharedSources(scratch)
    place, into = external(url), scratch / attempt / "film.mp4"
    if kind == "whole":
        return (await sources.fetched(url, "v1", into, lambda: web.fetch(place, into))).read_bytes()
    found = await web.stat(place)
    assert found is not None

    async def spans(path, lacking):
        await web.fetch_spans(place, found.version, lacking, path)

    assert await Excerpts(sources).fetched(url, "v1", len(CONTENT), SPANS, into, spans) is not None
    return into.read_bytes()


def main(kind: str, url: str, scratch: str) -> None:
    """Fetch in a process of its own, whose attempt's folder is locked as one of a worker's."""
    with Scratch(Path(scratch)).folder("film.1") as folder:
        asyncio.run(fetch(kind, url, folder.make().parent, folder.path.name))


@pytest.mark.parametrize("kind", ["whole", "excerpt"])
async def test_a_source_whose_fetching_worker_was_killed_is_fetched_by_the_next_and_nothing_is_left(tmp_path, kind):
    with serving(Site(CONTENT)) as site:
        url = f"{site.url}/film.mp4"
        # The question for the version of a source is a request too.
        site.script[:] = ["stuck"] if kind == "whole" else ["ok", "ok", "stuck"]
        environment = {**os.environ, "PYTHONPATH": str(ROOT)}
        argv = (sys.executable, __file__, kind, url, str(tmp_path))
        killed = await asyncio.create_subprocess_exec(*argv, env=environment)
        async with asyncio.timeout(60):
            while site.script or not _has_half(tmp_path, kind):
                assert killed.returncode is None
                await asyncio.sleep(0.02)
        killed.send_signal(signal.SIGKILL)
        await killed.wait()

        assert Scratch(tmp_path).sweep() == ["film.1"]
        found = await asyncio.wait_for(fetch(kind, url, tmp_path, "film.2"), 60)
    wanted = CONTENT
    if kind == "excerpt":
        wanted = bytearray(len(CONTENT))
        for first, last in SPANS:
            wanted[first:last] = CONTENT[first:last]
    assert found == wanted
    assert SharedSources(tmp_path).sweep(0.0) == 1, "one copy"
    assert sorted(path.name for path in tmp_path.iterdir()) == ["film.2"]
    assert [path.name for path in (tmp_path / "film.2").iterdir()] == ["film.mp4"]


def _has_half(scratch: Path, kind: str) -> bool:
    """Return whether bytes of the fetch that hangs are there."""
    files = [path for path in (scratch / ("film.1" if kind == "whole" else FOLDER)).rglob("*") if path.is_file()]
    if kind == "whole":
        return any(path.stat().st_size for path in files)
    return any(path.stat().st_blocks for path in files)


if __name__ == "__main__":
    main(*sys.argv[1:])
