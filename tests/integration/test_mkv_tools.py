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
    requested = [{"name": "A.ttf", "filename": "font.ttf"}, {"id": 1, "filename": "cover.png"}]
    result = await bench.run_task(MkvextractTask(), {"source": "out.mkv", "attachments": requested})
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


async def test_warnings_are_success_and_are_reported(bench: TaskBench) -> None:
    later = "1\n00:00:01,000 --> 00:00:01,500\nb\n\n2\n00:00:00,100 --> 00:00:00,500\na\n"
    (bench.root / "later.srt").write_text(later)
    result = await bench.run_task(MkvmergeTask(), job(sources=["nas://later.srt"], tracks=[{"source": 0, "track": 0}]))
    assert result.warnings
    assert "out.mkv" in result.outputs


async def test_a_source_cut_short_makes_no_output(bench: TaskBench) -> None:
    whole = clip(bench.root / "long.mkv", seconds=6).read_bytes()
    (bench.root / "cut.mkv").write_bytes(whole[: len(whole) // 3])
    with pytest.raises(BadInput, match=r"lasts 2.* instead of 6"):
        await bench.run_task(MkvmergeTask(), job(sources=["nas://cut.mkv"], tracks=[{"source": 0, "track": 0}]))


async def test_a_file_without_media_is_bad_input(bench: TaskBench) -> None:
    (bench.root / "noise.mkv").write_bytes(bytes(range(256)) * 40)
    with pytest.raises(BadInput):
        await bench.run_task(MkvmergeTask(), job(sources=["nas://noise.mkv"], tracks=[{"source": 0, "track": 0}]))


async def test_the_nth_track_of_a_type_and_language_is_extracted(bench: TaskBench) -> None:
    await bench.run_task(MkvmergeTask(), job())
    requested = [
        {"id": 0, "track_type": "audio", "language": "ja", "filename": "ja.aac"},
        {"id": 0, "track_type": "subtitles", "filename": "text.srt"},
    ]
    data = {"source": "out.mkv", "tracks": requested, "timestamps": [{"id": 0, "filename": "times.txt"}]}
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


LATIN = "1\n00:00:00,500 --> 00:00:01,200\nÇa va très bien\n"


def said(path: Path) -> str:
    argv = ("ffmpeg", "-v", "error", "-i", str(path), "-map", "0:s:0", "-c", "copy", "-f", "srt", "-")
    return subprocess.run(argv, capture_output=True, check=True, timeout=60).stdout.decode()


async def merged_text(bench: TaskBench, options: dict[str, Any], **source: Any) -> str:
    (bench.root / "latin.srt").write_bytes(LATIN.encode("cp1252"))
    sources = [{"filename": "nas://latin.srt", **source}]
    tracks = [{"source": 0, "track": 0, "options": options}]
    result = await bench.run_task(MkvmergeTask(), job(sources=sources, tracks=tracks))
    return said(result.outputs["out.mkv"].path)


async def test_a_subtitle_that_is_no_utf_8_is_refused_with_its_charset_and_read_with_it(bench: TaskBench) -> None:
    with pytest.raises(BadInput, match=r'latin\.srt is not UTF-8; it looks like cp1252.*"charset": "cp1252"'):
        await merged_text(bench, {})
    assert "Ça va très bien" in await merged_text(bench, {}, charset="cp1252")
    assert "Ça va très bien" in await merged_text(bench, {"sub-charset": "windows-1252"})


async def test_an_unknown_charset_and_one_for_a_container_are_refused(bench: TaskBench) -> None:
    with pytest.raises(InvalidJob, match=r"options\.sub-charset: 'klingon' is no charset"):
        await merged_text(bench, {"sub-charset": "klingon"})
    with pytest.raises(InvalidJob, match="'klingon' is no charset"):
        await merged_text(bench, {}, charset="klingon")
    sources = [{"filename": "nas://film.mkv", "charset": "cp1252"}]
    with pytest.raises(InvalidJob, match=r"sources\[0\]\.charset: is for subtitle files"):
        await bench.run_task(MkvmergeTask(), job(sources=sources, tracks=[{"track": 0}]))


async def test_utf_16_with_a_mark_is_read(bench: TaskBench) -> None:
    (bench.root / "wide.srt").write_bytes(LATIN.encode("utf-16"))
    result = await bench.run_task(MkvmergeTask(), job(sources=["nas://wide.srt"], tracks=[{"track": 0}]))
    assert "Ça va très bien" in said(result.outputs["out.mkv"].path)


async def test_chapters_are_read_in_their_charset(bench: TaskBench) -> None:
    ogm = "CHAPTER01=00:00:00.000\nCHAPTER01NAME=Café\n"
    (bench.root / "latin.txt").write_bytes(ogm.encode("cp1252"))
    document = (
        "<?xml version='1.0' encoding='windows-1252'?><Chapters><EditionEntry><ChapterAtom><ChapterTimeStart>00:00:00"
        "</ChapterTimeStart><ChapterDisplay><ChapterString>Café</ChapterString></ChapterDisplay></ChapterAtom>"
        "</EditionEntry></Chapters>"
    )
    (bench.root / "latin.xml").write_bytes(document.encode("cp1252"))
    only = [{"source": 0, "track": 0}]
    with pytest.raises(BadInput, match=r"latin\.txt is not UTF-8; it looks like"):
        await bench.run_task(MkvmergeTask(), job(tracks=only, chapters="nas://latin.txt"))
    for name, charset in (("latin.txt", "cp1252"), ("latin.xml", None)):
        data = job(tracks=only, chapters=f"nas://{name}", chapters_charset=charset, overwrite=True)
        await bench.run_task(MkvmergeTask(), data)
        result = await bench.run_task(MkvextractTask(), {"source": "out.mkv", "chapters": f"{name}.out"})
        assert "Café" in result.outputs[f"{name}.out"].path.read_text("utf-8")


@pytest.mark.parametrize(
    "options",
    [
        {"track-name": "Director "},
        {"track-name": " Two\t"},
        {"language": "pt-br"},
        {"language": "iw"},
        {"language": "zh-cmn-hans"},
        {"language": "sgn-us"},
        {"track-name": "  "},
        {"default-track-flag": "TRUE"},
    ],
)
async def test_values_that_mkvmerge_writes_in_its_own_form_match_those_of_the_job(
    bench: TaskBench, options: dict[str, Any]
) -> None:
    result = await bench.run_task(MkvmergeTask(), job(tracks=[{"source": 1, "track": 0, "options": options}]))
    assert "out.mkv" in result.outputs


@pytest.mark.parametrize(
    "options",
    [
        {"cues": "bogus"}, {"aspect-ratio": "1/0"}, {"display-dimensions": "x"}, {"cropping": "1"},
        {"stereo-mode": "x"}, {"compression": "x"}, {"color-range": "x"}, {"max-luminance": "x"}, {"sync": "x"},
        {"default-duration": "x"}, {"field-order": "x"}, {"aac-is-sbr": "x"}, {"min-luminance": "-"},
    ],
)  # fmt: skip
async def test_values_that_mkvmerge_refuses_are_refused_for_good(bench: TaskBench, options: dict[str, Any]) -> None:
    with pytest.raises(InvalidJob, match="mkvmerge exited 2"):
        await bench.run_task(MkvmergeTask(), job(tracks=[{"source": 0, "track": 0, "options": options}]))


async def test_chapters_that_are_none_and_an_empty_attachment_are_refused_for_good(bench: TaskBench) -> None:
    (bench.root / "empty.bin").touch()
    with pytest.raises(BadInput, match="Unknown chapter file format"):
        await bench.run_task(MkvmergeTask(), job(chapters="nas://text.srt"))
    with pytest.raises(BadInput, match=r"the attachment nas://empty\.bin is empty"):
        await bench.run_task(MkvmergeTask(), job(attachments=[{"filename": "nas://empty.bin"}]))


async def test_one_track_is_extracted_twice(bench: TaskBench) -> None:
    tracks = [{"id": 1, "filename": name} for name in ("a.aac", "b.aac")]
    times = [{"id": 0, "filename": name} for name in ("a.txt", "b.txt")]
    data = {"source": "nas://film.mkv", "tracks": tracks, "timestamps": times}
    outputs = (await bench.run_task(MkvextractTask(), data)).outputs
    assert outputs["a.aac"].path.read_bytes() == outputs["b.aac"].path.read_bytes() != b""
    assert outputs["a.txt"].path.read_bytes() == outputs["b.txt"].path.read_bytes() != b""


async def test_tracks_are_chosen_by_what_they_are_the_first_or_all(bench: TaskBench) -> None:
    chosen = [
        {"track_type": "video"},
        {"language": "eng", "track_type": "audio"},
        {"source": 1, "codec": "srt", "options": {"language": "eng"}},
    ]
    result = await bench.run_task(MkvmergeTask(), job(tracks=chosen))
    assert [(kind, tag) for kind, tag, *_ in tracks(result.outputs["out.mkv"].path)] == [
        ("video", "und"),
        ("audio", "eng"),
        ("subtitles", "eng"),
    ]
    every = [{"track_type": "audio", "every": True}, {"track_type": "video"}]
    result = await bench.run_task(MkvmergeTask(), job(tracks=every, output_file="all.mkv"))
    assert [kind for kind, *_ in tracks(result.outputs["all.mkv"].path)] == ["audio", "audio", "video"]
    with pytest.raises(InvalidJob) as caught:
        await bench.run_task(MkvmergeTask(), job(tracks=[{"track_type": "audio", "language": "fra"}]))
    assert "tracks[0]: no track of source 0 is audio, language fra; it has 0 video h264" in str(caught.value)
    twice = [{"track_type": "audio", "every": True}, {"language": "eng"}]
    with pytest.raises(InvalidJob, match="for the second time"):
        await bench.run_task(MkvmergeTask(), job(tracks=twice))
