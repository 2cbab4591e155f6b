"""What the doctor makes of what it is told."""

from __future__ import annotations

import os
from types import SimpleNamespace

import pytest

from worker.adapters import checks
from worker.core.ports import DatabaseFacts


class Database:
    """Answers as a database with these facts would."""

    def __init__(self, product="postgresql", version=(15, 4), ahead=0.0) -> None:
        self._facts = DatabaseFacts(product, version, ahead)
        self.closed = False

    async def check(self):
        return

    async def facts(self):
        return self._facts

    async def close(self):
        self.closed = True


class Broker:
    def __init__(self, version) -> None:
        self.version = version

    def __enter__(self):
        return self

    def __exit__(self, *_):
        return


@pytest.mark.parametrize(
    ("ahead", "status", "word"), [(0.4, "ok", "0.4 s behind"), (-3, "warning", "3.0 s ahead of"), (900, "error", "NTP")]
)
async def test_a_clock_that_is_off_is_told(ahead, status, word):
    database = Database(ahead=ahead)
    found = await checks.clock(database)
    assert found.status == status
    assert word in f"{found.fact} {found.advice}"
    assert database.closed


@pytest.mark.parametrize(
    ("product", "version", "status"),
    [("postgresql", (15, 4), "ok"), ("postgresql", (12, 9), "warning"), ("sqlite", (3, 40, 1), "ok"),
     ("sqlite", (3, 34), "warning")],
)  # fmt: skip
async def test_an_old_database_is_told(product, version, status):
    assert (await checks.database(Database(product, version))).status == status


@pytest.mark.parametrize(
    ("version", "seconds", "status"),
    [((3, 10, 8), 86400, "warning"), ((3, 10, 8), 1200, "ok"), ((3, 8, 9), 86400, "ok"), ((), 86400, "warning")],
)
async def test_a_consumer_time_out_that_nobody_knows_is_no_good_news(version, seconds, status):
    found = await checks.patience(Broker(version), seconds)
    assert found.status == status
    if status == "warning":
        assert "unknown" in found.fact
        assert "consumer_timeout = 86400000" in found.advice


async def test_a_root_tells_its_mount_and_its_space_and_a_missing_one_is_an_error(tmp_path, monkeypatch):
    found = await checks.folder(tmp_path)
    assert found.status in {"ok", "warning"}
    assert "GiB free" in found.fact
    assert "mounted at /" in found.fact
    assert (await checks.folder(tmp_path / "none")).status == "error"
    monkeypatch.setattr(os, "access", lambda _path, mode: not mode & os.W_OK)
    assert "read-only for us" in (await checks.folder(tmp_path)).fact
    monkeypatch.setattr(os, "access", lambda _path, _mode: False)
    assert (await checks.folder(tmp_path)).status == "error"
    monkeypatch.undo()
    usage = SimpleNamespace(free=1 << 20)
    monkeypatch.setattr(checks.shutil, "disk_usage", lambda _path: usage)
    assert (await checks.folder(tmp_path)).status == "warning"
