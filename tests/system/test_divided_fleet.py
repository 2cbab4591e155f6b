"""A film by two worker processes on the real broker, each killed once in the middle."""

from __future__ import annotations

import asyncio
from functools import partial

from tests.support.fleet import BEAT, RETRY, Fleet, is_count, until, value_of
from tests.support.media import clip
from tests.support.parts import packets

FRAMES = 400


async def test_workers_that_are_killed_repeat_only_the_parts_that_ran(alone: Fleet):
    fleet = alone
    source = clip(fleet.storage / "long.mkv", picture="s=320x180:r=25", seconds=FRAMES / 25, extra=("-g", "25"))
    # One part may be what both workers are killed at: it has an attempt more than the fleet's usual two.
    settings = {
        "WORKER_LEASE_SECONDS": "6",
        "WORKER_PUBLISH_LEASE_SECONDS": "6",
        "WORKER_RETRY_DELAYS": f"{RETRY},{RETRY}",
    }
    for name in ("one", "two"):
        await fleet.start(name, **settings)
    video = {"codec": "libx264", "preset": "veryslow", "crf": 20, "threads": 1}
    job_id = await fleet.publish(
        sources=[str(source)],
        source_maps=[{"specifier": "v"}, {"specifier": "a"}],
        output_maps=[{"specifier": "v", "options": video}, {"specifier": "a", "options": {"codec": "aac"}}],
        output_file="film.mp4",
        parts={"seconds": 2},
    )
    for count, name in enumerate(("one", "two"), 2):
        await until(partial(_made, fleet, job_id, count), 120, "parts")
        fleet.processes[name].kill()
        await asyncio.to_thread(fleet.processes[name].wait)
        await fleet.start(name, **settings)
    record = await fleet.job(job_id, "completed", "dead", seconds=240)
    assert record.state == "completed", record.error
    assert len(packets(fleet.storage / job_id / "film.mp4")) == FRAMES
    attempts = [a for part in record.parts for a in (await fleet.rows.job(part.job_id)).attempts]
    assert len(attempts) <= len(record.parts) + 2, "more was repeated than the two parts that ran"
    await until(lambda: value_of(not [p for p in fleet.storage.rglob("*") if ".parts" in p.parts]), 70, "no parts left")
    await until(lambda: is_count(fleet.waiting, 0), 30 * BEAT, "settled")


async def _made(fleet: Fleet, job_id: str, count: int) -> bool:
    record = await fleet.rows.job(job_id)
    return record is not None and sum(part.state == "completed" for part in record.parts) >= count
