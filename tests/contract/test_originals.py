"""What jobs replace or delete is kept and put back whole, on a folder and on a real S3 server, at every crash."""

from __future__ import annotations

import os

import pytest

from tests.support.storages import NasBench, S3Bench, s3_running
from worker.adapters.storage.hidden import UNDO_FOLDER
from worker.adapters.storage.nas import originals as nas_originals
from worker.adapters.storage.nas.originals import NasOriginals
from worker.adapters.storage.s3.originals import S3Originals
from worker.core.errors import LeveretError, StorageUnavailable

MARK = "0123456789ab-cdef01234567"


@pytest.fixture(scope="module")
def s3_server(tmp_path_factory):
    with s3_running(tmp_path_factory.mktemp("s3")) as server:
        yield server


@pytest.fixture(params=["nas", "s3"])
def bench(request, tmp_path):
    if request.param == "nas":
        return NasBench(tmp_path / "nas")
    return S3Bench(request.getfixturevalue("s3_server"))


@pytest.fixture
def keeper(bench):
    if isinstance(bench, NasBench):
        return NasOriginals(bench.root, (bench.root,))
    root = bench.place("x")
    folder = type(root)("s3", root.host, "/library/")
    return S3Originals((folder,), connect=lambda **_: bench.client)


async def test_a_replaced_file_is_kept_hidden_and_put_back_whole(bench, keeper):
    bench.put("film/a.mkv", b"original")
    place = bench.place("film/a.mkv")
    assert await keeper.keep(place, MARK, move=False)
    assert bench.get("film/a.mkv") == b"original"
    bench.put("film/a.new", b"new")
    if isinstance(bench, NasBench):
        (bench.root / "film/a.new").replace(bench.root / "film/a.mkv")
    else:
        bench.put("film/a.mkv", b"new")
    # Again, as after a crash between keeping and recording: what is kept stays the original.
    assert await keeper.keep(place, MARK, move=False)
    assert (await keeper.kept(place, MARK)).bytes == len(b"original")
    assert await keeper.put_back(place, MARK, replace=True)
    assert bench.get("film/a.mkv") == b"original"
    assert not [name for name in bench.names() if ".leveret" in name]
    assert not await keeper.put_back(place, MARK, replace=True)


async def test_a_deleted_file_is_moved_away_once_and_overwrites_nothing_when_it_comes_back(bench, keeper):
    bench.put("a.mkv", b"original")
    place = bench.place("a.mkv")
    assert await keeper.keep(place, MARK, move=True)
    assert bench.get("a.mkv") is None
    assert await keeper.keep(place, MARK, move=True)
    bench.put("a.mkv", b"another film")
    with pytest.raises(StorageUnavailable, match="something else"):
        await keeper.put_back(place, MARK, replace=False)
    # Neither is the newcomer taken for the original that was to be deleted.
    assert await keeper.keep(place, MARK, move=True)
    assert bench.get("a.mkv") == b"another film"
    await keeper.drop(place, MARK)
    await keeper.drop(place, MARK)
    assert await keeper.kept(place, MARK) is None


async def test_a_file_that_is_not_there_is_not_kept(bench, keeper):
    place = bench.place("nowhere/a.mkv")
    assert not await keeper.keep(place, MARK, move=True)
    assert await keeper.kept(place, MARK) is None
    with pytest.raises(LeveretError):
        await keeper.keep(bench.outside(), MARK, move=True)


async def test_a_long_name_is_kept_under_a_shorter_one(bench, keeper):
    name = "é" * 125 + ".mkv"
    bench.put(name, b"original")
    assert await keeper.keep(bench.place(name), MARK, move=True)
    assert await keeper.put_back(bench.place(name), MARK, replace=False)
    assert bench.get(name) == b"original"


@pytest.mark.parametrize("crash", ["link made", "copied in part"])
async def test_a_crash_while_a_folder_keeps_loses_nothing(tmp_path, crash, monkeypatch):
    bench = NasBench(tmp_path / "nas")
    keeper = NasOriginals(bench.root, (bench.root,))
    bench.put("a.mkv", b"original")
    undo = bench.root / UNDO_FOLDER
    undo.mkdir()
    kept = undo / f"{MARK}-a.mkv"
    if crash == "link made":
        os.link(bench.root / "a.mkv", kept)
    else:
        (undo / f"{kept.name}.part").write_bytes(b"orig")
    assert await keeper.keep(bench.place("a.mkv"), MARK, move=True)
    assert bench.get("a.mkv") is None
    assert kept.read_bytes() == b"original"


async def test_a_file_system_without_links_keeps_a_copy_with_its_times(tmp_path, monkeypatch):
    bench = NasBench(tmp_path / "nas")
    keeper = NasOriginals(bench.root, (bench.root,))
    bench.put("a.mkv", b"original")
    os.utime(bench.root / "a.mkv", ns=(1_000_000_000, 2_000_000_003))

    def refuse(*_args, **_options):
        raise PermissionError(1, "Operation not permitted")

    monkeypatch.setattr(nas_originals.os, "link", refuse)
    assert await keeper.keep(bench.place("a.mkv"), MARK, move=False)
    kept = bench.root / UNDO_FOLDER / f"{MARK}-a.mkv"
    assert (kept.read_bytes(), kept.stat().st_mtime_ns) == (b"original", 2_000_000_003)
    assert kept.stat().st_ino != (bench.root / "a.mkv").stat().st_ino
