"""What the well-known way gets wrong: a script that cuts, encodes two at a time and concatenates, beside parts of ours.

It does what chunking scripts do: the source is split at its key frames by stream copy, every piece is encoded with its
sound, and the results are put together by ffmpeg's concat demuxer.
"""

from __future__ import annotations

import asyncio
import json
import subprocess
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from fractions import Fraction
from itertools import pairwise
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable
    from pathlib import Path

    Divide = Callable[[Path, str], Awaitable[Path]]

SECONDS: Final = 12
PIECE_SECONDS: Final = 3
_HEAD: Final = ("ffmpeg", "-nostdin", "-v", "error", "-y")
_VIDEO: Final = ("-c:v", "libx264", "-preset", "veryfast", "-crf", "26", "-threads", "1")
_CODED: Final = ("-c:v", "libx264", "-preset", "ultrafast", "-crf", "20", "-pix_fmt", "yuv420p", "-c:a", "aac")
SOURCES: Final = {
    "25 pictures a second, closed GOPs": ("film.mkv", "25", ("-g", "50")),
    "29.97, open GOPs and a B-pyramid": (
        "open.mkv", "30000/1001", ("-g", "45", "-bf", "3", "-x264-params", "open-gop=1:b-pyramid=normal"),
    ),
    "23.976 in MPEG-TS, which begins at 1.4 s": ("late.ts", "24000/1001", ("-g", "48", "-bf", "2")),
}  # fmt: skip


@dataclass(frozen=True, slots=True)
class Facts:
    """A film: its pictures, how many steps between them are not one picture long, and the length of its sound."""

    frames: int
    uneven: int
    sound: float


def print_peer(folder: Path, divide: Divide) -> None:
    """Print what became of each source by the script and by `divide`, which gets a source and the output's name."""
    print(
        f"\nPieces of {PIECE_SECONDS} s of {SECONDS} s, by a script that splits, encodes two at a time and concatenates"
    )
    print("(a picture or a step too many, and what the sound is longer than the source's):\n")
    print("| source | by | pictures | of the source | uneven steps | sound, ms off |\n|---|---|---|---|---|---|")
    for title, (name, rate, options) in SOURCES.items():
        source = folder / name
        _make(source, rate, options)
        wanted = facts_of(source, Fraction(rate))
        films = {
            "the script": by_script(source, folder / f"script-{name}"),
            "parts": asyncio.run(_ours(divide, source)),
        }
        for by, film in films.items():
            found = facts_of(film, Fraction(rate))
            off = (found.sound - wanted.sound) * 1000
            print(f"| {title} | {by} | {found.frames} | {wanted.frames} | {found.uneven} | {off:+.0f} |", flush=True)


async def _ours(divide: Divide, source: Path) -> Path:
    return await divide(source, f"ours-{source.stem}.mp4")


def _make(path: Path, rate: str, options: tuple[str, ...]) -> None:
    picture = ("-f", "lavfi", "-i", f"testsrc2=s=320x180:r={rate}:d={SECONDS}")
    sound = ("-f", "lavfi", "-i", f"sine=440:d={SECONDS}:r=44100")
    subprocess.run((*_HEAD, *picture, *sound, *_CODED, *options, str(path)), check=True)


def by_script(source: Path, folder: Path) -> Path:
    """Return the film that the script makes in `folder`."""
    folder.mkdir()
    split = ("-map", "0:v:0", "-map", "0:a:0", "-c", "copy", "-f", "segment", "-segment_time", str(PIECE_SECONDS))
    subprocess.run(
        (*_HEAD, "-i", str(source), *split, "-reset_timestamps", "1", str(folder / "in%03d.mkv")), check=True
    )
    pieces = sorted(folder.glob("in*.mkv"))
    with ThreadPoolExecutor(2) as pool:
        list(pool.map(_encode, pieces))
    listing = folder / "list.txt"
    listing.write_text("".join(f"file '{piece.with_suffix('.mp4')}'\n" for piece in pieces))
    film = folder / "film.mp4"
    subprocess.run(
        (*_HEAD, "-f", "concat", "-safe", "0", "-i", str(listing), "-map", "0", "-c", "copy", str(film)), check=True
    )
    return film


def _encode(piece: Path) -> None:
    out = str(piece.with_suffix(".mp4"))
    subprocess.run((*_HEAD, "-i", str(piece), *_VIDEO, "-c:a", "aac", out), check=True, stderr=subprocess.DEVNULL)


def facts_of(path: Path, rate: Fraction) -> Facts:
    """Return what a film is, by its packets: the sound as it would be played, from its first to its last sample."""
    video, audio = _packets(path, "v:0"), _packets(path, "a:0")
    shown = sorted(float(packet["pts_time"]) for packet in video)
    uneven = sum(abs(after - before - 1 / rate) > 0.0015 for before, after in pairwise(shown))
    begin = max(0.0, min(float(packet["pts_time"]) for packet in audio))
    end = max(float(packet["pts_time"]) + float(packet.get("duration_time", 0)) for packet in audio)
    return Facts(len(video), uneven, end - begin)


def _packets(path: Path, stream: str) -> list[dict[str, Any]]:
    argv = ("ffprobe", "-v", "error", "-select_streams", stream, "-show_packets", "-of", "json", str(path))
    found: list[dict[str, Any]] = json.loads(subprocess.run(argv, check=True, capture_output=True).stdout)["packets"]
    return [packet for packet in found if "D" not in packet.get("flags", "") and "pts_time" in packet]
