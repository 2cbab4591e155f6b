"""Real tools for tests of media modules: a bench, and clips that ffmpeg makes of nothing."""

from __future__ import annotations

import os
import subprocess
from typing import TYPE_CHECKING

from worker.adapters.host import bundled_tools, find_tools
from worker.process.runner import ProcessRunner
from worker.testing import TaskBench

if TYPE_CHECKING:
    from pathlib import Path

NAMES = ("ffmpeg", "ffprobe", "packager", "mkvmerge", "mkvextract", "mkvpropedit", "handbrake")


def bench_in(folder: Path, **others: str) -> TaskBench:
    """Return a bench with this host's tools, but for those that stand in for them."""
    tools = find_tools(dict.fromkeys(NAMES), bundled_tools()) | others
    return TaskBench(folder, ProcessRunner(dict(os.environ)), tools=tools)


def ffmpeg(*arguments: str) -> None:
    """Run ffmpeg, which must succeed."""
    subprocess.run(("ffmpeg", "-nostdin", "-v", "error", "-y", *arguments), check=True, timeout=120)


def clip(
    path: Path, *, picture: str = "s=320x180:r=25", sounds: int = 1, seconds: float = 3, extra: tuple[str, ...] = ()
) -> Path:
    """Return `path`, a clip of a moving test picture (none for "") and beeps, H.264 and AAC unless `extra` differs."""
    inputs: list[str] = []
    if picture:
        inputs += ["-f", "lavfi", "-i", f"testsrc2={picture}:d={seconds}"]
    for number in range(sounds):
        inputs += ["-f", "lavfi", "-i", f"sine={440 * (number + 1)}:d={seconds}:r=44100"]
    maps = [part for index in range(bool(picture) + sounds) for part in ("-map", str(index))]
    codecs = ["-c:v", "libx264", "-preset", "ultrafast", "-pix_fmt", "yuv420p", "-c:a", "aac"]
    languages = [
        part
        for number, language in enumerate(("eng", "jpn", "ger")[:sounds])
        for part in (f"-metadata:s:a:{number}", f"language={language}")
    ]
    ffmpeg(*inputs, *maps, *codecs, *languages, *extra, str(path))
    return path
