"""A file's name says nothing to a tool: no pattern, no protocol, no option; what is published has the name as asked."""

from __future__ import annotations

import re
import shutil
import subprocess
from typing import TYPE_CHECKING, Any
from urllib.parse import unquote

import m3u8
import pytest

from tests.support.hls import make
from tests.support.media import bench_in, clip, ffmpeg
from worker.registry import Registry

if TYPE_CHECKING:
    from pathlib import Path

NAMES = ("[Group] a{b,c} *?", "pic%03d", "--title: sub\\title")
"""Names without their suffix, which hold what any tool interprets; `test_local_names.py` has the others."""

DECOYS = ("pic001", "pic000", "G ab xy", "--title: subtitle")
"""Files that a pattern would find instead."""

MODULES: dict[str, tuple[str, str, dict[str, Any]]] = {
    "ffmpeg still": ("ffmpeg", ".png", {"verify": "decode"}),
    "ffmpeg jpeg": ("ffmpeg", ".jpg", {}),
    "ffmpeg": ("ffmpeg", ".mp4", {"output_maps": [{"specifier": "v", "options": {"codec": "copy"}}]}),
    "thumbnail": ("thumbnail", ".mp4", {}),
    "handbrake": ("handbrake", ".mp4", {"video_options": {"encoder": "mpeg4"}}),
    "mkvmerge": ("mkvmerge", ".mkv", {"tracks": [{"track": 0}]}),
}


@pytest.fixture(scope="module")
def originals(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """The right picture and the right film of each suffix: red; a decoy is blue."""
    folder = tmp_path_factory.mktemp("names")
    made = {}
    for colour in ("red", "blue"):
        source = f"color={colour}:s=64x64:r=25:d=0.2"
        for suffix in (".png", ".jpg", ".mp4", ".mkv"):
            path = folder / f"{colour}{suffix}"
            frames = (
                ("-frames:v", "1", "-update", "1") if suffix in {".png", ".jpg"} else ("-c:v", "mpeg4", "-q:v", "2")
            )
            ffmpeg("-f", "lavfi", "-i", source, *frames, str(path))
            made[f"{colour}{suffix}"] = path
    return made


def colour(path: Path) -> str:
    """Return what a picture or film shows."""
    with path.open("rb") as file:
        argv = ("ffmpeg", "-v", "error", "-i", "pipe:0", "-vf", "scale=1:1:flags=area,format=rgb24", "-frames:v", "1")
        pixel = subprocess.run((*argv, "-f", "rawvideo", "-"), stdin=file, capture_output=True, check=True, timeout=60)
    red, _, blue = pixel.stdout[:3]
    return "red" if red > blue else "blue"


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("kind", MODULES)
async def test_a_name_is_no_pattern_in_any_module(
    kind: str, name: str, originals: dict[str, Path], tmp_path: Path
) -> None:
    module, suffix, data = MODULES[kind]
    bench = bench_in(tmp_path)
    folder = bench.root / "[Gr] 50% {a}"
    folder.mkdir()
    for decoy in DECOYS:
        (folder / f"{decoy}{suffix}").symlink_to(originals[f"blue{suffix}"])
    shutil.copy(originals[f"red{suffix}"], folder / f"{name}{suffix}")
    source, output = f"nas://[Gr] 50% {{a}}/{name}{suffix}", f"./{name}{'.png' if module == 'thumbnail' else suffix}"
    fields = {"source": source} if module in {"thumbnail", "handbrake"} else {"sources": [source]}
    result = await bench.run_task(Registry.load().tasks[module], {**fields, "output_file": output, **data})
    assert colour(result.outputs[output].path) == "red"


async def test_folders_of_any_name_are_reached_through_the_playlists(tmp_path: Path) -> None:
    source = clip(tmp_path / "source.mp4", seconds=2)
    folder = "nas://out/[x] 50%20 {y}/"
    renditions = [{"height": 180, "bitrate": "200k", "dest_path": f"{folder}$Number$ a?b#c%41/"}]
    made = await make(tmp_path, source, renditions=renditions, destination=folder, storyboard=True)
    home = made.folder / "out/[x] 50%20 {y}"
    master = made.master("out/[x] 50%20 {y}/master.m3u8")
    playlist = home / unquote(master.playlists[0].uri)
    segments = m3u8.loads(playlist.read_text()).segments
    assert segments
    assert all((playlist.parent / unquote(segment.uri)).is_file() for segment in segments)
    manifest = (home / "manifest.mpd").read_text()
    template = re.findall(r'media="([^"]*)"', manifest)[0]
    assert (home / unquote(template.replace("$Number%05d$", "00001"))).is_file()
    (board,) = re.findall(r'media="([^"]*sheet[^"]*)"', manifest)
    assert (home / unquote(board.replace("$Number%03d$", "001"))).is_file()
