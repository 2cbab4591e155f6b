"""One ffmpeg that decodes once for all renditions against one ffmpeg per rendition, on the same clip, in the same run.

    python -m benchmarks ladder [--seconds720 60] [--seconds2160 10] [--repeats 1]

Both sides run the command that the module hls makes: all renditions in one, or the same plan with one of them. What
they write is compared: times, key frames, sizes. Ratios are ours divided by the other side's, the best of the repeats.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import tempfile
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from benchmarks.measure import Cost, cost, host, made, shape
from worker.media.hls.encode import Encoding, encode_command
from worker.media.hls.params import HlsParams
from worker.media.hls.plan import Host, plan_of
from worker.process.runner import ProcessRunner
from worker.testing import TaskBench

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

SIZES_VARY = 0.001
H264_720 = ("-c:v", "libx264", "-preset", "medium", "-crf", "20", "-c:a", "aac", "-b:a", "128k")
# Grain, so that decoding 2160p costs what a camera's film would; a picture that was only enlarged is too easy.
HEVC_2160 = (
    *("-vf", "scale=3840:2160,noise=alls=6:allf=t", "-c:v", "libx265", "-preset", "ultrafast", "-b:v", "25M"),
    *("-tag:v", "hvc1", "-x265-params", "log-level=error", "-c:a", "aac", "-b:a", "128k"),
)


@dataclass(frozen=True, slots=True)
class Case:
    """A ladder on a clip, and the ratio of processor time that is promised."""

    name: str
    heights: tuple[int, ...]
    options: tuple[str, ...]
    promised: float


CASES = (
    Case("720p H.264", (720, 480, 360), H264_720, 0.92),
    Case("2160p HEVC", (2160, 1080, 720, 480, 360), HEVC_2160, 0.80),
)


def encoding(clip: Path, heights: Sequence[int]) -> Encoding:
    """Return the ffmpeg run that the module hls plans for a ladder."""
    bench = TaskBench(Path(tempfile.gettempdir()), ProcessRunner(dict(os.environ)))
    info = asyncio.run(bench.probe(clip))
    params = HlsParams(source=str(clip), renditions=[{"height": height} for height in heights])
    return plan_of(params, info, Host()).encoding(clip)


def singles(whole: Encoding) -> Iterator[Encoding]:
    """Yield the same run cut up: one rendition each, and the sounds with the first, which is read with it anyway."""
    assert whole.picture is not None
    for index, rendition in enumerate(whole.picture.renditions):
        picture = replace(whole.picture, renditions=(rendition,))
        yield replace(whole, picture=picture, audio=whole.audio if index == 0 else ())


def run(encodings: Sequence[Encoding], folder: Path) -> Cost:
    """Return what the runs took, one after the other, as each of them uses every processor."""
    folder.mkdir(exist_ok=True)
    total = Cost(0, 0)
    for item in encodings:
        total += cost(encode_command(item, "ffmpeg", folder).argv)
    return total


def alike(one: Path, other: Path) -> bool:
    """Return whether two files hold the same packets, but for the few bytes by which x264's VBV varies."""
    sizes = sorted(path.stat().st_size for path in (one, other))
    return shape(one) == shape(other) and sizes[1] <= sizes[0] * (1 + SIZES_VARY)


def row(case: Case, clip: Path, folder: Path, repeats: int) -> str:
    """Return one line of the table; SystemExit where both sides do not write the same film."""
    whole = encoding(clip, case.heights)
    apart = list(singles(whole))
    ours, theirs = folder / "ours", folder / "theirs"
    one = min((run([whole], ours) for _ in range(repeats)), key=lambda item: item.cpu)
    many = min((run(apart, theirs) for _ in range(repeats)), key=lambda item: item.cpu)
    if other := [name for name in whole.outputs if not alike(ours / name, theirs / name)]:
        raise SystemExit(f"{case.name}: {', '.join(other)} differ, so that nothing is compared")
    cells = (
        case.name,
        f"{float(whole.duration):.0f}",
        " ".join(map(str, case.heights)),
        f"{many.cpu:.1f}",
        f"{one.cpu:.1f}",
        f"**{one.cpu / many.cpu:.2f}**",
        f"{case.promised:.2f}",
        f"{many.wall:.1f}",
        f"{one.wall:.1f}",
        f"{one.wall / many.wall:.2f}",
    )
    return f"| {' | '.join(cells)} |"


def main(arguments: Sequence[str] | None = None) -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(
        prog="ladder", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--seconds720", type=float, default=60.0, help="of the 720p clip")
    parser.add_argument("--seconds2160", type=float, default=10.0, help="of the 2160p clip")
    parser.add_argument("--repeats", type=int, default=1)
    chosen = parser.parse_args(arguments)
    print(f"One decode for all renditions, against one ffmpeg per rendition; {host()}\n")
    print("| clip | s | rungs | apart, CPU s | ours, CPU s | ratio | promised | apart, wall s | ours, wall s | ratio |")
    print("|---|---|---|---|---|---|---|---|---|---|")
    for case, seconds in zip(CASES, (chosen.seconds720, chosen.seconds2160), strict=True):
        clip = made(case.name.replace(" ", "-").replace(".", ""), seconds, *case.options)
        with tempfile.TemporaryDirectory(prefix="ladder-") as folder:
            print(row(case, clip, Path(folder), chosen.repeats), flush=True)


if __name__ == "__main__":
    main()
