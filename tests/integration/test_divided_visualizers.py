"""A repository's film in ranges that several workers draw: the film of one, picture by picture."""

from __future__ import annotations

import re
import subprocess
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import pytest

from tests.support.visualizers import SHORT, VISUALIZER, bench_in, gource_task, made_repository
from visualizers.waveform import WaveformVisualizer
from worker.core.errors import BadInput, CannotServe, PlanBroken
from worker.core.job import TaskSpec
from worker.core.parts import Fleet, Plan, Whole
from worker.registry import Registry
from worker.tasks.visualizer import VisualizerTask
from worker.testing import NoRepositories

if TYPE_CHECKING:
    from pathlib import Path

LONG = SHORT | {"length": 7, "output": "mp4", "parts": {"seconds": 2}}


@pytest.fixture(scope="module")
def history(tmp_path_factory: pytest.TempPathFactory) -> Path:
    files = [{f"src/{name}.py": "1"} for name in "abcdefgh"]
    return made_repository(tmp_path_factory.mktemp("history") / "origin", *files)


def prepared(folder: Path, history: Path, **data: Any) -> tuple[Any, Any, Any]:
    bench, task = bench_in(folder), gource_task(history.parent)
    document = ({} if "repositories" in data else {"repo_url": f"file://{history}"}) | LONG | data
    _, params = Registry({"gource": task}).parse(TaskSpec("gource", document, ""))
    return bench, task, params


async def planned(folder: Path, history: Path, workers: int = 2, **data: Any) -> Plan | Whole:
    bench, task, params = prepared(folder / "plan", history, **data)
    return await task.plan(params, 0, Fleet(workers=workers), bench)


async def shared(folder: Path, history: Path, **data: Any) -> tuple[Plan, Path]:
    """Return a plan, and the history that it shares."""
    bench, task, params = prepared(folder / "plan", history, **data)
    plan = await task.plan(params, 0, Fleet(workers=2), bench)
    assert isinstance(plan, Plan), plan
    (part,) = plan.named("history")
    assert part.shared
    return Plan.of(plan.document()), bench.shares[part.file]


async def joined(folder: Path, history: Path, **data: Any) -> tuple[Plan, Any]:
    """Return the plan, and what was made of its parts: each drawn by a bench of its own, the last one first.

    The ranges are drawn of the shared history: they are given no repository.
    """
    plan, log = await shared(folder, history, **data)
    paths = {}
    for part in reversed(plan.parts):
        bench, task, params = prepared(folder / str(part.index), history, **data)
        if not part.shared:
            bench.shares[plan.named("history")[0].file] = log
            task = VisualizerTask(VISUALIZER, NoRepositories())
        await task.run_part(params, plan, part, bench)
        assert list(bench.result.outputs) == [part.file]
        paths[part.index] = bench.result.outputs[part.file].path
    bench, task, params = prepared(folder / "join", history, **data)
    assert await task.holds(params, plan, bench)
    await task.join(params, plan, paths, bench)
    return plan, bench.result


def likeness(one: Path, other: Path) -> list[float]:
    """Return how alike two films are, picture by picture, in decibels."""
    graph = "[0:v][1:v]psnr=stats_file=-:eof_action=endall"
    argv = ("ffmpeg", "-v", "error", "-i", str(one), "-i", str(other), "-lavfi", graph, "-f", "null", "-")
    text = subprocess.run(argv, check=True, capture_output=True, text=True).stdout
    return [99.0 if found == "inf" else float(found) for found in re.findall(r"psnr_avg:(\S+)", text)]


async def test_ranges_join_to_the_film_that_one_worker_draws_with_its_sound(tmp_path: Path, history: Path) -> None:
    """It is of two repositories."""
    second = made_repository(history.parent / "second", {"lib/y.c": "1"}, {"lib/z.c": "1"})
    both = [{"repo_url": f"file://{history}"}, {"repo_url": f"file://{second}", "folder": "libs/second"}]
    bench, task, params = prepared(tmp_path, history)
    tone = bench.root / "tone.flac"
    subprocess.run(("ffmpeg", "-v", "error", "-f", "lavfi", "-i", "sine=d=20", str(tone)), check=True)
    for index in ("plan", *map(str, range(9)), "join"):
        (tmp_path / index / "resources" / "root").mkdir(parents=True)
        (tmp_path / index / "resources" / "root" / "tone.flac").hardlink_to(tone)
    data = {"audio": "nas://tone.flac", "repositories": both}
    bench, task, params = prepared(tmp_path, history, **data)
    await task.run(params, bench)
    whole = bench.result
    assert (whole.facts["gource"]["commits"], whole.facts["gource"]["repositories"]) == (10, 2)
    plan, parts = await joined(tmp_path, history, **data)
    assert len(plan.parts) >= 3
    assert sorted(parts.outputs) != []
    (one, other) = (found.outputs["video.mp4"].path for found in (whole, parts))
    alike = likeness(one, other)
    assert len(alike) == plan.frames == whole.facts["gource"]["frames"]
    assert min(alike) > 30
    assert parts.facts == whole.facts
    assert sound(one) == sound(other)
    # another set of repositories is another film
    bench, task, params = prepared(tmp_path, history, **data | {"repositories": both[:1]})
    assert not await task.holds(params, plan, bench)


def sound(film: Path) -> str:
    argv = ("ffmpeg", "-v", "error", "-i", str(film), "-map", "0:a", "-c", "copy", "-f", "framehash", "-")
    return subprocess.run(argv, check=True, capture_output=True, text=True).stdout


async def test_a_window_and_hls_are_joined_too(tmp_path: Path, history: Path) -> None:
    window = {"first_frame": 10, "last_frame": 130, "output": "hls"}
    plan, found = await joined(tmp_path, history, **window)
    assert [(part.first, part.last) for part in plan.ranges] == [(0, 50), (50, 120)]
    assert found.manifest == "master.m3u8"
    assert found.outputs["master.m3u8"].duration == pytest.approx(120 / 25)


async def test_another_history_or_renderer_makes_no_part(tmp_path: Path, history: Path) -> None:
    plan = await planned(tmp_path, history)
    assert isinstance(plan, Plan)
    other = made_repository(tmp_path / "other" / "origin", {"a.py": "1"}, {"b.py": "2"})
    bench, task, params = prepared(tmp_path, other)
    assert not await task.holds(params, plan, bench)
    with pytest.raises(PlanBroken, match="the history is not the one that was planned"):
        await task.run_part(params, plan, plan.parts[0], bench)
    bench, task, params = prepared(tmp_path, history)
    with pytest.raises(CannotServe, match="the parts are by another"):
        await task.run_part(params, replace(plan, build="another"), plan.parts[0], bench)


async def test_a_shared_history_that_is_lost_is_made_again_and_one_that_is_damaged_is_not_drawn(
    tmp_path: Path, history: Path
) -> None:
    plan, log = await shared(tmp_path, history)
    (part,) = plan.named("history")
    bench, task, params = prepared(tmp_path / "again", history)
    await task.run_part(params, plan, part, bench)
    assert bench.result.outputs[part.file].path.read_bytes() == log.read_bytes()
    log.write_bytes(log.read_bytes()[:-20])
    bench.shares[part.file] = log
    drawn = VisualizerTask(VISUALIZER, NoRepositories())
    with pytest.raises(BadInput, match="no such repository"):
        await drawn.run_part(params, plan, plan.parts[0], bench)


@pytest.mark.parametrize(
    ("data", "workers", "reason"),
    [
        ({"parts": "auto"}, 1, "one worker makes it as soon"),
        ({"parts": "auto"}, 2, "too short for two parts"),
        ({"on_timeout": "keep"}, 2, "its time limit is that of the whole film"),
    ],
)
async def test_an_undivided_film_gives_its_reason(
    data: dict[str, Any], workers: int, reason: str, tmp_path: Path, history: Path
) -> None:
    found = await planned(tmp_path, history, workers, **data)
    assert isinstance(found, Whole)
    assert reason in found.reason


async def test_scenes_that_ffmpeg_draws_are_not_divided(tmp_path: Path) -> None:
    bench, task = bench_in(tmp_path), VisualizerTask(WaveformVisualizer(), NoRepositories())
    _, params = Registry({"waveform": task}).parse(TaskSpec("waveform", {"source": "nas://tone.flac"}, ""))
    found = await task.plan(params, 0, Fleet(workers=2), bench)
    assert found == Whole("its frames cannot be drawn in ranges here")


async def test_hosts_that_draw_alike_have_one_renderer(tmp_path: Path) -> None:
    bench = bench_in(tmp_path)
    gource_task(tmp_path)
    clock = await VISUALIZER.clock(bench)
    assert clock.library is not None, clock.reason
    assert await VISUALIZER.renderer(bench) == f"gource {clock.pixels[:16]}"
    assert len(clock.pixels) == 64
