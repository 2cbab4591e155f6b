"""Subtitles of the hls module as people wrote them: marks, positions, styles, charsets, and how much of them."""

from __future__ import annotations

import subprocess
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import pytest

from tests.support.hls import QUIET, Made
from tests.support.loop import unharmed
from tests.support.media import bench_in, clip, ffmpeg
from worker.core.errors import BadInput, InvalidJob
from worker.tasks.hls import HlsTask

if TYPE_CHECKING:
    from pathlib import Path

    from worker.core.media_info import MediaInfo

CODE = (
    "1\n00:00:00,200 --> 00:00:00,900\nI <3 you\n\n2\n00:00:01,000 --> 00:00:01,900\nif a < b && c > d\n\n"
    "3\n00:00:02,000 --> 00:00:02,900\n{\\an8}arrow --> <b>AT&T</b>\n"
)
WRITTEN = ("I &lt;3 you", "if a &lt; b &amp;&amp; c &gt; d", "arrow --&gt; <b>AT&amp;T</b>")
STYLED = (
    "WEBVTT\n\nSTYLE\n::cue(.loud) { color: red }\n\nNOTE a note\n\nintro\n"
    "00:00:01.000 --> 00:00:02.000 line:10% align:start\n<c.loud>Loud</c> &lt;laughs&gt;\n\n"
    "00:00:02.200 --> 00:00:02.800\n<v Anna>Hi there</v>\n"
)
SIGNS = (
    "[Script Info]\nScriptType: v4.00+\nPlayResX: 384\nPlayResY: 288\n\n[V4+ Styles]\n"
    "Format: Name, Fontname, Fontsize, PrimaryColour, Bold, Italic, Alignment\nStyle: Default,Arial,16,&Hffffff,0,0,2\n"
    "\n[Events]\nFormat: Layer, Start, End, Style, Name, MarginL, MarginR, MarginV, Effect, Text\n"
    "Dialogue: 0,0:00:00.50,0:00:02.50,Default,,0,0,0,,spoken line\n"
    "Dialogue: 1,0:00:00.50,0:00:02.50,Default,,0,0,0,,{\\an7\\pos(10,10)\\p1}m 0 0 l 100 0 100 100{\\p0}\n"
    "Dialogue: 1,0:00:01.00,0:00:02.00,Default,,0,0,0,,{\\an8}at the top\n"
)
FILES = {"code.srt": CODE, "styled.vtt": STYLED, "signs.ass": SIGNS}


async def presented(folder: Path, *texts: dict[str, Any], film: tuple[str, ...] = (), **data: Any) -> Made:
    """Return a presentation of a clip of three seconds, of which `film` are ffmpeg's options for more inputs."""
    bench = bench_in(folder)
    clip(bench.root / "film.mkv", sounds=0)
    for name, text in FILES.items():
        (bench.root / name).write_text(text, "utf-8")
    if film:
        ffmpeg("-i", str(bench.root / "film.mkv"), *film, str(bench.root / "whole.mkv"))
        (bench.root / "whole.mkv").replace(bench.root / "film.mkv")
    requested = {"subtitles": list(texts)} if texts else {}
    job = {"source": "nas://film.mkv", "renditions": [{"height": 180}], "segment_time": 2, **QUIET, **requested, **data}
    return Made(await bench.run_task(HlsTask(), job), folder / "published")


async def test_less_than_and_ampersands_are_escaped_in_every_segment(tmp_path: Path) -> None:
    made = await presented(tmp_path, {"source": "nas://code.srt", "language": "en"})
    whole = made.text("e1/textfile0-en/all.vtt")
    for text in WRITTEN:
        assert text in whole
    first, second = (made.text(f"e1/textfile0-en/0000{number}.vtt") for number in (1, 2))
    assert (WRITTEN[0] in first, WRITTEN[1] in first, WRITTEN[2] in first) == (True, True, False)
    assert "--> 00:00:02.900 line:0\n" + WRITTEN[2] in second


async def test_a_webvtt_with_a_style_keeps_its_cues_and_the_style(tmp_path: Path) -> None:
    made = await presented(tmp_path, {"source": "nas://styled.vtt", "language": "en"})
    for name in ("00001", "00002", "all"):
        assert "\n\nSTYLE\n::cue(.loud) { color: red }\n\n" in made.text(f"e1/textfile0-en/{name}.vtt")
    assert "line:10% align:start\n<c.loud>Loud</c> &lt;laughs&gt;" in made.text("e1/textfile0-en/00001.vtt")
    assert "<v Anna>Hi there</v>" in made.text("e1/textfile0-en/00002.vtt")
    assert not made.result.warnings


async def test_drawings_are_no_cues_and_positions_are_kept_in_a_cue_over_two_segments(tmp_path: Path) -> None:
    made = await presented(tmp_path, {"source": "nas://signs.ass", "language": "en"})
    for name in ("00001", "00002"):
        text = made.text(f"e1/textfile0-en/{name}.vtt")
        assert "m 0 0 l" not in text
        assert "00:00:00.500 --> 00:00:02.500\nspoken line" in text
    assert "line:0\nat the top" in made.text("e1/textfile0-en/00001.vtt")


@pytest.mark.parametrize("codec", ["srt", "ass", "mov_text"])
async def test_texts_inside_of_the_film_are_read_as_files_are(tmp_path: Path, codec: str) -> None:
    (tmp_path / "in.srt").write_text(CODE, "utf-8")
    (tmp_path / "in.ass").write_text(SIGNS, "utf-8")
    source = tmp_path / ("in.ass" if codec == "ass" else "in.srt")
    if codec == "mov_text":
        bench = bench_in(tmp_path)
        film = clip(tmp_path / "plain.mp4", sounds=0)
        (tmp_path / "plain.srt").write_text("1\n00:00:00,500 --> 00:00:02,500\nfish & chips\n", "utf-8")
        options = ("-map", "0", "-map", "1", "-c", "copy", "-c:s", "mov_text")
        ffmpeg("-i", str(film), "-i", str(tmp_path / "plain.srt"), *options, str(bench.root / "film.mp4"))
        job = {"source": "nas://film.mp4", "renditions": [{"height": 180}], **QUIET}
        made = Made(await bench.run_task(HlsTask(), job), tmp_path / "published")
        assert "fish &amp; chips" in made.text("e1/text0-und/all.vtt")
        return
    made = await presented(tmp_path, film=("-i", str(source), "-map", "0", "-map", "1", "-c", "copy"))
    text = made.text("e1/text0-und/all.vtt")
    assert "m 0 0" not in text
    for written in ("spoken line", "at the top") if codec == "ass" else WRITTEN:
        assert written in text


@pytest.mark.parametrize("packing", ["none", "zlib"])
async def test_a_webvtt_track_that_mkvmerge_made_keeps_texts_times_positions_and_styles(
    tmp_path: Path, packing: str
) -> None:
    bench = bench_in(tmp_path)
    film = clip(tmp_path / "plain.mkv", sounds=0)
    (tmp_path / "in.vtt").write_text(STYLED.replace("<v Anna>", "<00:00:02.500>"), "utf-8")
    merged = (bench.root / "film.mkv", film, "--language", "0:de", "--compression", f"0:{packing}", tmp_path / "in.vtt")
    subprocess.run(("mkvmerge", "-q", "-o", *merged), check=True, timeout=60)
    texts = [{"source": "nas://film.mkv", "language": "en"}, {"stream": 0}]
    job = {"source": "nas://film.mkv", "renditions": [{"height": 180}], **QUIET, "subtitles": texts}
    made = Made(await bench.run_task(HlsTask(), job), tmp_path / "published")
    for name in ("textfile0-en", "text0-de"):
        whole = made.text(f"e1/{name}/all.vtt")
        assert "\n\nSTYLE\n::cue(.loud) { color: red }\n\n" in whole
        assert (
            "00:00:01.000 --> 00:00:02.000 line:10% align:start\n<c.loud>Loud</c> &lt;laughs&gt;\n\n"
            "00:00:02.200 --> 00:00:02.800\n<00:00:02.500>Hi there"
        ) in whole
    assert not made.result.warnings


@pytest.mark.parametrize("start", [-0.023, 0.0])
async def test_the_cues_of_a_track_are_on_the_pictures_clock_where_the_priming_of_sound_begins_before_zero(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, start: float
) -> None:
    """ffprobe 7 says such a start of a file; ffprobe 5 says zero of the same."""
    bench = bench_in(tmp_path)
    (tmp_path / "in.vtt").write_text(STYLED, "utf-8")
    film = clip(tmp_path / "plain.mkv", sounds=1)
    merged = (bench.root / "film.mkv", film, tmp_path / "in.vtt")
    subprocess.run(("mkvmerge", "-q", "-o", *merged), check=True, timeout=60)
    read = bench.probe

    async def probe(path: Path) -> MediaInfo:
        return replace(await read(path), start=start)

    monkeypatch.setattr(bench, "probe", probe)
    job = {"source": "nas://film.mkv", "renditions": [{"height": 180}], **QUIET}
    made = Made(await bench.run_task(HlsTask(), job), tmp_path / "published")
    assert "00:00:01.000 --> 00:00:02.000" in made.text("e1/text0-und/all.vtt")


async def test_a_container_of_subtitles_is_a_source_too(tmp_path: Path) -> None:
    bench = bench_in(tmp_path)
    (tmp_path / "in.srt").write_text(CODE, "utf-8")
    ffmpeg("-i", str(tmp_path / "in.srt"), "-c", "copy", "-f", "matroska", str(bench.root / "texts.mks"))
    made = await presented(tmp_path, {"source": "nas://texts.mks", "language": "en"})
    assert WRITTEN[1] in made.text("e1/textfile0-en/all.vtt")
    with pytest.raises(InvalidJob, match=r"film\.mkv: its file holds no subtitles"):
        await presented(tmp_path, {"source": "nas://film.mkv", "language": "en"})


async def test_letters_that_are_no_utf_8_need_a_charset_and_get_it(tmp_path: Path) -> None:
    bench = bench_in(tmp_path)
    text = "1\n00:00:00,500 --> 00:00:01,200\nÇa va très bien\n"
    (bench.root / "latin.srt").write_bytes(text.encode("cp1252"))
    one = {"source": "nas://latin.srt", "language": "fr"}
    with pytest.raises(BadInput, match=r'nas://latin\.srt is not UTF-8; it looks like cp1252.*"charset": "cp1252"'):
        await presented(tmp_path, one)
    made = await presented(tmp_path, one | {"charset": "windows-1252"})
    assert "Ça va très bien" in made.text("e1/textfile0-fr/all.vtt")
    with pytest.raises(InvalidJob, match="no charset"):
        await presented(tmp_path, one | {"charset": "klingon"})


async def test_cues_that_every_segment_would_repeat_are_refused(tmp_path: Path) -> None:
    bench = bench_in(tmp_path)
    line = "00:00:00,{:03d} --> 00:10:00,000\n" + "x" * 1500 + "{}\n\n"
    (bench.root / "bomb.srt").write_text("".join(line.format(n % 999, n) for n in range(10_000)))
    # the text is 15 MB, which is read, decoded and split
    async with unharmed(256):
        with pytest.raises(BadInput, match="more than 32 MiB"):
            await presented(tmp_path, {"source": "nas://bomb.srt", "language": "en"}, segment_time=1)
