"""The source of the demo's main job, made by ffmpeg."""

from __future__ import annotations

import shutil
import subprocess
from typing import TYPE_CHECKING, Final

from worker.core.errors import ToolMissing

if TYPE_CHECKING:
    from pathlib import Path

CLIP_SECONDS: Final = 24
LANGUAGES: Final = ("eng", "fra")


def make_clip(path: Path) -> None:
    """Make the source with ffmpeg: a test picture, a tone in each language, a line of text a second."""
    if path.exists():
        return
    ffmpeg = shutil.which("ffmpeg")
    if ffmpeg is None:
        raise ToolMissing("ffmpeg is not installed: run `make setup`")
    text = path.with_suffix(".srt")
    text.write_text("".join(_caption(second) for second in range(CLIP_SECONDS)))
    part = path.with_suffix(".part.mkv")
    sounds = [f"sine=frequency={440 + 110 * index}:duration={CLIP_SECONDS}" for index in range(len(LANGUAGES))]
    inputs = [f"testsrc2=size=1280x720:rate=30:duration={CLIP_SECONDS}", *sounds]
    argv = [ffmpeg, "-nostdin", "-v", "error", "-y"]
    for one in inputs:
        argv += ["-f", "lavfi", "-i", one]
    argv += ["-i", str(text), "-map", "0:v", "-map", "1:a", "-map", "2:a", "-map", "3:s"]
    for index, language in enumerate(LANGUAGES):
        argv += [f"-metadata:s:a:{index}", f"language={language}"]
    argv += ["-metadata:s:s:0", "language=eng", "-c:v", "libx264", "-preset", "ultrafast", "-crf", "18"]
    argv += ["-c:a", "aac", "-b:a", "128k", "-c:s", "srt", str(part)]
    done = subprocess.run(argv, check=False, capture_output=True, text=True)
    if done.returncode:
        raise ToolMissing(f"ffmpeg could not make the clip: {done.stderr.strip().splitlines()[-1]}")
    part.replace(path)


def _caption(second: int) -> str:
    return f"{second + 1}\n00:00:{second:02},000 --> 00:00:{second:02},900\nSecond {second + 1}\n\n"
