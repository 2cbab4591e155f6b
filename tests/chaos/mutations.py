"""Small real media files, and what may have happened to a file on its way to us."""

from __future__ import annotations

import os
import struct
import subprocess
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import random
    from collections.abc import Callable

MEGABYTE = 1 << 20
ZEROS = (64 * MEGABYTE, 64 * MEGABYTE, 64 * MEGABYTE, 64 * MEGABYTE, 1024 * MEGABYTE)
"""How many zeros a file may hold. ffmpeg reads a gigabyte of them at 6 MB/s where it seeks a packet of MPEG-TS."""
PICTURE = ("-f", "lavfi", "-i", "testsrc2=s=160x90:r=25:d=2")
SOUND = ("-f", "lavfi", "-i", "sine=d=2:r=44100")
X264 = ("-c:v", "libx264", "-preset", "ultrafast", "-pix_fmt", "yuv420p", "-g", "25")
SEEDS: dict[str, tuple[str, ...]] = {
    "clip.mp4": (*PICTURE, *SOUND, *X264, "-c:a", "aac"),
    "fragmented.mp4": (*PICTURE, *SOUND, *X264, "-c:a", "aac", "-movflags", "+frag_keyframe+empty_moov"),
    "clip.mkv": (*PICTURE, *SOUND, *X264, "-c:a", "libopus"),
    "clip.webm": (*PICTURE, *SOUND, "-c:v", "libvpx-vp9", "-deadline", "realtime", "-cpu-used", "8", "-c:a", "libopus"),
    "clip.ts": (*PICTURE, *SOUND, *X264, "-c:a", "aac"),
    "clip.avi": (*PICTURE, *SOUND, "-c:v", "mpeg4", "-c:a", "libmp3lame"),
    "sound.flac": SOUND,
    "picture.png": (*PICTURE, "-frames:v", "1"),
}
"""Each seed and the ffmpeg arguments that make it."""

PLAYLISTS = (
    "#EXTM3U\n#EXT-X-TARGETDURATION:2\n#EXTINF:2,\nclip.mkv\n#EXT-X-ENDLIST\n",
    "#EXTM3U\n#EXT-X-TARGETDURATION:2\n#EXTINF:2,\nfile:///etc/passwd\n#EXT-X-ENDLIST\n",
    "ffconcat version 1.0\nfile clip.mkv\n",
    "file 'clip.mkv'\nfile 'clip.mkv'\n",
    '<MPD xmlns="urn:mpeg:dash:schema:mpd:2011"><Period><BaseURL>clip.mkv</BaseURL></Period></MPD>',
    "[playlist]\nFile1=clip.mkv\nNumberOfEntries=1\n",
)
HOURS = 10


def make_seeds(folder: Path) -> dict[str, bytes]:
    """Return the content of every seed, made in `folder`."""
    folder.mkdir(parents=True, exist_ok=True)
    for name, arguments in SEEDS.items():
        argv = ("ffmpeg", "-nostdin", "-v", "error", "-y", *arguments, str(folder / name))
        subprocess.run(argv, check=True, timeout=60)
    return {name: (folder / name).read_bytes() for name in SEEDS}


def flip(content: bytes, dice: random.Random, within: int | None = None) -> bytes:
    raw = bytearray(content)
    for _ in range(dice.choice((1, 1, 3, 10, 100))):
        raw[dice.randrange(min(len(raw), within or len(raw)))] ^= 1 << dice.randrange(8)
    return bytes(raw)


def flip_head(content: bytes, dice: random.Random) -> bytes:
    return flip(content, dice, 600)


def cut(content: bytes, dice: random.Random) -> bytes:
    return content[: dice.choice((dice.randrange(len(content)), len(content) - dice.randint(1, 200), 40))]


def behead(content: bytes, dice: random.Random) -> bytes:
    return content[dice.randint(1, 2000) :]


def blank(content: bytes, dice: random.Random) -> bytes:
    first = dice.randrange(len(content))
    size = min(dice.randint(1, 5000), len(content) - first)
    return content[:first] + bytes(size) + content[first + size :]


def insert(content: bytes, dice: random.Random) -> bytes:
    at = dice.randrange(len(content))
    return content[:at] + dice.randbytes(dice.randint(1, 3000)) + content[at:]


def repeat(content: bytes, dice: random.Random) -> bytes:
    first = dice.randrange(len(content))
    return content[: first + dice.randint(1, 5000)] + content[first:]


def huge(content: bytes, dice: random.Random) -> bytes:
    """Return an MP4 whose sample entry, or a Matroska whose track, claims an absurd size, else flips."""
    at = content.find(b"avc1", 100)
    if at > 0:
        return content[: at + 28] + struct.pack(">HH", 65535, dice.choice((1, 65535))) + content[at + 32 :]
    at = content.find(b"\xb0\x81\xa0\xba\x81\x5a")
    return content[: at + 2] + b"\xff" + content[at + 3 :] if at > 0 else flip_head(content, dice)


def hours(content: bytes, dice: random.Random) -> bytes:
    """Return an MP4 whose movie, tracks and media say that they last ten hours; others are cut short."""
    if b"mvhd" not in content:
        return cut(content, dice)
    raw = bytearray(content)
    for kind, before in ((b"mvhd", 16), (b"tkhd", 24), (b"mdhd", 16)):
        at = raw.find(kind)
        while at > 0:
            clock = struct.unpack_from(">I", raw, at + 16)[0] if kind != b"tkhd" else 1000
            struct.pack_into(">I", raw, at + before + 4, min(HOURS * 3600 * clock, 0xFFFFFFFE))
            at = raw.find(kind, at + 4)
    return bytes(raw)


CHANGES: dict[str, Callable[[bytes, random.Random], bytes]] = {
    "bits flipped": flip,
    "bits of the header flipped": flip_head,
    "truncated": cut,
    "beginning lost": behead,
    "a part blanked": blank,
    "noise inserted": insert,
    "a part repeated": repeat,
    "absurd size": huge,
    "header promises ten hours": hours,
}
NEVER = ("empty", "zeros", "a playlist named .mp4", "noise")
"""What is no media and must never become an output."""
KINDS = (*CHANGES, "headers swapped", "a head before zeros", *NEVER)


def mutate(
    kind: str, seeds: dict[str, bytes], dice: random.Random, folder: Path, zeros: tuple[int, ...] = ZEROS
) -> str:
    """Return the name of a new file in `folder` to which `kind` has happened."""
    name = dice.choice(list(seeds))
    content = seeds[name]
    named = f"{dice.choice(('film', 'source', 'ä b'))}{Path(name).suffix}"
    size = 0
    match kind:
        case "headers swapped":
            at = dice.randint(100, 1500)
            content = dice.choice(list(seeds.values()))[:at] + content[at:]
        case "empty":
            content = b""
        case "zeros":
            content, size = b"", dice.choice(zeros)
        case "a head before zeros":
            content, size = content[: dice.randint(50, len(content))], dice.choice(zeros)
        case "a playlist named .mp4":
            content, named = dice.choice(PLAYLISTS).encode(), "film.mp4"
        case "noise":
            content = dice.randbytes(dice.randint(1, 50_000))
        case _:
            content = CHANGES[kind](content, dice)
    path = folder / named
    path.write_bytes(content)
    if size:
        os.truncate(path, size)
    return named
