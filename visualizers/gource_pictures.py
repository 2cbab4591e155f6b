"""Pictures and captions beside the history: strangers' files, made into ones that gource can read safely."""

from __future__ import annotations

import asyncio
import contextlib
import re
from pathlib import PurePosixPath
from typing import TYPE_CHECKING, Final

from visualizers.gitlog import EARLIEST, LATEST, clean, parse_date
from visualizers.gource_params import MAX_AVATARS, plain
from worker.core.command import Command, Pipeline
from worker.core.errors import BadInput, CannotServe, ToolFailed
from worker.media.ffmpeg.formats import GUARDS

if TYPE_CHECKING:
    from pathlib import Path

    from visualizers import Stage
    from visualizers.gource_params import GourceParams

AVATAR: Final = (256, 256)
PICTURES: Final = frozenset({".gif", ".jpeg", ".jpg", ".png", ".webp"})
CAPTION_BYTES: Final = 4 << 20
CAPTIONS: Final = 10_000
LONGEST_CAPTION: Final = 300
_SECONDS: Final = re.compile(r"\d{1,12}")


async def picture_options(params: GourceParams, stage: Stage) -> tuple[str, ...]:
    """Return gource's options for pictures and captions, which are in scratch as PNG and text of ours."""
    options: list[str] = []
    width, height = params.size
    if faces := await _faces(params, stage):
        folder = stage.scratch("avatars/x").parent
        for name, image in faces.items():
            await _draw(stage, image, folder / f"{name}.png", _within(*AVATAR))
        options += ["--user-image-dir", str(folder)]
    if params.default_avatar:
        path = stage.scratch("default-avatar.png")
        await _draw(stage, params.default_avatar, path, _within(*AVATAR))
        options += ["--default-user-image", str(path)]
    if params.logo:
        path = stage.scratch("logo.png")
        await _draw(stage, params.logo, path, _within(width // 3, height // 3))
        options += ["--logo", str(path)]
    if params.background:
        path = stage.scratch("background.png")
        cover = f"scale={width}:{height}:force_original_aspect_ratio=increase,crop={width}:{height}"
        await _draw(stage, params.background, path, cover)
        options += ["--background-image", str(path)]
    if params.captions:
        path = stage.scratch("captions.txt")
        raw = await asyncio.to_thread(_head, await stage.input(params.captions))
        await asyncio.to_thread(path.write_text, captions(raw), encoding="utf-8", newline="\n")
        options += ["--caption-file", str(path), "--caption-duration", "4"]
    return tuple(options)


async def _faces(params: GourceParams, stage: Stage) -> dict[str, str]:
    """Return the picture of each author by name: those of the folder, then those that are named one by one."""
    faces: dict[str, str] = {}
    if params.avatar_folder:
        for location in await stage.listing(params.avatar_folder):
            path = PurePosixPath(location)
            if path.suffix.lower() in PICTURES and (name := clean(path.stem)):
                faces[name] = location
    if len(faces) > MAX_AVATARS:
        raise BadInput(f"{params.avatar_folder} holds {len(faces)} pictures; at most {MAX_AVATARS} are taken")
    return faces | {clean(avatar.name): avatar.image for avatar in params.avatars}


def _within(width: int, height: int) -> str:
    return f"scale=w='min(iw,{width})':h='min(ih,{height})':force_original_aspect_ratio=decrease"


async def _draw(stage: Stage, location: str, target: Path, scale: str) -> None:
    """Write a picture as PNG; BadInput when it is none. Only ffmpeg, in its cage, reads a stranger's file."""
    source = await stage.input(location)
    info = await stage.probe(source)
    if not any(stream.kind == "video" for stream in info.streams):
        raise BadInput(f"{location} is no picture")
    argv = (
        stage.tool("ffmpeg"), "-nostdin", "-hide_banner", "-v", "error", "-y", *GUARDS, "-i", f"file:{source}",
        "-map", "0:v:0", "-frames:v", "1", "-vf", f"{scale},format=rgba", "-c:v", "png", "-f", "image2", "-update", "1",
        f"file:{target}",
    )  # fmt: skip
    (exit_,) = await stage.run(Pipeline((Command(argv),), label="picture"))
    if not exit_.ok and "Unknown encoder" in exit_.complaint:
        raise CannotServe("this worker's ffmpeg has no encoder of PNG")
    if not exit_.ok:
        raise (
            ToolFailed(f"{location}: {exit_}", passing=True)
            if exit_.signal
            else BadInput(f"{location} is no picture: {exit_}")
        )


def _head(path: Path) -> bytes:
    with path.open("rb") as file:
        return file.read(CAPTION_BYTES + 1)


def captions(raw: bytes) -> str:
    """Return gource's caption file, in order of time; BadInput names the first line that is none."""
    if len(raw) > CAPTION_BYTES:
        raise BadInput(f"the captions have more than {CAPTION_BYTES} bytes")
    found: list[tuple[int, str]] = []
    for number, line in enumerate(raw.decode("utf-8-sig", errors="replace").splitlines(), 1):
        if not line.strip():
            continue
        when, separator, text = line.partition("|")
        seconds = _time(when.strip())
        if not separator or seconds is None:
            raise BadInput(f"captions, line {number}: {line[:60]!r} is not `seconds|caption` or `date|caption`")
        found.append((seconds, plain(text).strip()[:LONGEST_CAPTION]))
    if len(found) > CAPTIONS:
        raise BadInput(f"there are {len(found)} captions; at most {CAPTIONS} are taken")
    return "".join(f"{seconds}|{text}\n" for seconds, text in sorted(found, key=lambda item: item[0]))


def _time(text: str) -> int | None:
    if _SECONDS.fullmatch(text):
        return min(max(int(text), EARLIEST), LATEST)
    with contextlib.suppress(ValueError):
        return min(max(int(parse_date(text).timestamp()), EARLIEST), LATEST)
    return None
