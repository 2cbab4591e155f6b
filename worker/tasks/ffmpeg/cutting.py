"""The piece that is cut out of an ffmpeg task's sources: exact where all is encoded, at a key frame where not."""

from __future__ import annotations

from dataclasses import replace
from pathlib import PurePosixPath
from typing import TYPE_CHECKING, Final

from worker.core.errors import InvalidJob, Problem
from worker.media.failure import classify
from worker.media.ffmpeg.cutting import CUTS, LastKey, begun_at, has_index, keys_command, piece_of

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from worker.core.media_info import MediaInfo
    from worker.core.task import TaskContext
    from worker.media.ffmpeg.cutting import Key, Piece
    from worker.media.ffmpeg.streams import Arrangement

NOTED_SECONDS: Final = 0.02
"""The seconds that a cut may begin before its time without a warning."""


async def piece_for(
    arrangement: Arrangement, sources: Sequence[Path], infos: Sequence[MediaInfo], context: TaskContext
) -> Piece | None:
    """Return what is cut out of the sources; None where the job asks for no piece.

    A copied picture begins at the key frame before the time, and all else with it: a warning says by how much.
    """
    params = arrangement.params
    covers = any(one.stream.attached_picture for one in arrangement.streams)
    piece = piece_of(params.input_options, infos, covers=covers)
    if piece is None or piece.start <= 0:
        return piece
    copied = [index for index, made in _pictures(arrangement) if made == "copy"]
    for index in sorted({index for index, _ in _pictures(arrangement)}, key=lambda index: index not in copied):
        info, name = infos[index], PurePosixPath(params.sources[index]).name
        if index not in copied and has_index(info):
            continue
        key = await _key_before(piece, sources[index], name, info, context)
        if key is None and piece.entry > 0:
            piece = replace(piece, entry=0.0)
            key = await _key_before(piece, sources[index], name, info, context)
        if index in copied and key is not None and not piece.at_key:
            asked, piece = piece.start, begun_at(piece, key)
            if asked - key.pts > NOTED_SECONDS:
                context.warn(
                    f"the picture of {name} is copied, so what is cut begins at its key frame at {key.pts:.2f} s"
                    f" instead of {asked:.2f} s; encode it to cut exactly"
                )
    return piece


def refuse_stated_length(arrangement: Arrangement) -> None:
    """Return if a piece may be copied into the output; InvalidJob for FLAC, whose header states the source's length.

    ffmpeg (5.1 to 9) copies the header as it is.
    """
    params = arrangement.params
    if not CUTS & params.input_options.keys() or PurePosixPath(params.output_file).suffix.lower() != ".flac":
        return
    if any(item.encoder == "copy" for item in params.output_maps):
        message = "would state the length of the whole source: encode the piece with flac, which loses nothing,"
        raise InvalidJob([Problem("output_file", f"{message} or write a .mka")])


def _pictures(arrangement: Arrangement) -> list[tuple[int, str | None]]:
    """Return the source of each picture that moves, and the encoder that makes it."""
    how = {item.stream: item.encoder for item in arrangement.params.output_maps if item.specifier == "v"}
    videos = [one for one in arrangement.streams if one.stream.kind == "video"]
    return [(one.source, how.get(n)) for n, one in enumerate(videos) if not one.stream.attached_picture]


async def _key_before(piece: Piece, path: Path, name: str, info: MediaInfo, context: TaskContext) -> Key | None:
    """Return the last key frame between the piece's entry and its start; None for none."""
    found = LastKey(piece.start, info.begin)
    # a container with an index is entered at the key frame before by itself
    entry = piece.start if has_index(info) and piece.entry > 0 else piece.entry
    command = keys_command(
        context.tool("ffprobe"), path, entry + info.begin if entry > 0 else None, piece.start + info.begin
    )
    (exit_,) = await context.run(command, found.line)
    if not exit_.ok:
        raise classify(exit_, name)
    return found.found
