"""Repositories, benches and short films for the tests of visualizers."""

from __future__ import annotations

import os
import subprocess
import uuid
from contextlib import asynccontextmanager
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from infra.clock import build_clock
from tests.support.databases import provision
from tests.support.engine import Harness
from visualizers.gource import GourceVisualizer
from visualizers.waveform import WaveformVisualizer
from worker.adapters.git import GitRepositories
from worker.adapters.host import bundled_tools, find_tools
from worker.adapters.sql import SqlRepository
from worker.engine.attempt.context import ToolLookup
from worker.engine.attempt.run import LocalProduction
from worker.engine.executor import Executor
from worker.process.runner import ProcessRunner
from worker.process.watch import ATTEMPT, marked
from worker.tasks.visualizer import VisualizerTask
from worker.testing import NoRepositories, TaskBench

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

TOOLS = find_tools(dict.fromkeys(("ffmpeg", "ffprobe", "packager", "gource", "git")), bundled_tools())
# one for all tests of a process: it proves its clock once, in some seconds; two draw what lasts, on any host
VISUALIZER = GourceVisualizer(cores=2)
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


def gource_task(root: Path, visualizer: GourceVisualizer | None = None, **options: Any) -> VisualizerTask:
    """Return the task, which may clone what lies under `root`; `options` are of its git."""
    build_clock()
    repositories = GitRepositories(ProcessRunner(dict(os.environ)), file_roots=(root,), **options)
    return VisualizerTask(visualizer or VISUALIZER, repositories)


def bench_in(folder: Path) -> TaskBench:
    """Return a resources with this host's tools."""
    return TaskBench(folder / "resources", ProcessRunner(dict(os.environ)), tools=TOOLS)


@asynccontextmanager
async def gource_harness(
    url: str, folder: Path, root: Path, *, git_options: dict[str, Any] | None = None, **changes: Any
) -> AsyncIterator[Harness]:
    """Yield a worker's engine whose visualizers may clone what lies under `root`; `changes` are of its resources."""
    repository = SqlRepository(provision(folder / "jobs.db"))
    tasks = (gource_task(root, **git_options or {}), VisualizerTask(WaveformVisualizer(), NoRepositories()))
    harness = Harness(url, repository, folder, lanes=("visualize", "cpu"), tools=TOOLS, more_tasks=tasks)
    harness.resources = replace(harness.resources, **changes)
    harness.executor = Executor(
        harness.resources,
        harness.policy,
        LocalProduction(harness.resources),
        worker_id=harness.worker_id,
        lanes=harness.lanes,
        lease_seconds=harness.lease_seconds,
    )
    # as a worker does at its start
    lookup = ToolLookup(harness.repository, harness.resources.runner, harness.resources.tools)
    await tasks[0].rehearse(lookup)
    try:
        yield harness
    finally:
        await harness.close()
        await repository.close()


def message(history: Path, **options: Any) -> dict[str, Any]:
    """Return a message of the gource dialect."""
    return {"type": "gource", "repoURL": f"file://{history}", "videoId": str(uuid.uuid4()), "gource": SHORT | options}


def frames_of(film: Path) -> int:
    """Return how many pictures a film or a playlist has."""
    question = ("ffprobe", "-v", "error", "-count_packets", "-select_streams", "v:0", "-show_entries")
    result = subprocess.run(
        (*question, "stream=nb_read_packets", "-of", "csv=p=0", film), capture_output=True, text=True, check=True
    )
    return int(result.stdout.split()[0].strip(","))


def published(harness: Harness) -> list[Path]:
    """Return the files that stand where readers look."""
    return [path for path in harness.storage.rglob("*") if path.is_file()]


def left_of(folder: Path) -> list[int]:
    """Return the processes that still run of attempts whose scratch lies in `folder`."""
    return [pid for pid, label in marked(ATTEMPT) if label.startswith(f"{folder}/")]
