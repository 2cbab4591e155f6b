"""The picture of a source is what a player shows: in its order, in its chapters, and no cover, or the record tells."""

from __future__ import annotations

import subprocess
from typing import TYPE_CHECKING, Any

import pytest

from tests.support.media import bench_in, clip, ffmpeg
from tests.support.odd_files import FILES, H264, PICTURE
from worker.app.components import registry
from worker.core.errors import InvalidJob
from worker.tasks.ffmpeg import FfmpegTask
from worker.tasks.mkvmerge import MkvmergeTask

if TYPE_CHECKING:
    from pathlib import Path

    from worker.testing import BenchResult, TaskBench

X264 = {"codec": "libx264", "preset": "ultrafast"}
PYRAMID = ("-c:v", "libx264", "-bf", "3", "-pix_fmt", "yuv420p")
WITHOUT_TIMES = {
    "pyramid.avi": PYRAMID,
    "pyramid.h264": PYRAMID,
    "pyramid.vob": PYRAMID,
    "packed.avi": ("-c:v", "libxvid", "-bf", "2"),
}
PIECES = (("00:00:01.000000000", "00:00:02.000000000"), ("00:00:00.000000000", "00:00:01.000000000"))
LINK = '<ChapterSegmentUID format="hex">0123456789abcdef0123456789abcdef</ChapterSegmentUID>'


async def copied(bench: TaskBench, name: str, output: str) -> BenchResult:
    everything = {"source_maps": [{}], "output_maps": [{"options": {"codec": "copy"}}]}
    return await bench.run_task(FfmpegTask(), {"sources": [f"nas://{name}"], "output_file": output, **everything})


async def merged(bench: TaskBench, name: str, **options: Any) -> BenchResult:
    source: dict[str, Any] = {"filename": f"nas://{name}", **options}
    data = {"sources": [source], "tracks": [{"source": 0, "track": 0}], "output_file": "merged.mkv"}
    return await bench.run_task(MkvmergeTask(), data)


@pytest.mark.parametrize("name", WITHOUT_TIMES)
async def test_a_copy_of_pictures_whose_times_ffmpeg_guesses_wrongly_is_refused(name: str, tmp_path: Path) -> None:
    bench = bench_in(tmp_path)
    ffmpeg(*PICTURE, *WITHOUT_TIMES[name], str(bench.root / name))
    with pytest.raises(InvalidJob, match=r"no times of their own.*out of order.*mkvmerge"):
        await copied(bench, name, "o.mp4")


@pytest.mark.parametrize("name", ["simple.avi", "simple.h264", "mpeg-4.avi", "dvd.vob"])
async def test_a_copy_of_pictures_whose_times_ffmpeg_guesses_rightly_is_made(name: str, tmp_path: Path) -> None:
    bench = bench_in(tmp_path)
    coding = {"mpeg-4.avi": ("-c:v", "mpeg4", "-bf", "2"), "dvd.vob": ("-c:v", "mpeg2video", "-bf", "2")}
    ffmpeg(*PICTURE, *coding.get(name, H264), str(bench.root / name))
    result = await copied(bench, name, "o.mp4")
    assert result.outputs["o.mp4"].duration == pytest.approx(1, abs=0.1)


def linked(folder: Path) -> Path:
    """Return a film of 2 s with ordered chapters, the second of which is in another file."""
    plain, chapters = clip(folder / "plain.mkv", picture="s=160x120:r=25", seconds=2), folder / "chapters.xml"
    atoms = "".join(
        f"<ChapterAtom>{LINK * number}<ChapterTimeStart>{begin}</ChapterTimeStart>"
        f"<ChapterTimeEnd>{end}</ChapterTimeEnd></ChapterAtom>"
        for number, (begin, end) in enumerate(PIECES)
    )
    edition = f"<EditionEntry><EditionFlagOrdered>1</EditionFlagOrdered>{atoms}</EditionEntry>"
    chapters.write_text(f'<?xml version="1.0"?><Chapters>{edition}</Chapters>')
    path = folder / "linked.mkv"
    subprocess.run(("mkvmerge", "-q", "-o", path, "--chapters", chapters, plain), check=True, timeout=60)
    return path


async def test_ordered_chapters_and_links_of_a_source_are_a_warning(tmp_path: Path) -> None:
    bench = bench_in(tmp_path)
    linked(bench.root)
    FILES["ordered chapters.mkv"](bench.root / "ordered.mkv")
    taken = "; the film is taken as it lies in this file, and a player may show another"
    result = await copied(bench, "linked.mkv", "o.mkv")
    assert f"nas://linked.mkv has ordered chapters and links to other files{taken}" in result.warnings
    result = await copied(bench, "ordered.mkv", "p.mkv")
    assert f"nas://ordered.mkv has ordered chapters{taken}" in result.warnings


async def test_mkvmerge_keeps_ordered_chapters_and_links_and_warns_where_it_does_not(tmp_path: Path) -> None:
    bench = bench_in(tmp_path)
    linked(bench.root)
    assert (await merged(bench, "linked.mkv")).warnings == []
    result = await merged(bench_in(tmp_path), "linked.mkv", options={"no-chapters": None})
    lost = "which the new file has not: a player may show another film of it"
    assert result.warnings == [f"nas://linked.mkv has ordered chapters and links to other files, {lost}"]


async def test_a_film_of_one_of_several_files_is_a_warning(tmp_path: Path) -> None:
    bench = bench_in(tmp_path)
    plain = clip(tmp_path / "plain.mkv", picture="s=160x120:r=25", seconds=1)
    link = ("--link-to-next", "0x0123456789abcdef0123456789abcdef")
    subprocess.run(("mkvmerge", "-q", "-o", bench.root / "part.mkv", *link, plain), check=True, timeout=60)
    result = await copied(bench, "part.mkv", "o.mkv")
    assert any("part.mkv has links to other files; the film is taken as it lies" in each for each in result.warnings)


@pytest.mark.parametrize("module", ["hls", "ffmpeg", "thumbnail"])
async def test_a_cover_that_nothing_marks_is_not_taken_for_the_film(module: str, tmp_path: Path) -> None:
    bench = bench_in(tmp_path)
    film, cover = clip(tmp_path / "film.mp4", picture="s=160x120:r=25", seconds=1), tmp_path / "cover.jpg"
    ffmpeg("-f", "lavfi", "-i", "color=red:s=640x480", "-frames:v", "1", str(cover))
    maps = [part for number in ("0:0", "1:0", "1:1") for part in ("-map", number)]
    ffmpeg("-i", str(cover), "-i", str(film), *maps, "-c", "copy", str(bench.root / "film.mp4"))
    encoded = [{"specifier": "v", "options": X264}, {"specifier": "a", "options": {"codec": "aac"}}]
    data: dict[str, dict[str, Any]] = {
        "hls": {"source": "nas://film.mp4", "poster": False, "storyboard": False},
        "ffmpeg": {"sources": ["nas://film.mp4"], "output_maps": encoded, "output_file": "o.mp4"},
        "thumbnail": {"source": "nas://film.mp4", "output_file": "o.png"},
    }
    result = await bench.run_task(registry().tasks[module], data[module])
    name = "e1/120p/init.mp4" if module == "hls" else "o.png" if module == "thumbnail" else "o.mp4"
    made = (await bench.probe(result.outputs[name].path)).video
    assert made is not None
    assert (made.width, made.height) == (160, 120)
    assert module != "ffmpeg" or made.frames == 25
