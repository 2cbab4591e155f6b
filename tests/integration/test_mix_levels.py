"""A loud film of many channels keeps its level in stereo, whatever it was coded with, and whatever it becomes."""

from __future__ import annotations

import re
import subprocess
from typing import TYPE_CHECKING

import pytest

from tests.support.hls import make
from tests.support.media import bench_in, ffmpeg
from worker.tasks.ffmpeg import FfmpegTask

if TYPE_CHECKING:
    from pathlib import Path

CODED: dict[str, tuple[int, tuple[str, ...]]] = {
    "5.1.flac": (6, ("-c:a", "flac")),
    "7.1.flac": (8, ("-c:a", "flac")),
    "5.1.ac3": (6, ("-c:a", "ac3", "-b:a", "640k")),
    "5.1.eac3": (6, ("-c:a", "eac3", "-b:a", "640k")),
    "5.1.dts": (6, ("-c:a", "dca", "-strict", "-2", "-b:a", "1500k")),
    "quad.wav": (4, ("-c:a", "pcm_f32le")),
}
LAYOUTS = {4: "quad", 6: "5.1", 8: "7.1"}
ENCODERS_ADD = 0.4
"""What a lossy encoder may add to a peak, in dB."""


NOISY: dict[str, tuple[str, ...]] = {
    "noise.flac": ("-c:a", "flac"),
    "noise.ac3": ("-c:a", "ac3", "-b:a", "640k"),
    "noise.eac3": ("-c:a", "eac3", "-b:a", "384k"),
    "noise.m4a": ("-c:a", "aac", "-b:a", "384k"),
    "noise.opus": ("-c:a", "libopus", "-mapping_family", "1", "-b:a", "384k"),
}
"""Noise at full scale: all of these codecs but FLAC decode it above."""
ABOVE = 2.0
"""dBFS."""


@pytest.fixture(scope="module")
def noises(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a folder of the same 5.1 noise, clipped at full scale, in every codec."""
    folder = tmp_path_factory.mktemp("noises")
    wave = "|".join(f"clip(4*(random({index})-0.5)\\,-0.99\\,0.99)" for index in range(6))
    ffmpeg("-f", "lavfi", "-i", f"aevalsrc={wave}:c=5.1:s=48000:d=0.5", "-c:a", "pcm_s16le", str(folder / "plain.wav"))
    for name, coding in NOISY.items():
        ffmpeg("-i", str(folder / "plain.wav"), *coding, str(folder / name))
    return folder


@pytest.fixture(scope="module")
def sounds(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a folder of sounds that are at full scale in every channel at once."""
    folder = tmp_path_factory.mktemp("loud")
    for name, (channels, coding) in CODED.items():
        wave = "|".join(["0.99*sin(2*PI*440*t)"] * channels)
        ffmpeg("-f", "lavfi", "-i", f"aevalsrc={wave}:c={LAYOUTS[channels]}:d=0.4", *coding, str(folder / name))
    return folder


def peak(path: Path) -> float:
    argv = ("ffmpeg", "-hide_banner", "-nostdin", "-i", str(path), "-af", "astats", "-f", "null", "-")
    said = subprocess.run(argv, capture_output=True, text=True, check=True, timeout=60).stderr
    return float(re.findall(r"Peak level dB: (-?[\d.]+)", said)[-1])


@pytest.mark.parametrize("name", CODED)
async def test_a_mix_by_ffmpeg_stays_within_full_scale(name: str, sounds: Path, tmp_path: Path) -> None:
    bench = bench_in(tmp_path)
    (bench.root / name).hardlink_to(sounds / name)
    maps = [{"specifier": "a", "options": {"codec": "aac", "ac": 2, "b": "256k"}}]
    data = {"sources": [f"nas://{name}"], "source_maps": [{"specifier": "a"}], "output_maps": maps}
    result = await bench.run_task(FfmpegTask(), data | {"output_file": "o.mka"})
    assert peak(result.outputs["o.mka"].path) == pytest.approx(0.0, abs=ENCODERS_ADD)


@pytest.mark.parametrize("name", ["7.1.flac", "5.1.eac3", "5.1.dts"])
async def test_a_mix_of_a_presentation_stays_within_full_scale(name: str, sounds: Path, tmp_path: Path) -> None:
    made = await make(tmp_path, sounds / name)
    (variant,) = made.master().playlists
    assert peak(made.whole(variant.uri)) == pytest.approx(0.0, abs=ENCODERS_ADD)


async def mixed(name: str, encoder: str, output: str, noises: Path, tmp_path: Path) -> float:
    """Return the peak of a noise in stereo."""
    bench = bench_in(tmp_path)
    (bench.root / name).hardlink_to(noises / name)
    maps = [{"specifier": "a", "options": {"codec": encoder, "ac": 2}}]
    data = {"sources": [f"nas://{name}"], "source_maps": [{"specifier": "a"}], "output_maps": maps}
    made = (await bench.run_task(FfmpegTask(), data | {"output_file": output})).outputs[output]
    assert made.duration == pytest.approx(0.5, abs=0.06)
    return peak(made.path)


@pytest.mark.parametrize("name", NOISY)
async def test_decoded_sound_above_full_scale_is_limited_in_the_mix(name: str, noises: Path, tmp_path: Path) -> None:
    assert (peak(noises / name) > ABOVE) == (name != "noise.flac")
    assert await mixed(name, "flac", "o.flac", noises, tmp_path) == pytest.approx(0.0, abs=0.1)


@pytest.mark.parametrize(("encoder", "output", "name"), [("aac", "o.m4a", "noise.eac3"), ("ac3", "o.ac3", "noise.m4a")])
async def test_an_encoder_adds_no_more_to_a_loud_mix_than_to_one_within_full_scale(
    encoder: str, output: str, name: str, noises: Path, tmp_path: Path
) -> None:
    within = await mixed("noise.flac", encoder, output, noises, tmp_path / "within")
    assert await mixed(name, encoder, output, noises, tmp_path / "above") <= within + 0.3
