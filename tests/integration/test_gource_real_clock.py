"""Without a proved virtual clock films are made on the real one, and the reason is reported."""

from __future__ import annotations

import subprocess

import pytest

from infra.clock import build_clock
from tests.support.visualizers import SHORT, bench_in, frames_of, gource_task, made_repository
from visualizers.gource import GourceVisualizer
from visualizers.virtual_clock import SOURCE, build_command
from worker.core.errors import ToolMissing


async def test_without_the_virtual_clock_the_film_is_made_on_the_real_one(tmp_path):
    visualizer = GourceVisualizer(tmp_path / "none.so")
    bench = bench_in(tmp_path)
    history = made_repository(tmp_path / "origin", {"a.py": "1"})
    task = gource_task(tmp_path, visualizer)
    window = {"first_frame": 20, "last_frame": 45}
    result = await bench.run_task(task, SHORT | window | {"repo_url": f"file://{history}", "output": "mp4"})
    assert result.facts["gource"]["clock"] == "real"
    assert frames_of(result.outputs["video.mp4"].path) == 25


def library(folder, source) -> None:
    """Make a clock's library of C source."""
    (folder / "source.c").write_text(source)
    subprocess.run(build_command(folder / "clock.so", source=folder / "source.c"), check=True)


@pytest.mark.parametrize(
    ("kind", "complaint"),
    [
        ("none", "is not built here: run `python -m infra clock`"),
        ("idle", "library did not come into play"),
        ("other frames", "differ"),
    ],
)
async def test_a_clock_that_is_not_proved_is_not_used_and_the_reason_is_found_once(tmp_path, kind, complaint):
    path = tmp_path / "clock.so"
    match kind:
        case "idle":
            library(tmp_path, "int idle;")
        case "other frames":
            # every pixel is a little lighter
            library(tmp_path, SOURCE.read_text().replace("255\\n", "254\\n"))
    visualizer, bench = GourceVisualizer(path), bench_in(tmp_path)
    said = await visualizer.rehearse(bench)
    assert said.startswith("the real clock: ")
    assert complaint in said
    tried = len(bench.result.pipelines)
    assert await visualizer.rehearse(bench) == said
    assert len(bench.result.pipelines) == tried


def test_without_a_compiler_no_clock_is_built_and_that_is_reported(tmp_path, monkeypatch):
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(ToolMissing, match="no C compiler"):
        build_clock(tmp_path / "clock.so")
    assert list(tmp_path.iterdir()) == []
