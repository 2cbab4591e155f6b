"""Folders of attempts: locked while they live, swept when nobody holds them."""

from __future__ import annotations

import asyncio
import errno
import fcntl
import os
import shutil
import subprocess
import sys
from contextlib import contextmanager
from pathlib import Path
from types import SimpleNamespace

import pytest

from worker.core.errors import DiskFull, MountMissing, ToolFailed
from worker.engine.host.scratch import Scratch

HOLD = """
import sys
from pathlib import Path
from worker.engine.host.scratch import Scratch
with Scratch(Path(sys.argv[1])).folder("job.1") as folder:
    folder.make()
    print("held", flush=True)
    sys.stdin.read()
"""


@contextmanager
def held(scratch, name="job.1"):
    """Yield a folder of an attempt that is used."""
    with scratch.folder(name) as folder:
        yield folder.make()


def open_files():
    return len(list(Path("/proc/self/fd").iterdir()))


def test_a_folder_that_nobody_uses_is_never_made(tmp_path):
    with Scratch(tmp_path / "scratch").folder("job.1") as folder:
        asyncio.run(folder.remove())
    assert not (tmp_path / "scratch").exists()


def test_a_folder_that_cannot_be_made_is_reported_where_it_is_used_and_nothing_stays_open(tmp_path):
    (tmp_path / "file").write_text("")
    before = open_files()
    with (
        Scratch(tmp_path / "file").folder("job.1") as folder,
        pytest.raises(MountMissing, match=f"scratch {tmp_path / 'file'} cannot be used"),
    ):
        folder.make()
    assert open_files() == before


def test_a_folder_is_removed_with_what_is_in_it_and_unlocked(tmp_path):
    scratch = Scratch(tmp_path)
    with scratch.folder("job.1") as folder:
        (folder.make() / "film.mkv").write_text("x")
        assert folder.make() == tmp_path / "job.1"
        asyncio.run(folder.remove())
    (tmp_path / "job.1").mkdir()
    assert scratch.unheld() == ["job.1"]


def test_a_folder_in_use_by_another_process_is_left_alone_and_a_killed_one_is_swept(tmp_path):
    with subprocess.Popen(
        [sys.executable, "-c", HOLD, str(tmp_path)], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as other:
        assert other.stdout.readline() == b"held\n"
        scratch = Scratch(tmp_path)
        assert scratch.is_live(str(tmp_path / "job.1"))
        assert scratch.sweep() == []
        other.kill()
        other.wait()
        assert not scratch.is_live(str(tmp_path / "job.1"))
        assert scratch.sweep() == ["job.1"]
    assert not (tmp_path / "job.1").exists()


def test_kept_folders_and_foreign_names_are_not_swept(tmp_path):
    for name in ("job.1", "job.2", "workers", "notes.txt", ".hidden.3"):
        (tmp_path / name).mkdir()
    assert Scratch(tmp_path).sweep({"job.1"}) == ["job.2"]


def test_a_link_out_of_scratch_is_not_followed(tmp_path):
    outside = tmp_path / "outside"
    outside.mkdir()
    (outside / "precious").write_text("x")
    root = tmp_path / "scratch"
    root.mkdir()
    (root / "job.1").symlink_to(outside)
    Scratch(root).sweep()
    assert (outside / "precious").read_text() == "x"


def test_a_folder_is_locked_while_it_is_swept(tmp_path, monkeypatch):
    scratch, rmtree, held = Scratch(tmp_path), shutil.rmtree, []

    def removing(path, **options):
        held.append(scratch.is_live(str(path)))
        rmtree(path, **options)

    monkeypatch.setattr(shutil, "rmtree", removing)
    (tmp_path / "job.1").mkdir()
    assert scratch.sweep() == ["job.1"]
    assert held == [True]
    assert scratch.unheld() == []


def test_a_folder_that_a_cleaner_took_before_it_was_locked_is_made_anew(tmp_path, monkeypatch):
    flock, taken = fcntl.flock, []

    def late(descriptor, operation):
        if not taken:
            taken.append((tmp_path / "job.1").rmdir())
        flock(descriptor, operation)

    monkeypatch.setattr(fcntl, "flock", late)
    scratch = Scratch(tmp_path)
    with held(scratch) as folder:
        assert folder.is_dir()
        assert scratch.is_live(str(folder))
        assert scratch.sweep() == []
    assert taken


def test_processes_of_another_scratch_are_none_of_our_business(tmp_path):
    assert Scratch(tmp_path / "mine").is_live(str(tmp_path / "theirs" / "job.1"))


def test_too_little_space_says_what_to_do(tmp_path):
    with pytest.raises(DiskFull, match="WORKER_SCRATCH"):
        Scratch(tmp_path, 1 << 60).check()


def test_space_that_running_jobs_were_promised_is_not_promised_again(tmp_path, monkeypatch):
    free_space(monkeypatch, free=40 << 20)
    scratch = Scratch(tmp_path, 16 << 20)
    with held(scratch) as first, held(scratch, "other.1"):
        with pytest.raises(DiskFull, match="40 MiB free; a job needs 16 MiB beside 32 MiB for the jobs under way"):
            scratch.check()
        (first / "made").write_bytes(b"x" * (12 << 20))  # of the 40 that are free now, 20 are promised
        scratch.check()
    free_space(monkeypatch, free=16 << 20)
    scratch.check()


def test_a_scratch_that_cannot_be_made_is_reported(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(MountMissing, match="cannot be used"):
        Scratch(tmp_path / "file" / "scratch").check()


def free_space(monkeypatch, *, free):
    monkeypatch.setattr(shutil, "disk_usage", lambda _: SimpleNamespace(free=free))


async def test_a_job_whose_own_files_fill_scratch_is_stopped_and_charged(tmp_path, monkeypatch):
    free_space(monkeypatch, free=(1 << 20))
    scratch = Scratch(tmp_path, 16 << 20)
    with held(scratch) as folder:
        (folder / "endless").write_bytes(b"x" * (12 << 20))
        with pytest.raises(ToolFailed, match="filled scratch"):
            async with asyncio.timeout(10), scratch.bounded(folder):
                await asyncio.Event().wait()


async def test_a_full_disk_is_charged_only_to_whose_files_fill_it(tmp_path, monkeypatch):
    free_space(monkeypatch, free=0)
    scratch = Scratch(tmp_path, 16 << 20)
    with held(scratch) as folder:
        with pytest.raises(DiskFull):
            async with scratch.bounded(folder):
                raise DiskFull("no space")
        (folder / "endless").write_bytes(b"x" * (12 << 20))
        with pytest.raises(ToolFailed):
            async with scratch.bounded(folder):
                raise DiskFull("no space")


async def test_a_disk_that_a_neighbour_filled_and_gave_back_is_charged_to_nobody(tmp_path, monkeypatch):
    free_space(monkeypatch, free=60 << 30)
    scratch = Scratch(tmp_path, 16 << 20)
    with held(scratch) as folder:
        (folder / "modest").write_bytes(b"x" * (12 << 20))
        with pytest.raises(DiskFull):
            async with scratch.bounded(folder):
                raise OSError(errno.ENOSPC, "No space left on device")


@pytest.mark.parametrize(
    "error", [OSError(errno.EDQUOT, "Disk quota exceeded"), DiskFull("ffmpeg: film.mkv: Disk quota exceeded")]
)
async def test_a_quota_is_charged_only_to_who_took_more_than_it_was_promised(tmp_path, monkeypatch, error):
    def refuse(*_):
        raise OSError(errno.EDQUOT, "Disk quota exceeded")

    free_space(monkeypatch, free=60 << 30)
    monkeypatch.setattr(os, "posix_fallocate", refuse)
    scratch = Scratch(tmp_path, 2 << 20)
    with held(scratch) as folder:
        (folder / "modest").write_bytes(b"x" * (1 << 20))
        with pytest.raises(DiskFull):
            async with scratch.bounded(folder):
                raise error
        (folder / "endless").write_bytes(b"x" * (2 << 20))
        with pytest.raises(ToolFailed, match="3 MiB are its own and a quota grants no more"):
            async with scratch.bounded(folder):
                raise error


async def test_a_cancelled_job_is_cancelled_under_the_guard_too(tmp_path):
    scratch = Scratch(tmp_path, 1)

    async def body():
        async with scratch.bounded(tmp_path):
            await asyncio.Event().wait()

    running = asyncio.create_task(body())
    await asyncio.sleep(0)
    running.cancel()
    with pytest.raises(asyncio.CancelledError):
        await running


async def test_a_full_disk_is_believed_of_the_system_and_not_of_a_tools_words(tmp_path):
    scratch = Scratch(tmp_path, 1 << 20)
    with held(scratch) as folder:
        with pytest.raises(ToolFailed, match="the disk is not full"):
            async with scratch.bounded(folder):
                raise DiskFull("ffmpeg exited 1 after 0 s: No space left on device.mkv: moov atom")
        with pytest.raises(DiskFull):
            async with scratch.bounded(folder):
                raise DiskFull("copy") from OSError(errno.ENOSPC, "No space left on device")
