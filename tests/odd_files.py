"""What becomes of every odd file: `python -m tests.odd_files [PART OF A NAME …]` prints a table, and what is wrong.

Each file of `tests.support.odd_files` is copied, encoded, packaged, drawn as a waveform and made a still. Right is an
output of the source's length, within a tenth of a second or so, or a refusal by name at the first try.
"""

from __future__ import annotations

import asyncio
import contextlib
import shutil
import sys
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tests.support.media import bench_in
from tests.support.odd_files import FILES, OPERATIONS, REFUSED
from worker.app.components import registry
from worker.core.errors import BadInput, LeveretError, Permanent
from worker.media.hls.ladder import film_seconds
from worker.tasks.shared.measuring import probe_source

if TYPE_CHECKING:
    from worker.core.media_info import MediaInfo

X264, AAC = {"codec": "libx264", "preset": "ultrafast"}, {"codec": "aac"}
JOBS: dict[str, tuple[str, str, dict[str, Any]]] = {
    "remux": (
        "ffmpeg", "o.mkv",
        {"source_maps": [{}], "output_maps": [{"options": {"codec": "copy"}}], "output_file": "o.mkv"},
    ),
    "encode": (
        "ffmpeg", "o.mp4",
        {"output_maps": [{"specifier": "v", "options": X264}, {"specifier": "a", "options": AAC}],
         "output_file": "o.mp4"},
    ),
    "hls": ("hls", "master.m3u8", {}),
    "waveform": ("waveform", "video.mp4", {"resolution": "160x90", "output": "mp4"}),
    "thumbnail": ("thumbnail", "o.png", {"output_file": "o.png"}),
}  # fmt: skip
SLACK = {"remux": 0.15, "encode": 0.15, "hls": 0.1, "waveform": 0.15}
COPIES_MORE = {("edit list.mp4", "remux")}
"""A copy begins at the key frame, which an edit list hides."""


def expected(name: str, operation: str, info: MediaInfo | None) -> str:
    """Return the error that an operation must end with; nothing where it must succeed."""
    if refused := REFUSED.get(name, {}).get(operation):
        return refused
    lacks = {"waveform": info is not None and not info.audio, "thumbnail": info is not None and info.video is None}
    return BadInput.__name__ if lacks.get(operation) else ""


async def outcome(name: str, source: Path, operation: str, folder: Path) -> tuple[str, str]:
    """Return what became of an operation, and what is wrong with it."""
    bench = bench_in(folder)
    shutil.copy(source, bench.root / name)
    module, output, data = JOBS[operation]
    place = f"nas://{name}"
    info = None
    with contextlib.suppress(LeveretError):
        info = await probe_source(bench.root / name, place, bench)
    wanted = expected(name, operation, info)
    asked = {"sources": [place]} if module == "ffmpeg" else {"source": place}
    try:
        result = await bench.run_task(registry().tasks[module], asked | data)
    except LeveretError as error:
        kind = type(error).__name__
        said = f"{kind}: {str(error)[:100]!r}"
        return said, "" if kind == wanted and isinstance(error, Permanent) else f"instead of {wanted or 'success'}"
    if wanted:
        return "made", f"instead of {wanted}"
    length, seconds = result.outputs[output].duration, film_seconds(info) if info else None
    slack = SLACK.get(operation)
    off = slack is not None and length is not None and seconds is not None and abs(length - seconds) > slack
    wrong = f"lasts {length} s instead of {seconds} s" if off and (name, operation) not in COPIES_MORE else ""
    return f"made, {length:.2f} s" if length else "made", wrong


async def table(parts: list[str], folder: Path) -> int:
    """Print what becomes of the files whose names hold one of `parts`; return how much is wrong."""
    wrong = 0
    for number, (name, make) in enumerate(FILES.items()):
        if parts and not any(part in name for part in parts):
            continue
        home = folder / str(number)
        (home / "source").mkdir(parents=True)
        source = await asyncio.to_thread(make, home / "source" / name)
        for operation in OPERATIONS:
            said, fault = await outcome(name, source, operation, home / operation)
            wrong += bool(fault)
            sys.stdout.write(f"{'WRONG' if fault else 'right'}  {name!r:28} {operation:10} {said} {fault}\n")
            sys.stdout.flush()
    sys.stdout.write(f"{wrong} wrong\n")
    return wrong


if __name__ == "__main__":
    with tempfile.TemporaryDirectory() as scratch:
        sys.exit(1 if asyncio.run(table(sys.argv[1:], Path(scratch))) else 0)
