"""A small fleet that makes one film in parts: the job, two workers over one storage, and what they leave."""

from __future__ import annotations

import asyncio
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any

from tests.support.engine import Harness
from tests.support.media import NAMES, clip
from tests.support.parts import X264
from worker.adapters.host import bundled_tools, find_tools
from worker.tasks.ffmpeg import FfmpegTask

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Sequence
    from pathlib import Path

    from worker.adapters.sql import SqlRepository

FRAMES = 150
PARTS = 4  # three ranges of two seconds, and the sound


def film(job_id: str = "film", **data: Any) -> dict[str, Any]:
    task = {
        "sources": ["source.mkv"],
        "source_maps": [{"specifier": "v"}, {"specifier": "a"}],
        "output_maps": [{"specifier": "v", "options": X264}, {"specifier": "a", "options": {"codec": "aac"}}],
        "output_file": "film.mp4",
        "parts": {"seconds": 2},
    } | data
    return {"job_id": job_id, "job_title": "The Film", "tasks": [{"module": "ffmpeg", "data": task}]}


@asynccontextmanager
async def two_workers(url: str, repository: SqlRepository, folder: Path) -> AsyncIterator[list[Harness]]:
    """Yield two workers over one storage, which has a source of six seconds."""
    tools = find_tools(dict.fromkeys(NAMES), bundled_tools())
    found = [Harness(url, repository, folder, f"tester-{n}", more_tasks=(FfmpegTask(),), tools=tools) for n in (1, 2)]
    clip(found[0].storage / "source.mkv", picture="s=160x90:r=25", seconds=6, extra=("-g", "24"))
    try:
        yield found
    finally:
        for one in found:
            await one.close()
            await one.publisher.close()


def submitted(one: Harness, job_id: str = "film", **data: Any) -> dict[str, Any]:
    return film(job_id, sources=[f"file://{one.storage}/source.mkv"], **data)


async def together(workers: Sequence[Harness], job_id: str, *states: str, seconds: float = 60) -> None:
    await asyncio.wait_for(_all(workers, job_id, states), seconds)


async def _all(workers: Sequence[Harness], job_id: str, states: Sequence[str]) -> None:
    async def work(one: Harness) -> None:
        while True:
            record = await one.repository.job(job_id)
            if record is not None and record.state in states:
                return
            delivery = await one.consumer.next(wait=False)
            if delivery is not None:
                await one.executor.execute(delivery)
            else:
                await asyncio.sleep(0.05)

    await asyncio.gather(*(work(one) for one in workers))


def result(one: Harness) -> Path:
    return one.storage / "film" / "film.mp4"


def left(one: Harness) -> list[Path]:
    return [path for path in one.storage.rglob("*") if ".parts" in path.parts]


class Killed(BaseException):
    """A worker is gone at this very step."""
