"""A presentation in parts is what a whole run makes: segments, playlists, rungs, and every picture in its place."""

from __future__ import annotations

import re
import subprocess
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import m3u8
import pytest

from tests.support.hls import Made, probe
from tests.support.media import bench_in, clip, ffmpeg
from worker.core.errors import CannotServe, PlanBroken
from worker.core.job import TaskSpec
from worker.core.parts import Fleet, Plan, Whole
from worker.registry import Registry
from worker.tasks.hls import HlsTask

if TYPE_CHECKING:
    from pathlib import Path

SRT = "1\n00:00:00,500 --> 00:00:01,200\nOne\n\n2\n00:00:04,200 --> 00:00:04,800\nTwo\n"
CODED = ("-g", "24", "-bf", "2")
SOURCES: dict[str, tuple[str, dict[str, Any]]] = {
    "29.97": ("mp4", {"picture": "s=160x90:r=30000/1001"}),
    "23.976, no sound": ("mkv", {"picture": "s=160x90:r=24000/1001", "sounds": 0}),
    "50, transport stream": ("ts", {"picture": "s=160x90:r=50"}),
    "late start, two languages": ("mkv", {"sounds": 2, "extra": (*CODED, "-output_ts_offset", "10")}),
    "open GOPs": ("mkv", {"extra": ("-x264-params", "open-gop=1:keyint=12:bframes=3:b-pyramid=normal")}),
    "the picture begins late and ends early": (
        "mkv",
        {"extra": (*CODED, "-vf", "setpts=PTS+0.4/TB", "-af", "apad=pad_dur=0.8")},
    ),
}


async def prepared(folder: Path, **data: Any) -> tuple[Any, HlsTask, Any]:
    bench, task = bench_in(folder), HlsTask()
    document = {"source": "nas://film", "segment_time": 2, "parts": {"seconds": 2}, "renditions": [{"height": 90}]}
    _, params = Registry({"hls": task}).parse(TaskSpec("hls", document | data, ""))
    return bench, task, await task.prepare(params, bench)


async def planned(folder: Path, **data: Any) -> Plan | Whole:
    bench, task, params = await prepared(folder, **data)
    return await task.plan(params, 0, Fleet(workers=2), bench)


async def both(folder: Path, **data: Any) -> tuple[Made, Made]:
    """Return what a whole run makes, and what is made of parts, in any order and by benches of their own."""
    bench, task, params = await prepared(folder, **data)
    await task.run(params, bench)
    whole = Made(bench.result, folder / "whole")
    bench, task, params = await prepared(folder, **data)
    plan = await task.plan(params, 0, Fleet(workers=2), bench)
    assert isinstance(plan, Plan), plan
    plan = Plan.of(plan.document())
    paths = {}
    for part in reversed(plan.parts):
        other, own, same = await prepared(folder, **data)
        await own.run_part(same, plan, part, other)
        assert list(other.result.outputs) == [part.file]
        paths[part.index] = other.result.outputs[part.file].path
    await task.join(params, plan, paths, bench)
    return whole, Made(bench.result, folder / "joined")


def playlists(made: Made) -> dict[str, list[Any]]:
    """Return what the playlists say but for sizes: names of files, lengths, and what a player chooses from."""
    found: dict[str, list[Any]] = {}
    for path in sorted(made.folder.rglob("*.m3u8")):
        listed = m3u8.loads(path.read_text())
        rungs = [(p.uri, p.stream_info.resolution, p.stream_info.codecs, p.stream_info.audio) for p in listed.playlists]
        media = [(m.type, m.uri, m.language, m.name, m.default, m.channels) for m in listed.media]
        found[str(path.relative_to(made.folder))] = [
            [(segment.uri, segment.duration) for segment in listed.segments], rungs, media, listed.target_duration
        ]  # fmt: skip
    return found


def worst_picture(one: Path, other: Path) -> float:
    """Return the likeness of the two pictures that are least alike, of all pairs in order, in decibels."""
    graph = "[0:v][1:v]psnr=stats_file=-:eof_action=endall"
    argv = ("ffmpeg", "-v", "error", "-i", str(one), "-i", str(other), "-lavfi", graph, "-f", "null", "-")
    text = subprocess.run(argv, check=True, capture_output=True, text=True).stdout
    return min(float(found) if found != "inf" else 99.0 for found in re.findall(r"psnr_avg:(\S+)", text))


def content(path: Path) -> str:
    """Return the hash of all packets of a file, and of their times."""
    argv = ("ffmpeg", "-v", "error", "-i", str(path), "-c", "copy", "-f", "framehash", "-")
    return subprocess.run(argv, check=True, capture_output=True, text=True).stdout


@pytest.mark.parametrize("name", SOURCES)
async def test_joined_parts_are_the_presentation_of_a_whole_run(name: str, tmp_path: Path) -> None:
    suffix, wanted = SOURCES[name]
    (tmp_path / "root").mkdir()
    source = {"picture": "s=160x90:r=25", "seconds": 7, "extra": CODED} | wanted
    clip(tmp_path / f"film.{suffix}", **source).rename(tmp_path / "root" / "film")
    whole, joined = await both(tmp_path, poster=False, storyboard=False)
    assert playlists(joined) == playlists(whole)
    (one, other) = (made.whole(made.master().playlists[0].uri) for made in (whole, joined))
    picture, same = probe(one), probe(other)
    for key in ("pts", "dts", "duration"):
        assert [packet[key] for packet in same["packets"]] == [packet[key] for packet in picture["packets"]], key
    assert same["packets"][0]["flags"].startswith("K")
    assert worst_picture(one, other) > 30
    for media in whole.master().media:
        assert content(joined.whole(media.uri)) == content(whole.whole(media.uri)), "the sound is the same"


async def test_a_ladder_with_texts_loudness_poster_and_storyboard_is_joined_too(tmp_path: Path) -> None:
    (tmp_path / "root").mkdir()
    clip(tmp_path / "plain.mkv", picture="s=160x90:r=25", seconds=5, extra=CODED)
    (tmp_path / "in.srt").write_text(SRT, "utf-8")
    both_in = ("-i", str(tmp_path / "plain.mkv"), "-i", str(tmp_path / "in.srt"), "-map", "0", "-map", "1")
    ffmpeg(*both_in, "-c", "copy", "-f", "matroska", str(tmp_path / "root" / "film"))
    codecs = [{"height": 90, "bitrate": "200k"}, {"height": 64, "codec": "hevc"}, {"height": 64, "codec": "av1"}]
    whole, joined = await both(tmp_path, renditions=codecs, loudness={"target": -20}, verify="decode")
    assert playlists(joined) == playlists(whole)
    assert sorted(joined.result.outputs) == sorted(whole.result.outputs)
    assert joined.result.facts == whole.result.facts
    assert [report.fraction for report in joined.result.reports][-1] == 1.0
    for text in (path for path in whole.folder.rglob("*.vtt")):
        assert joined.text(str(text.relative_to(whole.folder))) == text.read_text()
    for one, other in zip(whole.master().playlists, joined.master().playlists, strict=True):
        assert worst_picture(whole.whole(one.uri), joined.whole(other.uri)) > 28
        assert one.stream_info.frame_rate == other.stream_info.frame_rate


async def test_a_changed_source_and_another_ladder_break_the_plan(tmp_path: Path) -> None:
    (tmp_path / "root").mkdir()
    clip(tmp_path / "film.mkv", picture="s=160x90:r=25", seconds=5, extra=CODED).rename(tmp_path / "root" / "film")
    bench, task, params = await prepared(tmp_path)
    plan = await task.plan(params, 0, Fleet(workers=2), bench)
    assert isinstance(plan, Plan)
    assert await task.holds(params, plan, bench)
    with pytest.raises(CannotServe, match="the parts are made by another"):
        await task.run_part(params, replace(plan, build="another"), plan.parts[0], bench)
    _, other, wider = await prepared(tmp_path, renditions=[{"height": 64}])
    assert not await other.holds(wider, plan, bench)
    clip(tmp_path / "film.mkv", picture="s=160x90:r=25", seconds=6, extra=CODED).replace(tmp_path / "root" / "film")
    with pytest.raises(PlanBroken, match="the source is not the one that was planned"):
        await task.run_part(params, plan, plan.parts[0], bench)


@pytest.mark.parametrize(
    ("source", "data", "reason"),
    [
        ({"seconds": 2}, {}, "too short for two parts"),
        ({"picture": "", "seconds": 5}, {"renditions": []}, "no picture is encoded"),
        ({}, {"parts": "never"}, "the job says never"),
        ({}, {"renditions": [{"height": 90, "codec": "vp9"}]}, "the parts of libvpx-vp9 are not joined"),
        ({"picture": "s=160x90:r=100"}, {}, "the source shows 100 pictures a second, and its renditions 50"),
        (
            {"extra": ("-vf", "select='not(eq(mod(n,5),2))'", "-fps_mode", "vfr")},
            {},
            "the frame rate of the source is not constant",
        ),
        (
            {"extra": ("-vf", "setfield=tff", "-flags", "+ildct+ilme", "-c:v", "mpeg2video")},
            {},
            "the picture is deinterlaced",
        ),
    ],
)
async def test_an_undivided_job_gives_its_reason(
    source: dict[str, Any], data: dict[str, Any], reason: str, tmp_path: Path
):
    (tmp_path / "root").mkdir()
    wanted = {"picture": "s=160x90:r=25", "seconds": 5, "sounds": bool(source.get("picture") == "")} | source
    clip(tmp_path / "film.mkv", **wanted).rename(tmp_path / "root" / "film")
    found = await planned(tmp_path, **data)
    assert isinstance(found, Whole)
    assert reason in found.reason
