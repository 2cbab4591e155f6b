"""What is looked at before a job is taken: room, programs, storages."""

from __future__ import annotations

import pytest

from worker.adapters.storage.nas import NasStorage
from worker.app.places import preflight, storages
from worker.core.errors import DiskFull, MountMissing, ToolMissing
from worker.engine.host.scratch import Scratch
from worker.engine.storages import Storages
from worker.settings import Settings


@pytest.fixture
def host(tmp_path):
    """A NAS, a scratch and a program."""
    (tmp_path / "nas").mkdir()
    tool = tmp_path / "ffmpeg"
    tool.write_text("#!/bin/sh\n")
    tool.chmod(0o755)
    storages = Storages.of((NasStorage(tmp_path / "nas", (tmp_path / "nas",)),))
    return tmp_path, storages, {"ffmpeg": str(tool)}


async def test_a_program_that_goes_after_the_start_stops_the_taking_until_it_is_back(host):
    folder, storages, programs = host
    check = preflight(storages, Scratch(folder / "scratch"), programs)
    await check()
    (folder / "ffmpeg").rename(folder / "away")
    with pytest.raises(ToolMissing, match="is gone since this worker started"):
        await check()
    (folder / "away").rename(folder / "ffmpeg")
    (folder / "ffmpeg").chmod(0o644)
    with pytest.raises(ToolMissing):
        await check()
    (folder / "ffmpeg").chmod(0o755)
    await check()


async def test_a_mount_that_goes_and_a_scratch_that_is_full_stop_it_too(host):
    folder, storages, programs = host
    check = preflight(storages, Scratch(folder / "scratch"), programs)
    await check()
    (folder / "nas").rename(folder / "unmounted")
    with pytest.raises(MountMissing):
        await check()
    (folder / "unmounted").rename(folder / "nas")
    await check()
    with pytest.raises(DiskFull):
        await preflight(storages, Scratch(folder / "scratch", 1 << 60), programs)()


async def test_a_folder_that_is_missing_is_reported_with_the_setting_that_names_it(tmp_path, monkeypatch):
    for name in ("WORKER_ROOTS", "WORKER_STORAGE_URL", "WORKER_NAS_ROOT"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path / "data"))
    cases = (
        ({}, "data/leveret/storage", "WORKER_STORAGE_URL (its default)"),
        ({"storage_url": f"file://{tmp_path}/out"}, "out", "WORKER_STORAGE_URL"),
        ({"nas_root": tmp_path / "nas", "storage_url": "nas://library"}, "nas", "WORKER_NAS_ROOT"),
        ({"roots": (f"{tmp_path}/in",), "storage_url": f"file://{tmp_path}"}, "in", "WORKER_ROOTS"),
    )
    for stated, folder, setting in cases:
        with pytest.raises(MountMissing) as caught:
            await storages(Settings(_env_file=None, **stated)).check()
        assert str(caught.value) == f"{tmp_path}/{folder} is not there: mount it, make it, or correct {setting}"
