"""What every storage promises that can be written to: run on a folder and on a real S3 server."""

from __future__ import annotations

import asyncio
import errno
import os
import re
from dataclasses import replace

import pytest

from tests.support.storages import PART_BYTES, Confirmations, Maker, NasBench, S3Bench, publish, s3_running
from worker.core.errors import LeaseLost, LeveretError, OutputExists, RefusedPath, SourceMissing, VerificationFailed
from worker.core.location import External

ODD_NAMES = [
    "with space.mkv",
    "50% + more & #1?.mp4",
    "größe-映画-🎬.mkv",
    "quote'\"`$(id);|.mp4",
    "-rf.mp4",
    "n" * 251 + ".mp4",
    "é" * 125 + ".mp4",
]


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
def make(tmp_path) -> Maker:
    return Maker(tmp_path / "scratch")


def visible(bench) -> set[str]:
    return {name for name in bench.names() if "/.leveret" not in f"/{name}"}


async def test_a_staged_file_is_not_visible_under_its_final_name(bench, make):
    bench.put("film/movie.mkv", b"old")
    await bench.storage.stage([make(bench.place("film/movie.mkv"), b"new" * PART_BYTES)])
    assert visible(bench) == {"film/movie.mkv"}
    assert bench.get("film/movie.mkv") == b"old"


async def test_a_sweep_removes_leftovers_of_its_job_and_nothing_of_another(bench, make):
    place = bench.place("film/movie.mkv")
    content = b"new" * PART_BYTES
    left, others = (replace(make(place, content), job_id=job_id) for job_id in ("left", "others"))
    await bench.storage.stage([left])
    await bench.storage.stage([others])
    bench.put("film/old.mkv", b"old")
    await bench.storage.sweep(place, "left")
    hidden = bench.names() - {"film/old.mkv"}
    assert len(hidden) == 1
    await bench.storage.reveal([others], Confirmations(bench))
    assert bench.names() == {"film/movie.mkv", "film/old.mkv"}


async def test_sweeping_an_absent_folder_is_no_error(bench):
    await bench.storage.sweep(bench.place("nowhere/movie.mkv"), "left")


async def test_immutable_files_are_in_the_attempts_own_folder_once_staged(bench, make):
    names = [f"film/e7-0123456789ab/v720/{number:05d}.m4s" for number in range(20)]
    await bench.storage.stage([make(bench.place(n), n.encode(), role="segment", immutable=True) for n in names])
    assert bench.names() == set(names)
    assert bench.get(names[13]) == names[13].encode()


async def test_files_appear_in_the_given_order_each_right_after_a_confirmation(bench, make):
    confirm = Confirmations(bench)
    artifacts = [
        make(bench.place("film/e1-0123456789ab/a.m4s"), b"segment", role="segment", immutable=True),
        make(bench.place("film/v.m3u8"), b"#EXTM3U v", role="playlist"),
        make(bench.place("film/movie.mp4"), b"m" * (PART_BYTES + 1)),
        make(bench.place("film/master.m3u8"), b"#EXTM3U m", role="manifest"),
    ]
    await bench.storage.stage(artifacts)
    await bench.storage.reveal(artifacts, confirm)
    assert confirm.seen == [
        {"film/e1-0123456789ab/a.m4s"},
        {"film/e1-0123456789ab/a.m4s", "film/v.m3u8"},
        {"film/e1-0123456789ab/a.m4s", "film/v.m3u8", "film/movie.mp4"},
    ]
    assert bench.names() == {"film/e1-0123456789ab/a.m4s", "film/v.m3u8", "film/movie.mp4", "film/master.m3u8"}
    assert bench.get("film/movie.mp4") == b"m" * (PART_BYTES + 1)


async def test_a_lease_lost_before_the_swap_leaves_the_old_version(bench, make):
    bench.put("film/master.m3u8", b"old")
    artifacts = [make(bench.place("film/master.m3u8"), b"new", role="manifest")]

    async def confirm() -> None:
        raise LeaseLost("somebody else has the job")

    await bench.storage.stage(artifacts)
    with pytest.raises(LeaseLost):
        await bench.storage.reveal(artifacts, confirm)
    await bench.storage.discard(artifacts)
    assert bench.names() == {"film/master.m3u8"}
    assert bench.get("film/master.m3u8") == b"old"


async def test_a_large_file_arrives_whole(bench, make):
    content = os.urandom(PART_BYTES * 5 + 12345)
    await publish(bench.storage, [make(bench.place("film/movie.mkv"), content)])
    assert bench.get("film/movie.mkv") == content
    assert bench.names() == {"film/movie.mkv"}


async def test_staging_again_does_not_send_again_what_stands(bench, make):
    artifacts = [
        make(bench.place("film/e1-0123456789ab/a.m4s"), b"a" * 1000, immutable=True),
        make(bench.place("film/movie.mkv"), b"m" * (PART_BYTES + 1)),
    ]
    await bench.storage.stage(artifacts)
    before = {name: bench.stamp(name) for name in bench.names()}
    assert len(before) == 2
    await bench.storage.stage(artifacts)
    assert {name: bench.stamp(name) for name in bench.names()} == before


async def test_a_torn_upload_of_an_earlier_try_is_replaced(bench, make):
    artifact = make(bench.place("film/e1-0123456789ab/a.m4s"), b"the whole segment", immutable=True)
    for torn in (b"the whole seg", b"the WHOLE segment"):
        bench.put("film/e1-0123456789ab/a.m4s", torn)
        await bench.storage.stage([artifact])
        assert bench.get("film/e1-0123456789ab/a.m4s") == b"the whole segment"


async def test_revealing_again_after_a_crash_is_harmless(bench, make):
    artifacts = [make(bench.place("movie.mkv"), b"m" * (PART_BYTES + 1)), make(bench.place("a.vtt"), b"WEBVTT")]
    await publish(bench.storage, artifacts)
    await bench.storage.reveal(artifacts, Confirmations(bench))
    await publish(bench.storage, artifacts)
    assert bench.names() == {"movie.mkv", "a.vtt"}


async def test_an_upload_that_was_never_staged_is_not_revealed(bench, make):
    with pytest.raises(LeveretError, match="gone"):
        await bench.storage.reveal([make(bench.place("movie.mkv"), b"m" * (PART_BYTES + 1))], Confirmations(bench))
    assert bench.names() == set()


async def test_an_immutable_file_that_is_missing_is_reported_before_a_manifest_points_at_it(bench, make):
    artifacts = [make(bench.place("e1-0123456789ab/a.m4s"), b"a", immutable=True), make(bench.place("m.m3u8"), b"m")]
    await bench.storage.stage(artifacts)
    await bench.storage.delete(bench.place("e1-0123456789ab/a.m4s"))
    with pytest.raises(LeveretError):
        await bench.storage.reveal(artifacts, Confirmations(bench))
    assert bench.get("m.m3u8") is None


async def test_a_source_that_shrank_is_never_published(bench, make):
    artifacts = [
        make(bench.place("e1-0123456789ab/a.m4s"), b"a" * 10, immutable=True),
        make(bench.place("b.mkv"), b"b" * 10),
    ]
    for artifact in artifacts:
        artifact.path.write_bytes(b"half")
        with pytest.raises(VerificationFailed, match=r"10 bytes"):
            await publish(bench.storage, [artifact])
        await bench.storage.discard([artifact])
    assert bench.names() == set()


async def test_a_staged_file_that_is_gone_is_reported(bench, make):
    artifact = make(bench.place("e1-0123456789ab/a.m4s"), b"a", immutable=True)
    artifact.path.unlink()
    with pytest.raises(VerificationFailed, match="gone from scratch"):
        await bench.storage.stage([artifact])


async def test_discard_leaves_nothing_of_the_attempt_and_everything_of_others(bench, make):
    bench.put("film/e1-0123456789ab/a.m4s", b"of another attempt")
    bench.put("film/master.m3u8", b"of another attempt")
    mine = [
        make(bench.place("film/e2-0123456789ab/v/a.m4s"), b"mine", immutable=True, attempt="job.2"),
        make(bench.place("film/movie.mkv"), b"m" * (PART_BYTES + 1), attempt="job.2"),
        make(bench.place("film/master.m3u8"), b"mine", attempt="job.2"),
    ]
    successor = [make(bench.place("film/movie.mkv"), b"m" * (PART_BYTES + 1), attempt="job.3")]
    await bench.storage.stage(mine)
    await bench.storage.stage(successor)
    await bench.storage.discard(mine)
    await bench.storage.discard(mine)
    await bench.storage.reveal(successor, Confirmations(bench))
    assert bench.names() == {"film/e1-0123456789ab/a.m4s", "film/master.m3u8", "film/movie.mkv"}
    assert bench.get("film/master.m3u8") == b"of another attempt"


@pytest.mark.parametrize("seconds", [0, 0.003, 0.03])
async def test_a_cancelled_stage_writes_nothing_afterwards(bench, make, seconds):
    artifacts = [make(bench.place(f"film/{n}.mkv"), os.urandom(4 * PART_BYTES)) for n in range(2)]
    task = asyncio.create_task(bench.storage.stage(artifacts))
    await asyncio.wait({task}, timeout=seconds)
    # A quick disk may be done before it is stopped: then there is only more to discard.
    still_at_work = task.cancel()
    await asyncio.wait({task})
    assert task.cancelled() == still_at_work
    await bench.storage.discard(artifacts)
    assert bench.names() == set()


@pytest.mark.parametrize("name", ODD_NAMES)
async def test_any_name_comes_back_as_it_was(bench, make, name, tmp_path):
    place = bench.place(f"odd/{name}")
    assert bench.storage.admit(place, writing=True) == place
    await publish(bench.storage, [make(place, name.encode())])
    assert bench.names() == {f"odd/{name}"}
    local = await bench.storage.fetch(place, tmp_path / "into.bin")
    assert local.read_bytes() == name.encode()


async def test_stat_states_size_and_type_or_nothing(bench, make):
    await publish(bench.storage, [make(bench.place("a/index.m3u8"), b"#EXTM3U")])
    found = await bench.storage.stat(bench.place("a/index.m3u8"))
    assert (found.bytes, found.media_type) == (7, "application/vnd.apple.mpegurl")
    assert await bench.storage.stat(bench.place("a/other.m3u8")) is None
    assert await bench.storage.stat(bench.place("b/other.m3u8")) is None


async def test_a_fetched_file_is_complete_and_leaves_no_part(bench, tmp_path):
    content = os.urandom(2 * PART_BYTES + 1)
    bench.put("in/movie.mkv", content)
    into = tmp_path / "fetched" / "movie.mkv"
    local = await bench.storage.fetch(bench.place("in/movie.mkv"), into)
    assert local.read_bytes() == content
    assert not list(tmp_path.glob("**/*.part*"))


async def test_a_source_that_is_not_there_is_missing(bench, tmp_path):
    for key in ("none.mkv", "no/such/folder/none.mkv"):
        with pytest.raises(SourceMissing, match=r"none\.mkv does not exist"):
            await bench.storage.fetch(bench.place(key), tmp_path / "into")


async def test_deleting_is_done_when_nothing_is_there(bench):
    bench.put("a/movie.mkv", b"x")
    await bench.storage.delete(bench.place("a/movie.mkv"))
    await bench.storage.delete(bench.place("a/movie.mkv"))
    assert bench.get("a/movie.mkv") is None


async def test_a_healthy_storage_checks_out_and_keeps_no_trace(bench):
    before = bench.names()
    await bench.storage.check()
    assert not any(".leveret" in name for name in bench.names())
    assert {name for name in bench.names() if name != "jobs"} == before


async def test_every_operation_refuses_what_lies_outside(bench, make, tmp_path):
    place = bench.outside()
    artifacts = [make(place, b"x")]
    for writing in (True, False):
        with pytest.raises(RefusedPath, match="not inside"):
            bench.storage.admit(place, writing=writing)
    for call in (
        bench.storage.stat(place),
        bench.storage.fetch(place, tmp_path / "x"),
        bench.storage.delete(place),
        bench.storage.stage(artifacts),
        bench.storage.reveal(artifacts, Confirmations(bench)),
        bench.storage.discard(artifacts),
    ):
        with pytest.raises(RefusedPath):
            await call


@pytest.mark.parametrize("key", [".leveret", ".leveret-abc-movie.mkv", "a/.leveret-x/b.mkv"])
def test_the_workers_own_names_are_refused(bench, key):
    for writing in (True, False):
        with pytest.raises(RefusedPath, match="workers' own"):
            bench.storage.admit(bench.place(key), writing=writing)


def test_a_folder_is_a_destination_and_no_source(bench):
    assert bench.storage.admit(bench.place("a/b/"), writing=True).is_folder
    with pytest.raises(RefusedPath, match="folder"):
        bench.storage.admit(bench.place("a/b/"), writing=False)


async def test_a_refused_folder_is_named_as_it_was_written_and_a_root_is_a_folder(bench):
    outside = bench.outside()
    folder, hidden = External(outside.scheme, outside.host, f"{outside.path}/"), bench.place(".leveret-a/")
    for place, why in ((folder, f"{folder} is not inside"), (hidden, f"{hidden}: names that begin with")):
        with pytest.raises(RefusedPath, match=f"^{re.escape(why)}"):
            bench.storage.admit_folder(place)
        with pytest.raises(RefusedPath, match=f"^{re.escape(why)}"):
            await bench.reader.entries(place, 10)
        with pytest.raises(RefusedPath, match=f"^{re.escape(why)}"):
            _ = [batch async for batch in bench.reader.walk(place)]
    assert bench.storage.admit_folder(bench.place("")) == bench.place("")
    assert bench.storage.admit_folder(bench.place("a/b/")) == bench.place("a/b/")


async def test_a_listing_names_the_files_of_a_folder_and_not_what_lies_deeper(bench):
    for name in ("fonts/b.ttf", "fonts/a.otf", "fonts/deep/c.ttf", "other/d.ttf"):
        bench.put(name, b"font")
    folder = bench.place("fonts")
    assert await bench.storage.listing(folder) == (folder.joined("a.otf"), folder.joined("b.ttf"))


async def test_a_listing_passes_over_a_name_that_no_job_could_say(bench):
    for name in ("fonts/a.otf", "fonts/b\n.otf"):
        bench.put(name, b"font")
    folder = bench.place("fonts")
    assert await bench.storage.listing(folder) == (folder.joined("a.otf"),)


async def test_a_listing_of_no_folder_is_a_missing_source(bench):
    with pytest.raises(SourceMissing):
        await bench.storage.listing(bench.place("no-such-folder"))


# ------------------------------------------------------------------ one file, two jobs


def guarded(make, place, content, job, *, earlier=()):
    return replace(make(place, content, attempt=f"{job}.1"), job_id=job, replaces=False, earlier=earlier)


@pytest.mark.parametrize("size", [10, PART_BYTES + 1, PART_BYTES * 4 + 2])
async def test_of_two_jobs_that_make_one_file_one_wins_and_the_other_fails(bench, make, size):
    place = bench.place("film/movie.mkv")
    first, second = guarded(make, place, b"1" * size, "first"), guarded(make, place, b"2" * size, "second")
    await bench.storage.stage([first])
    await bench.storage.stage([second])
    # The private S3 server looks whether an object is there, and then completes an upload of several parts: two that
    # come at once both get through, which a bucket of AWS excludes. So these come one after the other; of two jobs at
    # once the database lets only one come so far (`worker.adapters.sql.attempts.outputs`).
    at_once = asyncio.Semaphore(1 if isinstance(bench, S3Bench) and size > PART_BYTES else 2)

    async def reveal(file):
        async with at_once:
            await bench.storage.reveal([file], Confirmations(bench))

    results = await asyncio.gather(reveal(first), reveal(second), return_exceptions=True)
    assert sorted(type(one).__name__ for one in results) == ["NoneType", "OutputExists"]
    assert bench.get("film/movie.mkv") == (b"1" if results[0] is None else b"2") * size
    await bench.storage.discard([first, second])
    assert bench.names() == {"film/movie.mkv"}


async def test_a_file_that_came_meanwhile_is_not_replaced(bench, make):
    artifact = guarded(make, bench.place("movie.mkv"), b"new", "job")
    await bench.storage.stage([artifact])
    bench.put("movie.mkv", b"somebody's")
    with pytest.raises(OutputExists, match="overwrite"):
        await bench.storage.reveal([artifact], Confirmations(bench))
    await bench.storage.discard([artifact])
    assert bench.get("movie.mkv") == b"somebody's"
    assert bench.names() == {"movie.mkv"}


@pytest.mark.parametrize("size", [10, PART_BYTES * 4 + 2])
async def test_a_file_that_an_earlier_attempt_of_the_job_published_is_replaced(bench, make, size):
    place = bench.place("movie.mkv")
    first = guarded(make, place, b"1" * size, "job")
    await publish(bench.storage, [first])
    second = guarded(make, place, b"2" * size, "job", earlier=(first.sha256,))
    await publish(bench.storage, [second])
    assert bench.get("movie.mkv") == b"2" * size
    assert bench.names() == {"movie.mkv"}


@pytest.mark.parametrize("size", [10, PART_BYTES * 4 + 2])
async def test_a_file_that_may_replace_nothing_is_revealed_again_after_a_crash(bench, make, size):
    artifact = guarded(make, bench.place("movie.mkv"), b"1" * size, "job")
    await publish(bench.storage, [artifact])
    await publish(bench.storage, [artifact])
    assert bench.names() == {"movie.mkv"}


async def test_an_existing_file_is_not_replaced_where_there_are_no_hard_links(tmp_path, make, monkeypatch):
    def refused(*_args, **_options):
        raise PermissionError(errno.EPERM, "Operation not permitted")

    monkeypatch.setattr(os, "link", refused)
    bench = NasBench(tmp_path / "nas")
    artifact = guarded(make, bench.place("movie.mkv"), b"new", "job")
    await publish(bench.storage, [artifact])
    assert bench.get("movie.mkv") == b"new"
    with pytest.raises(OutputExists):
        await publish(bench.storage, [guarded(make, bench.place("movie.mkv"), b"other", "another")])
    assert bench.get("movie.mkv") == b"new"
