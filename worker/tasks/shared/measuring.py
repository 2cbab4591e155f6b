"""Sources whose length is measured where their container's word is not enough: one verdict for every module."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Final

from worker.core.errors import BadInput, TimedOut, ToolStalled, VerificationFailed
from worker.media.failure import classify, lost_packets
from worker.media.head import HEAD_BYTES, has_index, is_unfinished, stated_bytes
from worker.media.hls.ladder import film_seconds
from worker.media.timeline import (
    AGREES_SECONDS,
    BEYOND_SECONDS,
    Timeline,
    corrected_info,
    is_uncertain,
    packets_command,
    shorter,
    with_lengths_of,
)
from worker.media.verify import DURATION_SLACK_SECONDS, check
from worker.tasks.shared.linking import warn_of_links

if TYPE_CHECKING:
    from collections.abc import Awaitable
    from pathlib import Path

    from worker.core.media_info import MediaInfo
    from worker.core.task import TaskContext
    from worker.media.verify import Expected

LOOK_SECONDS: Final = 30.0
"""The time for the end of a file that is looked at before anybody knows whether it has to be."""


async def probe_source(
    path: Path, name: str, context: TaskContext, *, warns_of_links: bool = True, to_its_end: bool = False
) -> MediaInfo:
    """Return what a source is, its length measured where its container may be wrong about it.

    BadInput for one that is cut short, also of an indexed container where its end is needed (`to_its_end`) and the
    output cannot show it. A clock that jumps becomes a warning: the pieces are joined. So do ordered chapters and links
    of a Matroska file where it `warns_of_links`: the film is taken as it lies there.
    """
    info, off = await context.once("source", path, lambda: _look(path, context))
    if warns_of_links and "matroska" in info.container:
        await warn_of_links(path, name, context)
    head = await asyncio.to_thread(_head, path)
    stated, unfinished = stated_bytes(head), is_unfinished(head)
    if stated is not None and stated > info.bytes:
        raise BadInput(f"{name} is cut short: it states {stated} bytes and holds {info.bytes}")
    # an ASF that has all of its bytes was not cut, whatever its header says of its seconds
    unfinished = unfinished or (stated is not None and "asf" in info.container)
    if off is not None and not unfinished:
        if not off or not (off > 0 or to_its_end):
            return info
        unfinished = off > 0
    return await measure_length(info, path, name, context, unfinished=unfinished)


async def _look(path: Path, context: TaskContext) -> tuple[MediaInfo, float | None]:
    """Return what a source is, and how far its end is off; None for that where all its packets have to be read.

    Both are asked for at the same time: starting ffprobe takes longer than its look.
    """
    head, size = await asyncio.to_thread(_head_and_size, path)
    is_broken = is_unfinished(head) or (stated_bytes(head) or 0) > size
    last = asyncio.create_task(_last_packets(path, context, wanted=has_index(head) and not is_broken))
    try:
        info = await context.probe(path)
        return info, None if is_broken or is_uncertain(info) else await _seconds_off(info, last, path, context)
    finally:
        last.cancel()
        await asyncio.gather(last, return_exceptions=True)


async def _last_packets(path: Path, context: TaskContext, *, wanted: bool) -> list[str]:
    """Return the packets from the last key frame on; none where it is not `wanted`, or not read in time."""
    if not wanted:
        return []
    try:
        return await _packets_from(BEYOND_SECONDS, path, context, timeout=LOOK_SECONDS)
    except (TimedOut, ToolStalled):
        return []


async def _packets_from(entry: float, path: Path, context: TaskContext, *, timeout: float | None = None) -> list[str]:
    """Return lines for a `Timeline`, from the key frame before `entry` on; none where ffprobe cannot go there."""
    lines: list[str] = []
    command = packets_command(context.tool("ffprobe"), path, entry=entry)
    (exit_,) = await context.run(command, lines.append, timeout=timeout)
    return lines if exit_.ok else []


async def _seconds_off(info: MediaInfo, last: Awaitable[list[str]], path: Path, context: TaskContext) -> float:
    """Return by how many seconds the last packets of a file end later than it says, less than 0 for earlier; 0 if not.

    An edited header, or what another program left in it, is found by reading the end alone.
    """
    claim = film_seconds(info)
    if claim is None:
        return 0.0
    end = Timeline(info).after(await last).end
    if end is None or shorter(end - info.begin, claim):
        # its clock, or a wrong index, may have led elsewhere
        there = Timeline(info).after(await _packets_from(info.begin + claim - 1, path, context)).end
        end = max((one for one in (end, there) if one is not None), default=None)
    off = end - info.begin - claim if end is not None else 0.0
    return off if off > DURATION_SLACK_SECONDS or shorter(claim + off, claim) else 0.0


async def ends_short(path: Path) -> bool:
    """Return whether a file is a WAV whose header states no length: ffmpeg calls its last packet corrupt.

    With `-xerror` it would end there.
    """
    return is_unfinished(await asyncio.to_thread(_head, path))


def _head(path: Path) -> bytes:
    with path.open("rb") as file:
        return file.read(HEAD_BYTES)


def _head_and_size(path: Path) -> tuple[bytes, int]:
    """Return them as far as the file is there: ffprobe says what is wrong with it."""
    try:
        return _head(path), path.stat().st_size
    except OSError:
        return b"", 0


async def measure_length(
    info: MediaInfo, path: Path, name: str, context: TaskContext, *, unfinished: bool = False
) -> MediaInfo:
    """Return `info` with the lengths of its packets, all of which are read; BadInput for a file that was cut short.

    What an `unfinished` file says of its length is no claim.
    """
    if info.measured or not (info.video or info.audio):
        return info
    timeline = Timeline(info)
    (exit_,) = await context.run(packets_command(context.tool("ffprobe"), path), timeline.line)
    if not exit_.ok:
        raise classify(exit_, name)
    if lost := lost_packets(exit_.complaint):
        context.warn(f"{name} is damaged: {lost[0]}{f', and {len(lost) - 1} more' if len(lost) > 1 else ''}")
    if timeline.jumps:
        where = ", ".join(map(str, timeline.jumps[:5]))
        context.warn(f"the clock of {name} jumps {where}: its pieces were joined, {timeline.seconds:.2f} s in all")
    return corrected_info(info, timeline, exit_.tail, name, unfinished=unfinished)


async def measure_suspects(
    error: Exception, sources: list[tuple[MediaInfo, Path, str]], context: TaskContext
) -> list[MediaInfo]:
    """Return the sources measured, after an output had not the length that they state.

    BadInput, with `error` as its cause, for a source that is cut short; `error` itself where all of them were
    measured before.
    """
    if all(info.measured for info, _, _ in sources):
        raise error
    try:
        return [await measure_length(info, path, name, context) for info, path, name in sources]
    except BadInput as cut:
        raise cut from error


async def check_output(info: MediaInfo, expected: Expected, path: Path, name: str, context: TaskContext) -> MediaInfo:
    """Return what the output `path` is, once it keeps its promise; VerificationFailed names what it breaks.

    Where it states another length than was promised, its packets decide: ffmpeg 9 counts the hidden begin of a sound
    twice in Matroska's DURATION.
    """
    broken: VerificationFailed | None = None
    try:
        check(info, expected, name)
    except VerificationFailed as error:
        broken = error
    if broken is None and not _states_more(info, expected):
        return info
    timeline = Timeline(info)
    (exit_,) = await context.run(packets_command(context.tool("ffprobe"), path), timeline.line)
    measured = with_lengths_of(timeline, info) if exit_.ok else info
    if broken is not None and measured == info:
        raise broken
    check(measured, expected, name)
    return measured


def _states_more(info: MediaInfo, expected: Expected) -> bool:
    """Return whether an output says that it is longer than promised, if by less than breaks the promise."""
    most = expected.at_most
    return most is not None and info.duration is not None and info.duration > most + AGREES_SECONDS
