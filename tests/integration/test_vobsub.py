"""A VobSub is two files, an index and its pictures: both are published, wherever its track comes from."""

from __future__ import annotations

import subprocess
from typing import TYPE_CHECKING

import pytest

from tests.support.media import bench_in, clip
from worker.core.errors import InvalidJob
from worker.tasks.ffmpeg import FfmpegTask
from worker.tasks.mkvextract import MkvextractTask
from worker.tasks.mkvmerge import MkvmergeTask

if TYPE_CHECKING:
    from pathlib import Path

    from worker.testing import BenchResult, TaskBench

SRT = "1\n00:00:00,200 --> 00:00:01,000\nx\n"
PICTURE = bytes.fromhex("000a000400080000ffff")


def vobsub(path: Path, language: str, *times: str) -> Path:
    """Write the pair of `path` (.idx), with an empty picture at each of `times`; return the index."""
    lines = [f"timestamp: {time}, filepos: {number * 2048:09x}" for number, time in enumerate(times)]
    head = f"# VobSub index file, v7\nsize: 320x180\npalette: 000000, ffffff\nid: {language}, index: 0\n"
    path.write_text("\n".join([head.rstrip(), *lines, ""]))
    payload = b"\x21\x00\x01\x0d\xcd" + b"\x20" + PICTURE
    packet = b"\x00\x00\x01\xba\x44\x00\x04\x00\x04\x01\x01\x89\xc3\xf8"
    packet += b"\x00\x00\x01\xbd" + (len(payload) + 3).to_bytes(2, "big") + b"\x81\x80\x05" + payload
    path.with_suffix(".sub").write_bytes(packet.ljust(2048, b"\xff") * len(times))
    return path


@pytest.fixture(scope="module")
def discs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a folder with a film and its VobSubs: `disc.mkv`, `texts.mks` without a film, and `disc.vob`."""
    folder = tmp_path_factory.mktemp("discs")
    film = clip(folder / "film.mkv", picture="s=64x64:r=25", seconds=2)
    english = vobsub(folder / "en.idx", "en", "00:00:00:200", "00:00:01:200")
    german = vobsub(folder / "de.idx", "de", "00:00:00:400")
    (folder / "x.srt").write_text(SRT)
    for name, files in (("disc.mkv", (film, english, "x.srt", german)), ("texts.mks", (german, english))):
        # mkvmerge 74 warns of pictures without a length
        subprocess.run(("mkvmerge", "-q", "-o", name, *files), cwd=folder, check=False, timeout=60)
    coded = ("-map", "0:v", "-map", "0:s:0", "-c:v", "mpeg2video", "-c:s", "copy", "-f", "vob", "disc.vob")
    subprocess.run(("ffmpeg", "-v", "error", "-i", "disc.mkv", *coded), cwd=folder, check=True, timeout=60)
    return folder


@pytest.fixture
def bench(discs: Path, tmp_path: Path) -> TaskBench:
    bench = bench_in(tmp_path)
    for name in ("disc.mkv", "texts.mks", "disc.vob", "film.mkv", "en.idx", "en.sub"):
        (bench.root / name).hardlink_to(discs / name)
    return bench


def index(result: BenchResult, name: str) -> list[str]:
    """Return the times that an index lists."""
    lines = result.outputs[name].path.read_text().splitlines()
    return [line.split(",")[0].removeprefix("timestamp: ") for line in lines if line.startswith("timestamp")]


@pytest.mark.parametrize("names", [("eng.idx",), ("eng.sub",), ("eng.idx", "eng.sub"), ("a.idx", "b.SUB")])
async def test_a_vobsub_is_published_as_the_pair_that_it_is(bench: TaskBench, names: tuple[str, ...]) -> None:
    tracks = [{"track_type": "subtitles", "filename": name} for name in names]
    result = await bench.run_task(MkvextractTask(), {"source": "nas://disc.mkv", "tracks": tracks})
    stems = {name.partition(".")[0] for name in names}
    assert {name.lower() for name in result.outputs} == {f"{stem}{end}" for stem in stems for end in (".idx", ".sub")}
    assert all(staged.path.read_bytes() for staged in result.outputs.values())
    for name in result.outputs:
        if name.endswith(".idx"):
            assert index(result, name) == ["00:00:00:200", "00:00:01:200"]


async def test_several_tracks_at_once_are_each_a_pair_of_their_own(bench: TaskBench) -> None:
    tracks = [{"id": 2, "filename": "en.idx"}, {"id": 3, "filename": "x.srt"}, {"id": 4, "filename": "de.sub"}]
    result = await bench.run_task(MkvextractTask(), {"source": "nas://disc.mkv", "tracks": tracks})
    assert set(result.outputs) == {"en.idx", "en.sub", "x.srt", "de.idx", "de.sub"}
    assert index(result, "en.idx") == ["00:00:00:200", "00:00:01:200"]
    assert index(result, "de.idx") == ["00:00:00:400"]
    assert result.outputs["en.sub"].path.stat().st_size == 2 * result.outputs["de.sub"].path.stat().st_size


async def test_the_vobsubs_of_a_file_without_a_film_are_pairs(bench: TaskBench) -> None:
    tracks = [{"id": 1, "filename": "en.sub"}, {"id": 0, "filename": "de.sub"}]
    result = await bench.run_task(MkvextractTask(), {"source": "nas://texts.mks", "tracks": tracks})
    assert set(result.outputs) == {"en.idx", "en.sub", "de.idx", "de.sub"}
    assert index(result, "en.idx") == ["00:00:00:200", "00:00:01:200"]


async def test_the_vobsub_of_a_dvds_file_becomes_a_pair_through_matroska(bench: TaskBench) -> None:
    maps = [{"specifier": "s", "options": {"codec": "copy"}}]
    data = {"sources": ["nas://disc.vob"], "source_maps": [{"specifier": "s"}], "output_maps": maps}
    await bench.run_task(FfmpegTask(), data | {"output_file": "texts.mkv"})
    tracks = [{"track_type": "subtitles", "filename": "dvd.idx"}]
    result = await bench.run_task(MkvextractTask(), {"source": "texts.mkv", "tracks": tracks})
    assert {"dvd.idx", "dvd.sub"} <= set(result.outputs)
    assert len(index(result, "dvd.idx")) == 2


async def test_a_pair_that_is_merged_is_extracted_as_it_was(bench: TaskBench) -> None:
    sources = ["nas://film.mkv", "nas://en.idx"]
    tracks = [{"source": 0, "track": 0}, {"source": 1, "track": 0}]
    await bench.run_task(MkvmergeTask(), {"sources": sources, "tracks": tracks, "output_file": "both.mkv"})
    data = {"source": "both.mkv", "tracks": [{"track_type": "subtitles", "filename": "en.idx"}]}
    assert index(await bench.run_task(MkvextractTask(), data), "en.idx") == ["00:00:00:200", "00:00:01:200"]


async def test_a_vobsub_that_is_named_as_one_file_is_refused(bench: TaskBench) -> None:
    tracks = [{"track_type": "subtitles", "filename": "eng.vob"}]
    with pytest.raises(InvalidJob, match=r"tracks\[0\]\.filename: is a VobSub, which is two files"):
        await bench.run_task(MkvextractTask(), {"source": "nas://disc.mkv", "tracks": tracks})
