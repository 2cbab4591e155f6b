"""mkvmerge and mkvextract as tasks, on the real tools."""

from __future__ import annotations

import json
import subprocess
from typing import TYPE_CHECKING, Any

import pytest

from tests.support.media import bench_in, clip, ffmpeg
from worker.core.errors import BadInput, InvalidJob
from worker.tasks.mkvextract import MkvextractTask
from worker.tasks.mkvmerge import MkvmergeTask

if TYPE_CHECKING:
    from pathlib import Path

    from worker.testing import TaskBench

SRT = "1\n00:00:00,500 --> 00:00:01,200\nGood evening\n"


@pytest.fixture
def bench(tmp_path: Path) -> TaskBench:
    bench = bench_in(tmp_path)
    clip(bench.root / "film.mkv", sounds=2, seconds=2)
    (bench.root / "text.srt").write_text(SRT, "utf-8")
    return bench


def tracks(path: Path) -> list[tuple[str, str, str, bool]]:
    text = subprocess.run(("mkvmerge", "-J", str(path)), capture_output=True, check=True, timeout=60).stdout
    found = []
    for track in json.loads(text)["tracks"]:
        properties = track["properties"]
        found.append(
            (track["type"], properties["language"], properties.get("track_name", ""), properties["default_track"])
        )
    return found


def job(**data: Any) -> dict[str, Any]:
    base: dict[str, Any] = {
        "sources": ["nas://film.mkv", "nas://text.srt"],
        "tracks": [
            {"source": 0, "track": 0, "options": {"language": "und", "default-track": "yes", "title": "A 'film', é"}},
            {"source": 0, "track": 2, "options": {"language": "jpn", "default-track": "yes"}},
            {"source": 1, "track": 0, "options": {"language": "eng", "default-track": "no", "track-title": "Full"}},
        ],
        "output_file": "out.mkv",
        "options": {"no-global-tags": None, "no-track-tags": None, "title": "@Awesome: --title"},
    }
    return base | data


async def test_tracks_get_their_order_languages_names_and_defaults(bench: TaskBench) -> None:
    result = await bench.run_task(MkvmergeTask(), job())
    made = result.outputs["out.mkv"]
    assert tracks(made.path) == [
        ("video", "und", "A 'film', é", True),
        ("audio", "jpn", "", True),
        ("subtitles", "eng", "Full", False),
    ]
    assert made.duration == pytest.approx(2, abs=0.2)
    assert [report.fraction for report in result.reports][-1] == 1


async def test_no_track_comes_along_that_is_not_listed(bench: TaskBench) -> None:
    only = [{"source": 0, "track": 1}]
    result = await bench.run_task(MkvmergeTask(), job(tracks=only))
    assert [kind for kind, *_ in tracks(result.outputs["out.mkv"].path)] == ["audio"]


async def test_a_source_may_copy_all_of_a_kind(bench: TaskBench) -> None:
    sources = [{"filename": "nas://film.mkv", "options": {"_copy-audio-tracks": True}}]
    result = await bench.run_task(MkvmergeTask(), job(sources=sources, tracks=[{"source": 0, "track": 0}]))
    assert [kind for kind, *_ in tracks(result.outputs["out.mkv"].path)] == ["video", "audio", "audio"]


async def test_attachments_come_from_files_and_folders_and_go_out_again(bench: TaskBench) -> None:
    (bench.root / "fonts").mkdir()
    (bench.root / "fonts/A.ttf").write_bytes(b"\x00\x01\x00\x00" + bytes(100))
    (bench.root / "fonts/strange.zzz").write_bytes(b"?")
    (bench.root / "fonts/deeper").mkdir()
    ffmpeg("-f", "lavfi", "-i", "color=red:s=32x32", "-frames:v", "1", str(bench.root / "cover.png"))
    attachments = [{"filename": "nas://cover.png", "name": "cover.png", "mime_type": "image/png"}]
    await bench.run_task(MkvmergeTask(), job(attachments=attachments, attachment_directories=["nas://fonts/"]))
    wishes = [{"name": "A.ttf", "filename": "font.ttf"}, {"id": 1, "filename": "cover.png"}]
    result = await bench.run_task(MkvextractTask(), {"source": "out.mkv", "attachments": wishes})
    assert result.outputs["font.ttf"].path.read_bytes() == (bench.root / "fonts/A.ttf").read_bytes()
    assert result.outputs["cover.png"].path.read_bytes() == (bench.root / "cover.png").read_bytes()
    with pytest.raises(InvalidJob, match=r"attachments\[0\].*1 cover.png, 2 A.ttf"):
        await bench.run_task(
            MkvextractTask(), {"source": "out.mkv", "attachments": [{"name": "strange.zzz", "filename": "x"}]}
        )


async def test_a_track_that_its_source_lacks_is_refused_by_its_place(bench: TaskBench) -> None:
    with pytest.raises(InvalidJob) as caught:
        await bench.run_task(MkvmergeTask(), job(tracks=[{"source": 1, "track": 4}]))
    (problem,) = caught.value.problems
    assert (problem.path, problem.message) == ("tracks[0].track", "is 4, but nas://text.srt has the tracks 0")


async def test_warnings_are_success_and_are_told(bench: TaskBench) -> None:
    (bench.root / "latin.srt").write_bytes(SRT.replace("Good", "G\xfcnstig").encode("latin-1"))
    result = await bench.run_task(MkvmergeTask(), job(sources=["nas://latin.srt"], tracks=[{"source": 0, "track": 0}]))
    assert result.warnings
    assert "out.mkv" in result.outputs


async def test_a_source_cut_short_makes_no_output(bench: TaskBench) -> None:
    whole = clip(bench.root / "long.mkv", seconds=6).read_bytes()
    (bench.root / "cut.mkv").write_bytes(whole[: len(whole) // 3])
    with pytest.raises(BadInput, match=r"lasts 2.* instead of 6"):
        await bench.run_task(MkvmergeTask(), job(sources=["nas://cut.mkv"], tracks=[{"source": 0, "track": 0}]))


async def test_what_is_no_media_is_bad_input(bench: TaskBench) -> None:
    (bench.root / "noise.mkv").write_bytes(bytes(range(256)) * 40)
    with pytest.raises(BadInput):
        await bench.run_task(MkvmergeTask(), job(sources=["nas://noise.mkv"], tracks=[{"source": 0, "track": 0}]))


async def test_the_nth_track_of_a_type_and_language_is_extracted(bench: TaskBench) -> None:
    await bench.run_task(MkvmergeTask(), job())
    wishes = [
        {"id": 0, "track_type": "audio", "language": "ja", "filename": "ja.aac"},
        {"id": 0, "track_type": "subtitles", "filename": "text.srt"},
    ]
    data = {"source": "out.mkv", "tracks": wishes, "timestamps": [{"id": 0, "filename": "times.txt"}]}
    result = await bench.run_task(MkvextractTask(), data)
    assert "Good evening" in result.outputs["text.srt"].path.read_text("utf-8")
    assert result.outputs["times.txt"].path.read_text("utf-8").startswith("# timestamp")
    assert (await bench.probe(result.outputs["ja.aac"].path)).audio[0].codec == "aac"
    with pytest.raises(InvalidJob, match=r"tracks\[0\]: fr audio number 0 is not among 0 video und"):
        await bench.run_task(
            MkvextractTask(),
            {"source": "out.mkv", "tracks": [{"track_type": "audio", "language": "fr", "filename": "x"}]},
        )


async def test_chapters_tags_and_cues_go_into_files(bench: TaskBench) -> None:
    (bench.root / "c.txt").write_text("CHAPTER01=00:00:00.000\nCHAPTER01NAME=One\n", "utf-8")
    await bench.run_task(MkvmergeTask(), job(chapters="nas://c.txt", options={}))
    data = {"source": "out.mkv", "chapters": "c.xml", "tags": "t.xml", "cues": [{"id": 0, "filename": "cues.txt"}]}
    result = await bench.run_task(MkvextractTask(), data)
    assert "One" in result.outputs["c.xml"].path.read_text("utf-8")
    assert "<Tags>" in result.outputs["t.xml"].path.read_text("utf-8")
    assert "timestamp=" in result.outputs["cues.txt"].path.read_text("utf-8")
    with pytest.raises(BadInput, match="has no chapters"):
        await bench.run_task(MkvextractTask(), {"source": "nas://film.mkv", "chapters": "none.xml"})
