"""Films whose headers state another length than they have, as editors and other muxers leave them; nothing is cut."""

from __future__ import annotations

import struct
import subprocess
from typing import TYPE_CHECKING

from tests.support.media import clip, ffmpeg

if TYPE_CHECKING:
    from pathlib import Path

_MATROSKA_DURATION = bytes.fromhex("4489")
_ASF_PROPERTIES = bytes.fromhex("A1DCAB8C47A9CF118EE400C00C205365")


def misstated(path: Path, factor: float, *, seconds: float = 4) -> Path:
    """Return `path`, a film of `seconds` whose header (.mkv, .mp4, .avi, .wmv) states `factor` times as many."""
    coding = {".wmv": ("-c:v", "wmv2", "-c:a", "wmav2"), ".avi": ("-c:v", "mpeg4", "-c:a", "libmp3lame")}
    whole = clip(path.with_name(f"whole{path.suffix}"), seconds=seconds, extra=coding.get(path.suffix, ()))
    if path.suffix == ".mkv":
        bare = ("--disable-track-statistics-tags", "--no-track-tags", "--no-global-tags")
        subprocess.run(("mkvmerge", "-q", "-o", path, *bare, whole), check=True, timeout=60)
        whole = path
    content = bytearray(whole.read_bytes())
    for at, form in _places(content, path.suffix):
        (stated,) = struct.unpack_from(form, content, at)
        struct.pack_into(form, content, at, stated * factor if form in {">d", ">f"} else int(stated * factor))
    path.write_bytes(content)
    return path


def with_an_old_tag(path: Path, stated: str) -> Path:
    """Return `path`, Matroska of four seconds with a tag of the length of the file that it was made from."""
    whole = clip(path.with_name("whole.mkv"), seconds=4)
    ffmpeg("-i", str(whole), "-map", "0", "-c", "copy", "-metadata:s", f"DURATION-eng={stated}", str(path))
    return path


def _places(content: bytearray, suffix: str) -> list[tuple[int, str]]:
    """Return where a header states a length, and how."""
    match suffix:
        case ".mkv":
            at = content.index(_MATROSKA_DURATION)
            return [(at + 3, ">d" if content[at + 2] & 0x7F == struct.calcsize(">d") else ">f")]
        case ".wmv":
            # the duration of playing and of sending (Advanced Systems Format 3.2)
            at = content.index(_ASF_PROPERTIES)
            return [(at + 64, "<Q"), (at + 72, "<Q")]
        case ".avi":
            streams = [at + 8 + 32 for at in _found(content, b"strh")]
            return [(at, "<I") for at in (content.index(b"avih") + 8 + 16, *streams)]
        case _:
            # version 0 of the movie's and each media's header (ISO 14496-12, 8.2.2 and 8.4.2)
            return [(at + 4 + 16, ">I") for at in (*_found(content, b"mvhd"), *_found(content, b"mdhd"))]


def _found(content: bytearray, name: bytes) -> list[int]:
    places, at = [], -1
    while (at := content.find(name, at + 1)) >= 0:
        places.append(at)
    return places
