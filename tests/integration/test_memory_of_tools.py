"""Every tool under a bound of memory that it cannot live with: it ends, soon, and its words say why.

`python -m tests.integration.test_memory_of_tools` prints what each tool takes for a film of 4K.
"""

from __future__ import annotations

import os
import re
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest

from tests.support.media import NAMES, ffmpeg
from worker.adapters.host import bundled_tools, find_tools
from worker.core.command import Command, Pipeline, Reason
from worker.core.errors import ToolFailed
from worker.media.failure import classify
from worker.process.runner import ProcessRunner

TOOLS = find_tools(dict.fromkeys((*NAMES, "gource")), bundled_tools())
TIGHT = 48 << 20
OFFSCREEN = {"SDL_VIDEODRIVER": "offscreen", "LIBGL_ALWAYS_SOFTWARE": "1"}


def commands(folder: Path, size: str) -> dict[str, Command]:
    """Return a run of each tool that draws or encodes, over a film of `size`."""
    film, log = folder / "film.mp4", folder / "history.log"
    codecs = ("-c:v", "libx264", "-preset", "ultrafast", "-pix_fmt", "yuv420p", "-c:a", "aac")
    sources = ("-f", "lavfi", "-i", f"testsrc2=s={size}:r=25:d=1", "-f", "lavfi", "-i", "sine=d=1")
    ffmpeg(*sources, *codecs, str(film))
    log.write_text("".join(f"{1_000_000_000 + 3600 * n}|a{n}|A|d{n}/f{n}.txt\n" for n in range(200)))
    encode = (TOOLS["ffmpeg"], "-nostdin", "-v", "error", "-y", "-i", f"file:{film}", "-an")
    stream = f"in={film},stream=video,output={folder / 'out.mp4'}"
    return {
        "x264": Command((*encode, "-c:v", "libx264", "-preset", "veryslow", "-f", "null", "-")),
        "x265": Command((*encode, "-c:v", "libx265", "-x265-params", "log-level=0", "-f", "null", "-")),
        "svtav1": Command((*encode, "-c:v", "libsvtav1", "-preset", "12", "-f", "null", "-"), {"SVT_LOG": "1"}),
        "handbrake": Command(
            (TOOLS["handbrake"], "--input", str(film), "--output", str(folder / "hb.mp4"), "--encoder", "x265")
        ),
        "mkvmerge": Command((TOOLS["mkvmerge"], "-o", str(folder / "out.mkv"), str(film))),
        "packager": Command((TOOLS["packager"], stream, "--quiet")),
        "gource": Command(
            (
                TOOLS["gource"], "--log-format", "custom", f"-{size}", "--output-ppm-stream", "-",
                "--stop-at-time", "2", "--seconds-per-day", "1", "--disable-input", str(log),
            ),
            OFFSCREEN,
        ),
    }  # fmt: skip


def handbrake_version() -> tuple[int, ...]:
    said = subprocess.run((TOOLS["handbrake"], "--version"), capture_output=True, text=True, check=True)
    found = re.search(r"HandBrake (\d+)\.(\d+)", said.stdout + said.stderr)
    assert found
    return tuple(map(int, found.groups()))


@pytest.mark.parametrize("tool", ["x264", "x265", "svtav1", "handbrake", "mkvmerge", "packager", "gource"])
async def test_every_tool_without_memory_ends_and_says_so(tool: str, tmp_path: Path) -> None:
    command = commands(tmp_path, "640x360")[tool]
    runner = ProcessRunner(dict(os.environ), memory_bytes=4 << 20 if tool == "mkvmerge" else TIGHT)
    # HandBrake 1.11 waits for a thread that could not begin: it ends as any tool without progress does.
    hangs = tool == "handbrake" and handbrake_version() >= (1, 11)
    (exit_,) = await runner.run(Pipeline((command,)), timeout=120, stall=30 if hangs else None)
    assert (exit_.reason, exit_.ok) == (Reason.STALLED if hangs else Reason.EXITED, False)
    assert isinstance(classify(exit_, "film.mp4"), ToolFailed)


def main() -> int:
    """Print what each tool takes at most; exit 1 when one fails without a bound."""
    size, failures = (sys.argv[1:] or ["3840x2160"])[0], 0
    with tempfile.TemporaryDirectory() as name:
        for tool, command in commands(Path(name), size).items():
            process = subprocess.Popen(
                command.argv,
                env={**os.environ, **command.environment},
                stdout=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL,
            )
            _, status, usage = os.wait4(process.pid, 0)
            failures += status != 0
            sys.stdout.write(f"{tool:10} {size} {usage.ru_maxrss >> 10:6} MiB{' FAILED' * (status != 0)}\n")
    return int(failures > 0)


if __name__ == "__main__":
    sys.exit(main())
