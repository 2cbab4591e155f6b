"""`loudness` on an output map of the ffmpeg module: two passes of EBU R128 on the real ffmpeg."""

from __future__ import annotations

import json
import re
import subprocess
from typing import TYPE_CHECKING, Any

import pytest

from tests.support.media import bench_in, ffmpeg
from worker.core.errors import InvalidJob
from worker.tasks.ffmpeg import FfmpegTask
from worker.testing import refusal

if TYPE_CHECKING:
    from pathlib import Path

QUIET_NOISE = "anoisesrc=a=0.02:d=6:c=pink:seed=1"
# Short bursts over quiet noise: a plain gain would push them over the top.
BURSTS = "anoisesrc=a=0.02:d=8:c=pink:seed=1,volume='if(lt(mod(t,2),0.1),12,1)':eval=frame"
LEVELLED = {"specifier": "a", "loudness": {"target": -23}}


def sound(path: Path, source: str, *more: str) -> Path:
    ffmpeg("-f", "lavfi", "-i", source, *more, "-c:a", "flac", str(path))
    return path


def measured(path: Path, stream: int = 0) -> tuple[float, float]:
    """Return the integrated loudness and the true peak of an audio stream."""
    argv = ("ffmpeg", "-nostdin", "-nostats", "-i", str(path), "-map", f"0:a:{stream}", "-af", "ebur128=peak=true")
    said = subprocess.run((*argv, "-f", "null", "-"), capture_output=True, text=True, check=True, timeout=60).stderr
    return (
        float(re.findall(r"I:\s+(-?[\d.]+) LUFS", said)[-1]),
        float(re.findall(r"Peak:\s+(-?[\d.]+|-inf) dBFS", said)[-1]),
    )


def asked(**options: Any) -> dict[str, Any]:
    return {
        "sources": ["nas://in.mka"],
        "source_maps": [{"specifier": "a", "stream": 0}],
        "output_maps": [LEVELLED | {"options": {"codec": "flac"}} | options],
        "output_file": "out.mka",
    }


@pytest.mark.parametrize(
    ("source", "target", "options"),
    [
        (QUIET_NOISE, -23, {"codec": "flac"}),
        (QUIET_NOISE, -16, {"codec": "libopus", "b": "96k"}),
        (BURSTS, -16, {"codec": "flac"}),
        (BURSTS, -23, {"codec": "aac", "b": "128k", "af": "highpass=f=120"}),
        (QUIET_NOISE, -30, {"codec": "flac", "ar": 22050}),
    ],
    ids=["quiet", "opus", "limited", "after a filter", "resampled"],
)
async def test_a_sound_measured_again_is_as_loud_as_asked(tmp_path, source, target, options):
    bench = bench_in(tmp_path)
    sound(bench.root / "in.mka", source)
    made = await bench.run_task(FfmpegTask(), asked(loudness={"target": target}, options=options))
    loudness, peak = measured(made.outputs["out.mka"].path)
    assert loudness == pytest.approx(target, abs=0.5)
    assert peak <= -0.4
    assert made.warnings == []
    assert made.facts["loudness.a:0.output"]["integrated"] == pytest.approx(loudness, abs=0.2)


async def test_the_level_is_that_of_the_mix_that_is_asked_for(tmp_path):
    bench = bench_in(tmp_path)
    six = f"{QUIET_NOISE},pan=5.1|c0=0.2*c0|c1=0.2*c0|c2=c0|c3=0*c0|c4=c0|c5=c0"
    sound(bench.root / "in.mka", six)
    made = await bench.run_task(FfmpegTask(), asked(options={"codec": "flac", "ac": 2}))
    path = made.outputs["out.mka"].path
    assert (await bench.probe(path)).audio[0].channels == 2
    assert measured(path)[0] == pytest.approx(-23, abs=0.5)


async def test_only_the_sound_that_asks_is_changed_and_only_the_part_that_is_taken_counts(tmp_path):
    bench = bench_in(tmp_path)
    # the first half is 20 dB louder, and the job takes the second one
    sound(bench.root / "one.flac", "anoisesrc=a=0.2:d=6:c=pink:seed=1,volume='if(lt(t,3),1,0.1)':eval=frame")
    sound(bench.root / "two.flac", QUIET_NOISE)
    both = ("-i", str(bench.root / "one.flac"), "-i", str(bench.root / "two.flac"))
    ffmpeg(*both, "-map", "0", "-map", "1", "-c", "copy", str(bench.root / "in.mka"))
    maps = [{"specifier": "a", "options": {"codec": "copy"}}, {"stream": 1, "loudness": {}, "options": {"c": "flac"}}]
    swapped = [{"specifier": "a", "stream": 1}, {"specifier": "a", "stream": 0}]
    data = asked() | {"source_maps": swapped, "output_maps": maps, "input_options": {"ss": 3}}
    made = await bench.run_task(FfmpegTask(), data)
    path = made.outputs["out.mka"].path
    assert measured(path, 0)[0] == pytest.approx(measured(bench.root / "two.flac")[0], abs=0.5)
    assert measured(path, 1)[0] == pytest.approx(-23, abs=0.5)


async def test_silence_is_left_alone(tmp_path):
    bench = bench_in(tmp_path)
    sound(bench.root / "in.mka", "anullsrc=d=2:r=48000")
    made = await bench.run_task(FfmpegTask(), asked())
    assert made.warnings == ["a:0 is silent, so its loudness was left alone"]
    assert measured(made.outputs["out.mka"].path)[1] == float("-inf")
    assert not any("volume" in argument for p in made.pipelines for s in p.stages for argument in s.argv)


async def test_a_target_that_the_peaks_forbid_is_reported(tmp_path):
    bench = bench_in(tmp_path)
    sound(bench.root / "in.mka", "sine=d=3:r=48000")
    made = await bench.run_task(FfmpegTask(), asked(loudness={"target": -5, "true_peak": -9}))
    assert len(made.warnings) == 1
    assert "not to -5 LUFS with peaks up to -9 dBTP" in made.warnings[0]
    assert measured(made.outputs["out.mka"].path)[1] <= -8.5


async def test_a_stored_set_that_copies_cannot_be_levelled(tmp_path):
    bench = bench_in(tmp_path)
    bench.option_sets["kept"] = {"codec": "copy"}
    error = await refusal(bench, FfmpegTask(), asked(option_set="kept", options={}))
    assert isinstance(error, InvalidJob)
    assert "output_maps[0].loudness: needs an encoder: a sound that is copied keeps its loudness" in str(error)


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"output_maps": [LEVELLED | {"options": {"codec": "copy"}}]}, "output_maps[0].loudness: needs an encoder"),
        ({"output_maps": [LEVELLED | {"specifier": "v"}]}, "asks for a loudness of a 'v' stream, which is no sound"),
        ({"source_maps": []}, "output_maps[0].loudness: needs source_maps"),
        (
            {"output_maps": [LEVELLED | {"options": {"codec": "flac", "af": "anull", "filter": "anull"}}]},
            "output_maps[0].options.filter: goes with no af",
        ),
        ({"output_maps": [LEVELLED | {"loudness": {"target": 3}}]}, "output_maps[0].loudness.target"),
    ],
    ids=["copy", "picture", "no map", "two chains", "out of range"],
)
async def test_a_loudness_that_cannot_be_is_refused_before_anything_runs(tmp_path, changes, words):
    bench = bench_in(tmp_path)
    error = await refusal(bench, FfmpegTask(), asked() | changes)
    assert isinstance(error, InvalidJob), repr(error)
    assert words in str(error)
    assert not bench.result.outputs


async def test_the_level_of_a_picture_by_its_number_is_refused(tmp_path):
    bench = bench_in(tmp_path)
    ffmpeg("-f", "lavfi", "-i", "testsrc2=s=64x64:d=1", "-c:v", "mpeg4", str(bench.root / "in.mkv"))
    maps = {"source_maps": [{"specifier": "v"}], "output_maps": [{"stream": 0, "loudness": {}}]}
    error = await refusal(bench, FfmpegTask(), asked() | maps | {"sources": ["nas://in.mkv"]})
    assert isinstance(error, InvalidJob)
    assert "means a video stream: 0 v:0 mpeg4" in str(error)
    assert json.dumps(bench.result.facts) == "{}"
