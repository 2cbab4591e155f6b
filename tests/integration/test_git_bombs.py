"""Small repositories of endless histories: git, and the worker that reads it, stay within their memory."""

from __future__ import annotations

import asyncio
import os
import resource
import subprocess
import tracemalloc
from io import BytesIO
from typing import TYPE_CHECKING

import pytest

from tests.support.loop import LOOP_SECONDS, longest_hold, unharmed
from visualizers.gitlog import LONGEST_TOKEN, MAX_CHANGES, log_command, read_log
from worker.adapters.git import LOG_MEMORY_BYTES, GitRepositories
from worker.core.errors import BadInput
from worker.process.runner import ProcessRunner

if TYPE_CHECKING:
    from pathlib import Path

    from visualizers.gitlog import Commit

WIDTH = 10


def bomb(folder: Path, depth: int) -> Path:
    """Return a bare repository with one commit of 10^depth paths: each folder holds the next one ten times."""
    folder.mkdir()
    git(folder, "init", "-q", "--bare", "-b", "main")
    entry = "100644 blob " + git(folder, "hash-object", "-w", "--stdin", given="x")
    for _ in range(depth):
        listed = "".join(f"{entry}\tf{number}\n" for number in range(WIDTH))
        entry = "040000 tree " + git(folder, "mktree", given=listed)
    made = git(folder, "commit-tree", entry.split()[2], "-m", "m")
    git(folder, "update-ref", "refs/heads/main", made)
    return folder


def git(folder: Path, *arguments: str, given: str = "") -> str:
    who = {f"GIT_{role}_{what}": "a@b" for role in ("AUTHOR", "COMMITTER") for what in ("NAME", "EMAIL")}
    command = ("git", "--git-dir", str(folder), *arguments)
    done = subprocess.run(
        command, input=given, env={**os.environ, **who}, check=True, capture_output=True, text=True, timeout=60
    )
    return done.stdout.strip()


async def log_of(repository: Path, **bounds: int) -> Path:
    git = GitRepositories(ProcessRunner(dict(os.environ)), **bounds)
    *head, commit, end = log_command(str(repository))
    return await git.log(repository, (*head, "--output={output}", commit, end))


async def test_a_history_that_fits_no_memory_ends_git_and_not_the_host(tmp_path):
    repository = bomb(tmp_path / "bomb", 8)
    async with unharmed():
        with pytest.raises(BadInput, match="the history is too large"):
            await log_of(repository)
    assert resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss < (LOG_MEMORY_BYTES >> 10) * 3 // 2


async def test_a_log_is_bounded_while_it_is_written(tmp_path):
    with pytest.raises(BadInput, match="its log has more than 1000000 bytes"):
        await log_of(bomb(tmp_path / "bomb", 5), log_bytes=1_000_000)


async def test_the_worker_reads_a_long_log_a_piece_at_a_time(tmp_path):
    log = await log_of(bomb(tmp_path / "bomb", 5))
    stop = asyncio.Event()
    watching = asyncio.create_task(longest_hold(stop))
    tracemalloc.start()
    try:
        (commit,) = await asyncio.to_thread(read, log)
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    stop.set()
    assert len(commit.changes) == WIDTH**5
    assert peak < 1.5 * log.stat().st_size, "its commits, and not the log beside them"
    assert await watching < LOOP_SECONDS
    with pytest.raises(BadInput, match=f"more than {MAX_CHANGES} changes"):
        read(log, most=1000)


def test_a_name_without_an_end_is_refused_before_it_is_in_memory():
    log = BytesIO(b"5 Ada\0" + b"x" * (4 * LONGEST_TOKEN))
    with pytest.raises(BadInput, match="a name of more than 1048576 bytes"):
        read_log(log)
    assert log.tell() < 2 * LONGEST_TOKEN


def read(log: Path, most: int = MAX_CHANGES) -> tuple[Commit, ...]:
    with log.open("rb") as file:
        return read_log(file, most=most)
