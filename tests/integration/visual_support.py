"""Repositories, benches and short films for the tests of visualizers."""

from __future__ import annotations

import os
import subprocess
from typing import TYPE_CHECKING, Any

from infra.clock import build_clock
from visualizers.gource import GourceVisualizer
from worker.adapters.git import GitRepositories
from worker.adapters.host import bundled_tools, find_tools
from worker.process.runner import ProcessRunner
from worker.tasks.visualizer import VisualizerTask
from worker.testing import TaskBench

if TYPE_CHECKING:
    from pathlib import Path

TOOLS = find_tools(dict.fromkeys(("ffmpeg", "ffprobe", "packager", "gource", "git")), bundled_tools())
# one commit at this pace is a film of some three seconds
SHORT: dict[str, Any] = {"resolution": "256x144", "--time-scale": 4, "--output-framerate": 25, "length": 0.5}


def git(folder: Path, *arguments: str, when: int = 1_600_000_000, author: str = "Ada") -> None:
    """Run git in `folder`; the author, the time and nothing of this host's configuration."""
    stamp = f"@{when} +0000"
    own = {
        "GIT_CONFIG_GLOBAL": "/dev/null", "GIT_CONFIG_NOSYSTEM": "1", "GIT_AUTHOR_NAME": author,
        "GIT_AUTHOR_EMAIL": "a@example.org", "GIT_COMMITTER_NAME": "c", "GIT_COMMITTER_EMAIL": "c@example.org",
        "GIT_AUTHOR_DATE": stamp, "GIT_COMMITTER_DATE": stamp,
    }  # fmt: skip
    subprocess.run(("git", "-C", str(folder), *arguments), env=os.environ | own, check=True, capture_output=True)


def made_repository(folder: Path, *commits: dict[str, str]) -> Path:
    """Return `folder`, a repository with one commit an hour; an empty one without commits."""
    folder.mkdir(parents=True)
    git(folder, "init", "-q", "-b", "main")
    git(folder, "config", "uploadpack.allowFilter", "true")
    for number, files in enumerate(commits):
        for name, text in files.items():
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            (folder / name).write_text(text)
        git(folder, "add", "-A")
        git(
            folder,
            "commit",
            "-q",
            "-m",
            "m",
            when=1_600_000_000 + 3600 * number,
            author=("Ada", "Łukasz 王")[number % 2],
        )
    return folder


def gource_task(root: Path, visualizer: GourceVisualizer | None = None) -> VisualizerTask:
    """Return the task, which may clone what lies under `root`."""
    build_clock()
    repositories = GitRepositories(ProcessRunner(dict(os.environ)), file_roots=(root,))
    return VisualizerTask(visualizer or GourceVisualizer(), repositories)


def bench_in(folder: Path) -> TaskBench:
    """Return a bench with this host's tools."""
    return TaskBench(folder / "bench", ProcessRunner(dict(os.environ)), tools=TOOLS)
