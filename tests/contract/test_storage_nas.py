"""What only folders can do to us: links, special files, mounts that vanish, full disks."""

from __future__ import annotations

import errno
import os
import socket

import pytest

from tests.support.storages import Maker, NasBench, external, publish
from worker.adapters.storage.nas import NasStorage
from worker.adapters.storage.nas import files as nas_files
from worker.adapters.threads import Stop
from worker.core.errors import DiskFull, MountMissing, RefusedPath, StorageUnavailable


@pytest.fixture
def bench(tmp_path) -> NasBench:
    return NasBench(tmp_path / "nas")


@pytest.fixture
def make(tmp_path) -> Maker:
    return Maker(tmp_path / "scratch")


@pytest.fixture
def outside(tmp_path):
    folder = tmp_path / "outside"
    folder.mkdir()
    (folder / "secret.mkv").write_bytes(b"secret")
    return folder


async def test_a_source_is_read_in_place(bench, tmp_path):
    bench.put("movies/a.mkv", b"film")
    assert await bench.storage.fetch(bench.place("movies/a.mkv"), tmp_path / "x") == bench.root / "movies/a.mkv"


async def test_a_link_inside_the_roots_is_one_place_with_what_it_means(bench):
    bench.put("movies/a.mkv", b"film")
    (bench.root / "latest").symlink_to("movies")
    (bench.root / "best.mkv").symlink_to("movies/a.mkv")
    meant = bench.place("movies/a.mkv")
    assert bench.storage.admit(bench.place("latest/a.mkv"), writing=False) == meant
    assert bench.storage.admit(bench.place("best.mkv"), writing=False) == meant
    assert bench.storage.admit(external(f"{bench.root}/latest/a.mkv"), writing=False) == meant


def test_a_root_may_itself_be_a_link(tmp_path):
    (tmp_path / "disk").mkdir()
    (tmp_path / "nas").symlink_to("disk")
    storage = NasStorage(tmp_path / "nas", (tmp_path / "nas",))
    assert storage.admit(external("nas://a/b.mkv"), writing=True) == external("nas://a/b.mkv")
    assert storage.admit(external(f"{tmp_path}/disk/a/b.mkv"), writing=True) == external("nas://a/b.mkv")
    assert storage.url(external(f"{tmp_path}/nas/a/b.mkv")) == "/a/b.mkv"


@pytest.mark.parametrize(
    ("link", "target", "asked"),
    [
        ("a.mkv", "{outside}/secret.mkv", "a.mkv"),
        ("a.mkv", "../outside/secret.mkv", "a.mkv"),
        ("folder", "{outside}", "folder/secret.mkv"),
        ("folder", "{outside}", "folder/not/yet/there.mkv"),
        ("folder", "../outside", "folder/secret.mkv"),
        ("up", "..", "up/outside/secret.mkv"),
        ("up", "/", "up/etc/passwd"),
        ("proc", "/proc/self/root", "proc/etc/passwd"),
        ("fd", "/proc/self/fd", "fd/0"),
        ("dangling.mkv", "{outside}/new.mkv", "dangling.mkv"),
        ("self.mkv", "self.mkv", "self.mkv"),
        ("self", "self", "self/a.mkv"),
        ("null.mkv", "/dev/null", "null.mkv"),
        ("root", ".", "root/.leveret-x"),
    ],
)
async def test_a_link_out_of_the_roots_is_refused(bench, outside, make, tmp_path, link, target, asked):
    (bench.root / link).symlink_to(target.format(outside=outside))
    place = bench.place(asked)
    for writing in (True, False):
        with pytest.raises(RefusedPath):
            bench.storage.admit(place, writing=writing)
    for call in (bench.storage.fetch(place, tmp_path / "x"), bench.storage.stage([make(place, b"x")])):
        with pytest.raises(RefusedPath):
            await call
    assert sorted(path.name for path in outside.iterdir()) == ["secret.mkv"]


async def test_a_folder_swapped_for_a_link_after_admission_leads_nowhere(bench, outside, make, tmp_path):
    bench.put("movies/secret.mkv", b"harmless")
    place = bench.storage.admit(bench.place("movies/secret.mkv"), writing=True)
    artifact = make(place, b"new")
    await bench.storage.stage([artifact])
    (bench.root / "movies").rename(bench.root / "moved")
    (bench.root / "movies").symlink_to(outside)

    async def confirm() -> None:
        raise AssertionError("nothing may be revealed")

    for call in (
        bench.storage.fetch(place, tmp_path / "x"),
        bench.storage.stat(place),
        bench.storage.delete(place),
        bench.storage.stage([artifact]),
        bench.storage.reveal([artifact], confirm),
        bench.storage.discard([artifact]),
    ):
        with pytest.raises(RefusedPath):
            await call
    assert (outside / "secret.mkv").read_bytes() == b"secret"
    assert sorted(path.name for path in outside.iterdir()) == ["secret.mkv"]


def test_a_link_raced_in_between_two_steps_of_the_walk_is_not_followed(bench, outside):
    (bench.root / "a").mkdir()
    (bench.root / "a" / "b").symlink_to(outside)
    for made in (None, set()):
        with pytest.raises(RefusedPath, match="is a link"), nas_files.opened_folder(bench.root, ("a", "b"), made):
            pass
    (bench.root / "a" / "c.mkv").symlink_to(outside / "secret.mkv")
    with (
        nas_files.opened_folder(bench.root, ("a",)) as folder,
        pytest.raises(RefusedPath),
        nas_files.nas_errors("c.mkv"),
    ):
        nas_files.check_readable(folder, "c.mkv", "c.mkv")


def _pipe(path):
    os.mkfifo(path)


def _socket(path):
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(path))


@pytest.mark.parametrize(
    ("create", "kind"),
    [(_pipe, "named pipe"), (_socket, "socket"), (os.mkdir, "folder")],
    ids=["pipe", "socket", "dir"],
)
async def test_anything_but_a_regular_file_is_refused(bench, make, tmp_path, monkeypatch, create, kind):
    monkeypatch.chdir(bench.root)
    create("odd.mkv")
    place = bench.place("odd.mkv")
    for writing in (True, False):
        with pytest.raises(RefusedPath, match=kind):
            bench.storage.admit(place, writing=writing)
    for call in (bench.storage.fetch(place, tmp_path / "x"), bench.storage.delete(place), bench.storage.stat(place)):
        with pytest.raises(RefusedPath):
            await call
    if kind == "folder":
        with pytest.raises(RefusedPath):
            await publish(bench.storage, [make(place, b"x")])


def test_nas_means_nothing_without_a_root(tmp_path):
    with pytest.raises(RefusedPath, match="WORKER_NAS_ROOT"):
        NasStorage(None, (tmp_path,)).admit(external("nas://a.mkv"), writing=False)


def test_a_root_is_no_file_in_itself(bench):
    for place in (external("nas://"), external(str(bench.root)), external("/")):
        with pytest.raises(RefusedPath):
            bench.storage.admit(place, writing=True)


async def test_a_vanished_root_is_a_missing_mount_and_not_a_missing_source(bench, make, tmp_path):
    bench.root.rename(tmp_path / "gone")
    for call in (
        bench.storage.fetch(bench.place("a.mkv"), tmp_path / "x"),
        bench.storage.stat(bench.place("a.mkv")),
        bench.storage.stage([make(bench.place("a.mkv"), b"x")]),
        bench.storage.delete(bench.place("a.mkv")),
        bench.storage.check(),
    ):
        with pytest.raises(MountMissing, match="is not there"):
            await call
    assert not bench.root.exists()


async def test_a_mount_that_lost_its_sentinel_is_missing_until_it_is_back(tmp_path, make):
    root = tmp_path / "nas"
    root.mkdir()
    (root / ".leveret").touch()
    storage = NasStorage(root, (root,))
    artifact = make(external("nas://a.mkv"), b"x")
    await storage.check()
    (root / ".leveret").unlink()
    for call in (storage.check(), storage.stage([artifact]), storage.fetch(external("nas://a.mkv"), tmp_path / "x")):
        with pytest.raises(MountMissing, match="sentinel"):
            await call
    assert list(root.iterdir()) == []
    (root / ".leveret").touch()
    await publish(storage, [artifact])


async def test_a_root_that_comes_later_is_taken(tmp_path, make):
    storage = NasStorage(tmp_path / "late", (tmp_path / "late",))
    with pytest.raises(MountMissing, match="WORKER_NAS_ROOT"):
        await storage.check()
    (tmp_path / "late").mkdir()
    await storage.check()
    await publish(storage, [make(external("nas://a.mkv"), b"x")])


async def test_too_little_space_is_reported_before_a_job_is_taken(tmp_path):
    with pytest.raises(DiskFull, match="bytes free"):
        await NasStorage(None, (tmp_path,), destination=tmp_path, free_bytes=1 << 62).check()


async def test_a_destination_outside_the_roots_is_reported(tmp_path):
    with pytest.raises(RefusedPath):
        await NasStorage(None, (tmp_path / "a",), destination=tmp_path / "b").stat(external(f"{tmp_path}/b/x"))


@pytest.mark.parametrize(
    ("number", "kind"),
    [
        (errno.ENOSPC, DiskFull),
        (errno.EDQUOT, DiskFull),
        (errno.ELOOP, RefusedPath),
        (errno.EISDIR, RefusedPath),
        (errno.EIO, StorageUnavailable),
        (errno.ESTALE, StorageUnavailable),
        (errno.EACCES, StorageUnavailable),
        (errno.EROFS, StorageUnavailable),
    ],
)
def test_the_systems_errors_become_ours(number, kind):
    with pytest.raises(kind, match=r"nas://a\.mkv: ") as caught, nas_files.nas_errors("nas://a.mkv"):
        raise OSError(number, os.strerror(number))
    assert type(caught.value) is kind


async def test_hidden_files_of_crashed_workers_go_after_a_day_and_not_before(bench, make):
    for name, hours in ((".leveret-old-a.mkv", 25), (".leveret-new-b.mkv", 23), ("old.mkv", 99)):
        bench.put(f"movies/{name}", b"x")
        path = bench.root / "movies" / name
        then = path.stat().st_mtime - hours * 3600
        os.utime(path, (then, then))
    await publish(bench.storage, [make(bench.place("movies/c.mkv"), b"c")])
    assert bench.names() == {"movies/.leveret-new-b.mkv", "movies/old.mkv", "movies/c.mkv"}


async def test_discard_removes_the_folders_that_stage_made_and_no_others(bench, make):
    (bench.root / "theirs").mkdir()
    artifacts = [
        make(bench.place("job1/e1-0123456789ab/v720/a.m4s"), b"a", immutable=True),
        make(bench.place("job1/master.m3u8"), b"m"),
        make(bench.place("theirs/new/b.mkv"), b"b"),
    ]
    await bench.storage.stage(artifacts)
    await bench.storage.discard(artifacts)
    assert [str(path.relative_to(bench.root)) for path in bench.root.rglob("*")] == ["theirs"]


async def test_deleting_the_last_file_of_an_attempt_removes_its_folder(bench):
    bench.put("job1/e1-0123456789ab/v/a.m4s", b"a")
    bench.put("job1/master.m3u8", b"m")
    await bench.storage.delete(bench.place("job1/e1-0123456789ab/v/a.m4s"))
    assert bench.names() == {"job1/master.m3u8"}
    await bench.storage.delete(bench.place("job1/master.m3u8"))
    assert bench.names() == {"job1"}


async def test_a_published_file_has_the_permissions_of_the_umask(bench, make):
    before = os.umask(0o027)
    try:
        await publish(bench.storage, [make(bench.place("a.mkv"), b"x")])
    finally:
        os.umask(before)
    assert (bench.root / "a.mkv").stat().st_mode & 0o777 == 0o640


async def test_a_reader_of_the_old_version_keeps_it(bench, make):
    bench.put("a.mkv", b"old version")
    with (bench.root / "a.mkv").open("rb") as reader:
        assert reader.read(3) == b"old"
        await publish(bench.storage, [make(bench.place("a.mkv"), b"new version")])
        assert reader.read() == b" version"
    assert bench.get("a.mkv") == b"new version"


def test_a_chunk_copied_by_hand_is_the_same(tmp_path, monkeypatch, bench, make):
    def refuse(*_args):
        raise OSError(errno.EXDEV, "across devices")

    monkeypatch.setattr(os, "copy_file_range", refuse)
    artifact = make(bench.place("a.mkv"), os.urandom(9 * 1024 * 1024))
    with nas_files.opened_folder(bench.root, ()) as folder:
        nas_files.copy_into(artifact.path, folder, "a.mkv", artifact.bytes, Stop())
    assert bench.get("a.mkv") == artifact.path.read_bytes()


@pytest.mark.parametrize(
    ("place", "public", "shown"),
    [
        ("nas://processed/sample/720p/index.m3u8", None, "/processed/sample/720p/index.m3u8"),
        ("{root}/processed/a.mkv", None, "/processed/a.mkv"),
        ("{other}/b.mkv", None, "{other}/b.mkv"),
        ("nas://a b/ü.m3u8", "https://cdn.example/v", "https://cdn.example/v/a%20b/%C3%BC.m3u8"),
        ("{root}/a.mkv", "https://cdn.example/", "https://cdn.example/a.mkv"),
        ("{other}/b.mkv", "https://cdn.example/", "https://cdn.example/b.mkv"),
    ],
)
def test_the_record_shows_the_public_url_else_the_path_from_the_root(tmp_path, place, public, shown):
    names = {"root": tmp_path / "nas", "other": tmp_path / "other"}
    storage = NasStorage(names["root"], tuple(names.values()), public_url=public)
    assert storage.url(external(place.format(**names))) == shown.format(**names)


async def test_a_listing_passes_over_a_name_in_another_encoding(bench):
    for name in ("fonts/a.otf", os.fsdecode("fonts/gr\xf6\xdfe.otf".encode("latin-1"))):
        bench.put(name, b"font")
    folder = bench.place("fonts")
    assert await bench.storage.listing(folder) == (folder.joined("a.otf"),)
