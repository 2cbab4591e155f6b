"""Runs of the hls module, and what a player or a probe makes of their files."""

from __future__ import annotations

import json
import shutil
import subprocess
from typing import TYPE_CHECKING, Any

import m3u8

from tests.support.media import bench_in
from worker.tasks.hls import HlsTask

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from worker.testing import BenchResult

QUIET = {"poster": False, "storyboard": False}
SRT = "1\n00:00:00,500 --> 00:00:01,200\nGood <i>evening</i>\n\n2\n00:00:01,800 --> 00:00:02,600\nÜber alles\n"


class Made:
    """What a run of the hls module staged, written out as a reader would find it."""

    def __init__(self, result: BenchResult, folder: Path) -> None:
        self.result = result
        self.folder = folder
        for location, staged in result.outputs.items():
            target = folder / location.split("://")[-1]
            target.parent.mkdir(parents=True, exist_ok=True)
            target.write_bytes(staged.path.read_bytes())

    def text(self, name: str) -> str:
        return (self.folder / name).read_text("utf-8")

    def master(self, name: str = "master.m3u8") -> m3u8.M3U8:
        return m3u8.loads(self.text(name))

    def whole(self, playlist: str) -> Path:
        """Return one file of an fMP4 playlist's initialisation and segments."""
        listed = m3u8.loads(self.text(playlist))
        home = (self.folder / playlist).parent
        target = home / "whole.mp4"
        parts = [home / listed.segment_map[0].uri] if listed.segment_map else []
        parts += [home / segment.uri for segment in listed.segments]
        target.write_bytes(b"".join(part.read_bytes() for part in parts))
        return target


async def make(tmp_path: Path, source: Path, tools: Mapping[str, str] | None = None, **data: Any) -> Made:
    bench = bench_in(tmp_path, **(tools or {}))
    shutil.copy(source, bench.root)
    result = await bench.run_task(HlsTask(), {"source": f"nas://{source.name}", **QUIET, **data})
    return Made(result, tmp_path / "published")


def probe(path: Path, *entries: str) -> dict[str, Any]:
    argv = ("ffprobe", "-v", "error", "-show_streams", "-show_packets", "-of", "json", *entries, str(path))
    return json.loads(subprocess.run(argv, capture_output=True, check=True, timeout=60).stdout)


def heard_loudness(path: Path) -> str:
    argv = ("ffmpeg", "-nostdin", "-nostats", "-i", str(path), "-af", "ebur128=peak=true", "-f", "null", "-")
    return subprocess.run(argv, capture_output=True, text=True, check=True, timeout=60).stderr


def keyframes(path: Path) -> list[str]:
    packets = probe(path, "-select_streams", "v")["packets"]
    return [packet["pts_time"] for packet in packets if packet["flags"].startswith("K")]


def argvs(made: Made) -> list[str]:
    return [" ".join(stage.argv) for pipeline in made.result.pipelines for stage in pipeline.stages]
