"""Parts of remote sources that fetch only the bytes that they need: the same parts, and the whole where in doubt."""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from tests.support.media import NAMES, clip, ffmpeg
from tests.support.parts import X264
from worker.adapters.host import bundled_tools, find_tools
from worker.core.job import TaskSpec
from worker.core.parts import Fleet, Plan
from worker.core.spans import total
from worker.core.task import Excerpt
from worker.media.parts import excerpt as rules
from worker.process.runner import ProcessRunner
from worker.registry import Registry
from worker.tasks.ffmpeg import FfmpegTask
from worker.tasks.hls import HlsTask
from worker.testing import TaskBench

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from worker.core.spans import Span

SECONDS = 20
PARTS = 10
Damage = Callable[[Path, "tuple[Span, ...]"], None]


class RemoteBench(TaskBench):
    """A bench whose files count as remote: an excerpt has the spans that are asked for, and holes."""

    def __init__(self, folder: Path, damage: Damage | None = None) -> None:
        tools = find_tools(dict.fromkeys(NAMES), bundled_tools())
        super().__init__(folder, ProcessRunner(dict(os.environ)), tools=tools)
        self.excerpts: list[int] = []
        self.inputs = 0
        self._damage = damage
        self._local = self.input
        self.input, self.version, self.excerpt = self._whole, self._size, self._sparse
        self.is_remote = lambda location: True

    async def _whole(self, location: str) -> Path:
        self.inputs += 1
        return await self._local(location)

    async def _size(self, location: str) -> str:
        return str((await self._local(location)).stat().st_size)

    async def _sparse(self, location: str, size: int, spans: Sequence[Span]) -> Excerpt | None:
        source = await self._local(location)
        assert size == source.stat().st_size
        path = self.scratch(f"excerpt-{len(self.excerpts)}/{source.name}")
        with source.open("rb") as whole, path.open("wb") as sparse:
            sparse.truncate(size)
            for first, last in spans:
                whole.seek(first)
                sparse.seek(first)
                sparse.write(whole.read(last - first))
        if self._damage:
            self._damage(path, tuple(spans))
        self.excerpts.append(total(spans))
        return Excerpt(path, total(spans))


@pytest.fixture(autouse=True)
def _small(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let a head and a margin be as small as a film of a test is."""
    monkeypatch.setattr(rules, "HEAD_BYTES", 300_000)
    monkeypatch.setattr(rules, "MARGIN_BYTES", 4096)


@pytest.fixture(scope="module")
def films(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A film of noise, so that it has bytes, in containers that have an index in other places."""
    folder = tmp_path_factory.mktemp("films")
    noise = ("-vf", "noise=alls=60:allf=t", "-c:v", "libx264", "-preset", "ultrafast", "-qp", "12", "-g", "12")
    clip(folder / "film.mkv", picture="s=160x90:r=25", seconds=SECONDS, extra=(*noise, "-bf", "2"))
    for name, options in (("film.mp4", ()), ("fast.mp4", ("-movflags", "+faststart")), ("film.ts", ())):
        ffmpeg("-i", str(folder / "film.mkv"), "-map", "0", "-c", "copy", *options, str(folder / name))
    return folder


async def planned(folder: Path, films: Path, name: str, damage: Damage | None = None):
    bench, task = RemoteBench(folder, damage), FfmpegTask()
    (bench.root / name).hardlink_to(films / name)
    data = {
        "sources": [f"nas://{name}"],
        "source_maps": [{"specifier": "v"}, {"specifier": "a"}],
        "output_maps": [{"specifier": "v", "options": X264}, {"specifier": "a", "options": {"codec": "aac"}}],
        "output_file": "out.mp4",
        "parts": {"seconds": SECONDS / PARTS},
    }
    _, params = Registry({"ffmpeg": task}).parse(TaskSpec("ffmpeg", data, ""))
    params = await task.prepare(params, bench)
    plan = await task.plan(params, 0, Fleet(workers=2), bench)
    assert isinstance(plan, Plan), plan
    return bench, task, params, Plan.of(plan.document())


async def made(bench: RemoteBench, task: FfmpegTask, params, plan: Plan, index: int) -> bytes:
    part = plan.parts[index]
    await task.run_part(params, plan, part, bench)
    return bench.result.outputs[part.file].path.read_bytes()


@pytest.mark.parametrize("name", ["film.mkv", "film.mp4", "fast.mp4"])
async def test_parts_of_an_excerpt_are_those_of_the_whole_source(tmp_path: Path, films: Path, name: str) -> None:
    bench, task, params, plan = await planned(tmp_path, films, name)
    size = (films / name).stat().st_size
    for index in (0, 5, PARTS - 1):
        bench.inputs = 0
        ours = await made(bench, task, params, plan, index)
        assert bench.inputs == 0, bench.result.facts["source"]
        assert bench.result.facts["source"] == {"fetched": bench.excerpts[-1], "of": size}
        assert bench.excerpts[-1] < size / 2
        bare = Plan.of(plan.document() | {"details": {k: v for k, v in plan.details.items() if k != "index"}})
        assert await made(bench, task, params, bare, index) == ours
        assert bench.inputs == 1


@pytest.fixture
def _one_core() -> Iterator[None]:
    """Let programs see one core: x264 with a bounded bit rate makes other bytes at each run on several threads."""
    cores = os.sched_getaffinity(0)
    os.sched_setaffinity(0, {min(cores)})
    yield
    os.sched_setaffinity(0, cores)


@pytest.mark.usefixtures("_one_core")
async def test_a_part_of_a_presentation_is_made_of_an_excerpt_too(tmp_path: Path, films: Path) -> None:
    bench, task = RemoteBench(tmp_path), HlsTask()
    (bench.root / "film.mkv").hardlink_to(films / "film.mkv")
    data = {"source": "nas://film.mkv", "renditions": [{"height": 64}], "segment_time": 2, "parts": {"seconds": 2}}
    _, params = Registry({"hls": task}).parse(TaskSpec("hls", data, ""))
    params = await task.prepare(params, bench)
    plan = await task.plan(params, 0, Fleet(workers=2), bench)
    assert isinstance(plan, Plan), plan
    part, bench.inputs = plan.parts[4], 0
    await task.run_part(params, plan, part, bench)
    assert bench.inputs == 0
    assert "left" not in bench.result.facts["source"]
    ours = bench.result.outputs[part.file].path.read_bytes()
    bare = {key: value for key, value in plan.details.items() if key != "index"}
    await task.run_part(params, replace(plan, details=bare), part, bench)
    assert bench.inputs > 0
    assert bench.result.outputs[part.file].path.read_bytes() == ours


async def test_a_container_that_is_searched_for_a_time_is_fetched_whole(tmp_path: Path, films: Path) -> None:
    bench, task, params, plan = await planned(tmp_path, films, "film.ts")
    assert "index" not in plan.details
    assert await made(bench, task, params, plan, 5)
    assert not bench.excerpts


def _hole(path: Path, spans: tuple[Span, ...]) -> None:
    """Leave out half of what the part has of its own."""
    first, last = max(spans[1:] or spans, key=lambda span: span[1] - span[0])
    with path.open("r+b") as sparse:
        sparse.seek((first + last) // 2)
        sparse.write(bytes((last - first) // 4))


def _other_version(path: Path, spans: tuple[Span, ...]) -> None:
    """Change a byte in the middle of what the part has of its own."""
    first, last = max(spans[1:] or spans, key=lambda span: span[1] - span[0])
    with path.open("r+b") as sparse:
        sparse.seek((first + last) // 2)
        (byte,) = sparse.read(1)
        sparse.seek(-1, os.SEEK_CUR)
        sparse.write(bytes([byte ^ 0xFF]))


def _empty(path: Path, spans: tuple[Span, ...]) -> None:
    """Leave nothing but holes."""
    del spans
    size = path.stat().st_size
    path.write_bytes(b"")
    os.truncate(path, size)


@pytest.mark.parametrize("damage", [_hole, _other_version, _empty])
async def test_an_excerpt_that_is_not_what_was_planned_is_left_for_the_whole_source(
    tmp_path: Path, films: Path, damage: Damage
) -> None:
    bench, task, params, plan = await planned(tmp_path, films, "film.mp4", damage)
    bench.inputs = 0
    assert await made(bench, task, params, plan, 5)
    assert bench.inputs == 1
    assert bench.result.facts["source"]["left"] == "its packets are not those of the plan"


async def test_a_failure_with_a_proved_excerpt_is_tried_again_with_the_whole_source(
    tmp_path: Path, films: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("worker.tasks.shared.excerpts.is_there", lambda *_: True)
    bench, task, params, plan = await planned(tmp_path, films, "film.mp4", _empty)
    bench.inputs = 0
    assert await made(bench, task, params, plan, 5)
    assert bench.inputs == 1
    assert "left" in bench.result.facts["source"]
