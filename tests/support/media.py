"""Real tools for tests of media modules: a bench, and clips that ffmpeg makes of nothing."""

from __future__ import annotations

import os
import struct
import subprocess
from typing import TYPE_CHECKING

from worker.adapters.host import bundled_tools, find_tools
from worker.process.runner import ProcessRunner
from worker.testing import TaskBench

if TYPE_CHECKING:
    from pathlib import Path
    from typing import BinaryIO

NAMES = ("ffmpeg", "ffprobe", "packager", "mkvmerge", "mkvextract", "mkvpropedit", "handbrake")


def bench_in(folder: Path, *, roots: tuple[Path, ...] = (), **others: str) -> TaskBench:
    """Return a bench with this host's tools, but for those that `others` names; links may lead into `roots`."""
    tools = find_tools(dict.fromkeys(NAMES), bundled_tools()) | others
    return TaskBench(folder, ProcessRunner(dict(os.environ)), tools=tools, roots=roots)


def ffmpeg(*arguments: str, into: BinaryIO | None = None) -> None:
    """Run ffmpeg, which must succeed; `into` takes its standard output."""
    subprocess.run(("ffmpeg", "-nostdin", "-v", "error", "-y", *arguments), check=True, timeout=120, stdout=into)


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


_TKHD_MATRIX = 44
"""Where the matrix of a track header of version 0 begins, counted from behind its name (ISO 14496-12, 8.3.2)."""
_QUARTER_TURN = struct.pack(">9i", 0, 1 << 16, 0, -(1 << 16), 0, 0, 0, 0, 1 << 30)


def turned(plain: Path, path: Path) -> Path:
    """Return `path`, a copy of `plain` (MP4) whose picture a player turns a quarter clockwise.

    MP4 says so in its track's matrix, Matroska in the roll of its projection. ffmpeg 7 has no option that writes
    what ffmpeg 5 reads, so the matrix is written here.
    """
    if path.suffix == ".mkv":
        subprocess.run(
            ("mkvmerge", "-q", "-o", path, "--projection-pose-roll", "0:-90", plain), check=True, timeout=120
        )
        return path
    content = bytearray(plain.read_bytes())
    begin = content.index(b"tkhd") + _TKHD_MATRIX
    content[begin : begin + len(_QUARTER_TURN)] = _QUARTER_TURN
    path.write_bytes(content)
    return path
