"""Languages with script and region, kept through the modules."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
from typing import TYPE_CHECKING, Any

import pytest

from tests.support.hls import QUIET, Made
from tests.support.media import bench_in, clip
from worker.core.errors import InvalidJob
from worker.process.runner import ProcessRunner
from worker.tasks.ffmpeg import FfmpegTask
from worker.tasks.hls import HlsTask
from worker.tasks.mkvextract import MkvextractTask
from worker.tasks.probe import ProbeTask
from worker.testing import TaskBench

if TYPE_CHECKING:
    from pathlib import Path

SRT = "1\n00:00:00,500 --> 00:00:01,200\nA\n"
SOUNDS, TEXTS = ("pt-BR", "pt-PT", "sr-Latn-RS"), ("zh-Hans", "zh-Hant", "es-419")


@pytest.fixture
def bench(tmp_path: Path) -> TaskBench:
    """Return a bench with `tags.mkv`: a picture, three sounds and three subtitles in BCP 47."""
    bench = bench_in(tmp_path)
    film = clip(tmp_path / "film.mkv", sounds=3, seconds=2)
    (tmp_path / "a.srt").write_text(SRT)
    spoken = [part for number, tag in enumerate(SOUNDS, 1) for part in ("--language", f"{number}:{tag}")]
    written = [part for tag in TEXTS for part in ("--language", f"0:{tag}", str(tmp_path / "a.srt"))]
    argv = ("mkvmerge", "-q", "-o", str(bench.root / "tags.mkv"), *spoken, str(film), *written)
    subprocess.run(argv, check=True, timeout=60)
    return bench


def ietf(path: Path) -> list[str | None]:
    text = subprocess.run(("mkvmerge", "-J", str(path)), capture_output=True, check=True, timeout=60).stdout
    return [track["properties"].get("language_ietf") for track in json.loads(text)["tracks"]][1:]


def streaming(**data: Any) -> dict[str, Any]:
    return {"source": "nas://tags.mkv", "renditions": [{"height": 180}], **QUIET, **data}


def copying(output: str, subtitle: str = "copy") -> dict[str, Any]:
    copied = [{"specifier": kind, "stream": n, "options": {"codec": "copy"}} for kind in "va" for n in range(3)]
    texts = [{"specifier": "s", "stream": n, "options": {"codec": subtitle}} for n in range(3)]
    maps = [item for item in copied if item["specifier"] == "a" or item["stream"] == 0]
    return {"sources": ["nas://tags.mkv"], "source_maps": [{}], "output_maps": [*maps, *texts], "output_file": output}


async def test_hls_names_languages_with_their_script_and_region(bench: TaskBench, tmp_path: Path) -> None:
    made = Made(await bench.run_task(HlsTask(), streaming()), tmp_path / "published")
    assert {(item.language, item.name) for item in made.master().media} == {
        ("pt-BR", "Portuguese (Brazil)"),
        ("pt-PT", "Portuguese (Portugal)"),
        ("sr-Latn-RS", "Serbian (Latin, Serbia)"),
        ("zh-Hans", "Chinese (Simplified)"),
        ("zh-Hant", "Chinese (Traditional)"),
        ("es-419", "Spanish (Latin America)"),
    }


async def test_hls_picks_the_language_that_is_there(bench: TaskBench, tmp_path: Path) -> None:
    requested = [{"language": "pt-pt"}, {"language": "sr"}]
    made = Made(await bench.run_task(HlsTask(), streaming(audio=requested, subtitles=[])), tmp_path / "published")
    assert [item.language for item in made.master().media] == ["pt-PT", "sr"]
    with pytest.raises(InvalidJob, match=r"\(pt-BR, pt-PT, sr-Latn-RS\)"):
        await bench.run_task(HlsTask(), streaming(audio=[{"language": "pt-AO"}]))


async def test_mkvextract_picks_by_what_a_tag_means(bench: TaskBench) -> None:
    requested = [
        {"track_type": "subtitles", "language": "zh-hant", "filename": "hant.srt"},
        {"track_type": "audio", "language": "pt", "id": 1, "filename": "pt.aac"},
    ]
    result = await bench.run_task(MkvextractTask(), {"source": "nas://tags.mkv", "tracks": requested})
    assert set(result.outputs) == {"hant.srt", "pt.aac"}
    strange = [requested[0] | {"language": "en\n"}]
    with pytest.raises(InvalidJob, match="no language"):
        await bench.run_task(MkvextractTask(), {"source": "nas://tags.mkv", "tracks": strange})


async def test_ffmpeg_keeps_languages_from_matroska_to_matroska(bench: TaskBench) -> None:
    result = await bench.run_task(FfmpegTask(), copying("out.mkv"))
    assert ietf(result.outputs["out.mkv"].path) == [*SOUNDS, *TEXTS]
    assert not result.warnings


async def test_ffmpeg_keeps_a_language_that_the_job_gives(bench: TaskBench) -> None:
    data = copying("out.mkv")
    data["output_maps"][1]["options"] = {"codec": "copy", "metadata": {"language": "ger"}}
    result = await bench.run_task(FfmpegTask(), data)
    assert ietf(result.outputs["out.mkv"].path)[1:] == [*SOUNDS[1:], *TEXTS]


async def test_languages_that_a_container_cannot_say_are_reported(bench: TaskBench) -> None:
    result = await bench.run_task(FfmpegTask(), copying("out.mp4", "mov_text"))
    (warning,) = [text for text in result.warnings if "languages" in text]
    assert "pt-BR, pt-PT, sr-Latn-RS, zh-Hans, zh-Hant, es-419: this container holds none such" in warning


async def test_languages_that_this_worker_cannot_say_are_reported(tmp_path: Path, bench: TaskBench) -> None:
    tools = {name: path for name in ("ffmpeg", "ffprobe") if (path := shutil.which(name))}
    other = TaskBench(tmp_path / "other", ProcessRunner(dict(os.environ)), tools=tools)
    shutil.copy(bench.root / "tags.mkv", other.root)
    result = await other.run_task(FfmpegTask(), copying("out.mkv"))
    assert any("mkvpropedit is not here" in text for text in result.warnings)


async def test_the_probe_notes_whole_tags(bench: TaskBench) -> None:
    result = await bench.run_task(ProbeTask(), {"source": "nas://tags.mkv"})
    assert [tag for tag in (*SOUNDS, *TEXTS) if tag in json.dumps(result.facts)] == [*SOUNDS, *TEXTS]


async def test_ffmpeg_refuses_letters_of_another_charset_and_reads_them_when_it_is_said(bench: TaskBench) -> None:
    (bench.root / "latin.srt").write_bytes(SRT.replace("A", "Ça va très bien").encode("cp1252"))
    maps = [{"specifier": "s", "options": {"codec": "copy"}}]
    data = {"sources": ["nas://latin.srt"], "source_maps": [{}], "output_maps": maps, "output_file": "out.mkv"}
    with pytest.raises(Exception, match=r'latin\.srt is not UTF-8; it looks like cp1252.*"charset": "cp1252"'):
        await bench.run_task(FfmpegTask(), data)
    result = await bench.run_task(FfmpegTask(), data | {"charset": "cp1252"})
    argv = ("ffmpeg", "-v", "error", "-i", str(result.outputs["out.mkv"].path), "-f", "srt", "-c", "copy", "-")
    assert "Ça va très bien" in subprocess.run(argv, capture_output=True, check=True, timeout=60).stdout.decode()
    with pytest.raises(InvalidJob, match="no charset"):
        await bench.run_task(FfmpegTask(), data | {"charset": "klingon"})
