"""A film whose source, parts and outcome are in a bucket: each host fetches the source once, and no part is left."""

from __future__ import annotations

import asyncio
from collections import Counter
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import pytest

from tests.support.engine import Harness
from tests.support.media import NAMES, clip
from tests.support.parts import X264, packets
from tests.support.storages import S3Bench, s3_running
from worker.adapters.host import bundled_tools, find_tools
from worker.core.ports import Unobserved
from worker.engine.attempt.run import LocalProduction
from worker.engine.attempt.sources import SharedSources
from worker.engine.executor import Executor
from worker.engine.host.scratch import Scratch
from worker.engine.storages import Storages
from worker.media.parts import excerpt as rules
from worker.tasks.ffmpeg import FfmpegTask

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator
    from pathlib import Path

    from tests.support.engine import Broker
    from tests.support.storages import S3Server
    from worker.adapters.sql import SqlRepository

pytestmark = pytest.mark.xdist_group("s3")
FRAMES = 150


class Counted(Unobserved):
    """Counts the bytes that come in by fetches, and what happens to parts."""

    def __init__(self) -> None:
        self.fetched: list[int] = []
        self.events: Counter[str] = Counter()

    def moved(self, direction: str, scheme: str, count: int) -> None:
        del scheme
        if direction == "in":
            self.fetched.append(count)

    def parts(self, event: str, count: int) -> None:
        self.events[event] += count


@pytest.fixture(scope="module")
def s3_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[S3Server]:
    with s3_running(tmp_path_factory.mktemp("s3")) as server:
        yield server


def worker_of(
    url: str, repository: SqlRepository, folder: Path, name: str, bench: S3Bench, counted: Counted, scratch: Path
) -> Harness:
    """Return a worker whose storage is a bucket; those with one `scratch` are on one host."""
    tools = find_tools(dict.fromkeys(NAMES), bundled_tools())
    one = Harness(url, repository, folder, name, more_tasks=(FfmpegTask(),), tools=tools)
    one.resources = replace(
        one.resources,
        storages=Storages.of((bench.storage,), observer=counted),
        scratch=Scratch(scratch),
        destination=f"s3://{bench.bucket}/library/",
        observer=counted,
    )
    one.executor = Executor(
        one.resources,
        one.policy,
        LocalProduction(one.resources),
        worker_id=name,
        lanes=one.lanes,
        lease_seconds=one.lease_seconds,
    )
    return one


@pytest.fixture
async def host(
    provisioned_broker: str, broker: Broker, repository: SqlRepository, s3_server: S3Server, tmp_path: Path
) -> AsyncIterator[tuple[S3Bench, Counted, list[Harness]]]:
    """Two workers of one host."""
    del broker
    bench, counted = S3Bench(s3_server), Counted()
    workers = [
        worker_of(provisioned_broker, repository, tmp_path, name, bench, counted, tmp_path / "scratch")
        for name in ("tester-1", "tester-2")
    ]
    yield bench, counted, workers
    for one in workers:
        await one.close()
        await one.publisher.close()


def job_of(bench: S3Bench) -> dict[str, Any]:
    task = {
        "sources": [f"s3://{bench.bucket}/library/film.mkv"],
        "source_maps": [{"specifier": "v"}, {"specifier": "a"}],
        "output_maps": [{"specifier": "v", "options": X264}, {"specifier": "a", "options": {"codec": "aac"}}],
        "output_file": "film.mp4",
        "parts": {"seconds": 2},
    }
    return {"job_id": "film", "job_title": "The Film", "tasks": [{"module": "ffmpeg", "data": task}]}


async def take(one: Harness) -> bool:
    """Return whether there was a message, which is settled then."""
    if delivery := await one.consumer.next(wait=False):
        await one.executor.execute(delivery)
    return delivery is not None


async def test_a_film_in_a_bucket_is_made_in_parts_there_and_its_source_is_fetched_once(
    host: tuple[S3Bench, Counted, list[Harness]], broker: Broker, repository: SqlRepository, tmp_path: Path
) -> None:
    bench, counted, workers = host
    source = clip(tmp_path / "film.mkv", picture="s=160x90:r=25", seconds=FRAMES / 25, extra=("-g", "24"))
    bench.put("film.mkv", source.read_bytes())
    await broker.publish(job_of(bench))

    async def work(one: Harness) -> None:
        while (record := await repository.job("film")) is None or record.state not in {"completed", "dead"}:
            if not await take(one):
                await asyncio.sleep(0.05)

    await asyncio.wait_for(asyncio.gather(*(work(one) for one in workers)), 120)
    record = await repository.job("film")
    assert record is not None
    assert record.state == "completed", record.error
    assert record.facts["parts"] == {"frames": FRAMES, "ranges": 3, "others": 1}
    assert counted.events == {"planned": 4, "made": 4, "joined": 4, "reused": 0}
    assert counted.fetched.count(len(source.read_bytes())) == 1, "the plan, four parts and the join read one copy"
    made = tmp_path / "made.mp4"
    made.write_bytes(bench.get("film/film.mp4") or b"")
    assert len(packets(made)) == FRAMES
    assert bench.names() == {"film.mkv", "film/film.mp4"}
    assert SharedSources(tmp_path / "scratch").sweep(0.0) == 1


async def test_a_host_without_the_source_fetches_only_the_bytes_of_its_parts(
    provisioned_broker: str,
    broker: Broker,
    repository: SqlRepository,
    s3_server: S3Server,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(rules, "HEAD_BYTES", 200_000)
    monkeypatch.setattr(rules, "MARGIN_BYTES", 4096)
    bench, counts = S3Bench(s3_server), {"planner": Counted(), "other": Counted()}
    planner, other = (
        worker_of(provisioned_broker, repository, tmp_path, name, bench, counted, tmp_path / name)
        for name, counted in counts.items()
    )
    noise = ("-vf", "noise=alls=60:allf=t", "-qp", "14", "-g", "12")
    source = clip(tmp_path / "film.mkv", picture="s=160x90:r=25", seconds=16, extra=noise)
    size = source.stat().st_size
    bench.put("film.mkv", source.read_bytes())
    await broker.publish(job_of(bench))
    try:
        assert await take(planner), "the plan"
        assert await take(planner), "the sound, which is given out first"
        while (record := await repository.job("film")) is None or record.state == "waiting":
            await take(other)
        while record is None or record.state not in {"completed", "dead"}:
            await take(planner)
            record = await repository.job("film")
    finally:
        for one in (planner, other):
            await one.close()
            await one.publisher.close()
    assert record.state == "completed", record.error
    # The parts of the join are fetched too.
    assert counts["planner"].fetched.count(size) == 1
    assert size not in counts["other"].fetched
    assert 0 < sum(counts["other"].fetched) <= size, "no byte comes twice, and fewer than all are needed by each part"
    made = [part for part in await repository.parts("film") if part.index < 8]
    facts = [(await repository.job(part.job_id)).facts["source"] for part in made]
    assert all(fact["of"] == size and "left" not in fact for fact in facts), facts
    assert sum(fact["fetched"] for fact in facts) == sum(counts["other"].fetched)
    out = tmp_path / "made.mp4"
    out.write_bytes(bench.get("film/film.mp4") or b"")
    assert len(packets(out)) == 400
    assert bench.names() == {"film.mkv", "film/film.mp4"}
