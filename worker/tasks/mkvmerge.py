"""The module `mkvmerge`: tracks of several files joined into one Matroska file, which is then proved."""

from __future__ import annotations

import asyncio
import json
from pathlib import PurePosixPath
from typing import TYPE_CHECKING, ClassVar, Final

from worker.core.command import Pipeline
from worker.core.errors import BadInput, InvalidJob, Problem, VerificationFailed
from worker.core.media_types import DEFAULT, media_type_of
from worker.core.task import Files, FileUse, Lookup, Task, TaskContext
from worker.media.failure import failed_stage
from worker.media.hls.ladder import stream_seconds
from worker.media.languages import bcp47
from worker.media.matroska.choice import with_numbers
from worker.media.matroska.merge import (
    KINDS,
    TEXT_CONTAINERS,
    Identified,
    MergeFiles,
    Track,
    broken_structure,
    identify_command,
    matroska_failure,
    merge_arguments,
    option_file_command,
    parse_identified,
    progress_of,
    warnings_of,
)
from worker.media.matroska.params import MergeParams, MergeTrack
from worker.media.verify import Expected, check
from worker.tasks.shared.decoding import prove_by_decoding
from worker.tasks.shared.hidden import hidden_parts, warn_of_begin
from worker.tasks.shared.linking import warn_of_lost_links
from worker.tasks.shared.measuring import probe_source
from worker.tasks.shared.texts import utf8_file

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from worker.core.command import Command
    from worker.core.media_info import MediaInfo

IDENTIFY_BYTES: Final = 4 << 20
_MP4: Final = "QuickTime"
"""mkvmerge 74 calls MP4 `QuickTime/MP4`, and 92 `MP4/QuickTime`."""
_CARRIED: Final = frozenset(
    {".ttf", ".otf", ".ttc", ".woff", ".woff2", ".jpg", ".jpeg", ".png", ".webp", ".txt", ".xml"}
)


class MkvmergeTask(Task[MergeParams]):
    """Runs mkvmerge once."""

    module: ClassVar[str] = "mkvmerge"
    params = MergeParams

    def files(self, params: MergeParams) -> Files:
        """Return sources, attachments and chapters, and the new file."""
        reads = [FileUse(f"sources[{index}].filename", item.filename) for index, item in enumerate(params.sources)]
        reads += [FileUse(f"attachments[{n}].filename", item.filename) for n, item in enumerate(params.attachments)]
        reads += [FileUse("chapters", params.chapters)] if params.chapters else []
        return Files(tuple(reads), (FileUse("output_file", params.output_file, params.overwrite),))

    def requires(self, params: MergeParams) -> frozenset[str]:
        """Return mkvmerge."""
        del params
        return frozenset({"tool:mkvmerge"})

    async def prepare(self, params: MergeParams, lookup: Lookup) -> MergeParams:
        """Return `params`; ToolMissing without mkvmerge."""
        lookup.tool("mkvmerge")
        return params

    async def run(self, params: MergeParams, context: TaskContext) -> None:
        """Identify the sources, merge, and look at what came out."""
        sources = [await context.input(source.filename) for source in params.sources]
        found = [
            await identify(path, source.filename, context) for path, source in zip(sources, params.sources, strict=True)
        ]
        params = with_numbers(params, found, await _infos(params, sources, context))
        params, sources = await _in_utf8(params, sources, found, context)
        output = context.output(params.output_file)
        chapters = await _chapters(params, context) if params.chapters else None
        files = MergeFiles(tuple(sources), await _attachments(params, context), output, chapters)
        await _warn_of_hidden(params, found, sources, context)
        option_file = context.scratch(f"{output.name}.options.json")
        arguments = merge_arguments(params, found, files)
        await asyncio.to_thread(option_file.write_text, json.dumps(arguments), encoding="utf-8")
        command = option_file_command(context.tool("mkvmerge"), option_file, arguments)
        await run_reporting(command, params.output_file, context)
        info = await _prove(params, found, sources, output, context)
        names = [source.filename for source in params.sources]
        await warn_of_lost_links(zip(sources, names, strict=True), output, context)
        context.output(params.output_file, duration=info.duration)
        context.report(1.0)


async def _warn_of_hidden(
    params: MergeParams, found: Sequence[Identified], sources: Sequence[Path], context: TaskContext
) -> None:
    """Warn of what edit lists of MP4 hide, and Matroska shows."""
    for number, (source, what, path) in enumerate(zip(params.sources, found, sources, strict=True)):
        if _MP4 not in what.container:
            continue
        info = await context.probe(path)
        listed = {track.track for track in params.tracks if track.source == number}
        taken = [
            stream
            for stream in info.streams
            if stream.index in listed or any(source.copies(kind) for kind, name in KINDS.items() if name == stream.kind)
        ]
        name = PurePosixPath(source.filename).name
        before, elsewhere = await hidden_parts(path, name, info, taken, context, every=True)
        warn_of_begin(name, before, context)
        if elsewhere:
            context.warn(f"the edit list of {name} leaves out {elsewhere:.2f} s of its film, and Matroska shows them")


async def _infos(params: MergeParams, sources: Sequence[Path], context: TaskContext) -> list[MediaInfo | None]:
    """Return what ffprobe says of each source from which tracks are chosen by what they are."""
    asked = {track.source for track in params.tracks if track.track is None}
    return [
        await probe_source(path, params.sources[number].filename, context, warns_of_links=False)
        if number in asked
        else None
        for number, path in enumerate(sources)
    ]


async def _in_utf8(
    params: MergeParams, sources: list[Path], found: Sequence[Identified], context: TaskContext
) -> tuple[MergeParams, list[Path]]:
    """Return the parameters and sources with every subtitle file in UTF-8; mkvmerge would spoil letters unasked."""
    paths: list[Path] = []
    tracks = list(params.tracks)
    for number, (source, path, what) in enumerate(zip(params.sources, sources, found, strict=True)):
        if what.container not in TEXT_CONTAINERS:
            if source.charset is not None:
                message = f"is for subtitle files, and {source.filename} is {what.container}"
                raise InvalidJob([Problem(f"sources[{number}].charset", message)])
            paths.append(path)
            continue
        own = [track for track in tracks if track.source == number]
        named = next((str(value) for track in own if (value := track.options.get("sub-charset"))), None)
        charset = source.charset or named
        paths.append(await utf8_file(path, source.filename, charset, context, number=number))
        tracks = [_without_charset(track) if track.source == number else track for track in tracks]
    return params.model_copy(update={"tracks": tracks}), paths


def _without_charset(track: MergeTrack) -> MergeTrack:
    options = {name: value for name, value in track.options.items() if name != "sub-charset"}
    return track.model_copy(update={"options": options})


async def _chapters(params: MergeParams, context: TaskContext) -> Path:
    name = params.chapters or ""
    path = await context.input(name)
    with path.open("rb") as file:
        is_xml = b"<?xml" in file.read(64) or path.suffix.lower() == ".xml"
    return await utf8_file(path, name, params.chapters_charset, context, xml=is_xml, number=len(params.sources))


async def identify(path: Path, name: str, context: TaskContext) -> Identified:
    """Return what mkvmerge finds in a file; BadInput when it reads none such."""
    question = Pipeline((identify_command(context.tool("mkvmerge"), path),), IDENTIFY_BYTES, "identify")
    (exit_,) = await context.run(question, timeout=60)
    return parse_identified(exit_.output, name)


async def run_reporting(command: Command, subject: str, context: TaskContext) -> None:
    """Run mkvmerge or mkvextract with progress; its warnings become the job's, its errors ours."""

    def on_line(line: str) -> None:
        fraction = progress_of(line)
        if fraction is not None:
            context.report(fraction * 0.95)

    exits = await context.run(Pipeline((command,), label=command.program), on_line)
    if bad := failed_stage(exits):
        raise matroska_failure(bad, subject)
    warnings = warnings_of(exits[-1].output)
    if complaint := broken_structure(warnings):
        raise BadInput(f"a source is damaged or cut short: {complaint}")
    for warning in warnings:
        context.warn(f"{command.program}: {warning}")


async def _attachments(params: MergeParams, context: TaskContext) -> tuple[tuple[Path, str | None, str | None], ...]:
    files: list[tuple[Path, str | None, str | None]] = []
    for item in params.attachments:
        name = item.name or PurePosixPath(item.filename).name
        path = await context.input(item.filename)
        if not await _size(path):
            raise BadInput(f"the attachment {item.filename} is empty, and Matroska holds none such")
        files.append((path, name, item.mime_type))
    for folder in params.attachment_directories:
        for location in await context.listing(folder):
            name = PurePosixPath(location).name
            known = media_type_of(name) != DEFAULT or PurePosixPath(name).suffix.lower() in _CARRIED
            if not known:
                continue
            path = await context.input(location)
            if await _size(path):
                files.append((path, name, None))
            else:
                context.warn(f"{location} is empty, and was not attached")
    return tuple(files)


async def _size(path: Path) -> int:
    return (await asyncio.to_thread(path.stat)).st_size


async def _prove(
    params: MergeParams, found: Sequence[Identified], sources: Sequence[Path], output: Path, context: TaskContext
) -> MediaInfo:
    """Return what the new file is, if it has the tracks, names, languages and seconds that were asked for.

    BadInput where it is shorter than its sources state, or does not decode: mkvmerge copies what is there.
    """
    made = await identify(output, params.output_file, context)
    faults = list(_track_faults(params, made.tracks))
    copied = sum(len([t for t in one.tracks if params.sources[n].copies(t.kind)]) for n, one in enumerate(found))
    listed = [t for t in params.tracks if not params.sources[t.source].copies(found[t.source].kind_of(t.number))]
    if len(made.tracks) != copied + len(listed):
        faults.append(f"it has {len(made.tracks)} tracks instead of {copied + len(listed)}")
    seconds = await _expected_seconds(params, found, sources, context)
    try:
        info = await context.probe(output)
    except BadInput as error:
        raise BadInput(f"{params.output_file} would hold nothing: no track of its sources has a packet") from error
    check(info, Expected(), params.output_file, also=faults)
    try:
        check(info, Expected(at_least=seconds), params.output_file)
        if params.verify == "decode":
            await prove_by_decoding(output, params.output_file, context)
    except VerificationFailed as error:
        raise BadInput(f"a source is damaged or cut short: {error}") from error
    return info


def _track_faults(params: MergeParams, made: Sequence[Track]) -> list[str]:
    """Return what is wrong with the listed tracks, which come first and in their order."""
    faults: list[str] = []
    for index, (asked, track) in enumerate(zip(params.tracks, made, strict=False)):
        for label, wanted, got in _compared_values(asked, track):
            if wanted is not None and wanted != got:
                faults.append(f"track {index} has the {label} {got!r} instead of {wanted!r}")
    return faults


def _compared_values(asked: MergeTrack, track: Track) -> list[tuple[str, object, object]]:
    language, name = asked.options.get("language"), asked.options.get("track-name")
    default = asked.options.get("default-track-flag")
    truth = {"yes": True, "true": True, "1": True, "no": False, "false": False, "0": False}
    return [
        ("language", bcp47(str(language)) if language else None, track.language),
        # mkvmerge strips the white space around a name
        ("name", str(name).strip() if name is not None else None, track.name.strip()),
        ("default flag", truth.get(str(default).lower()) if default is not None else None, track.default),
    ]


async def _expected_seconds(
    params: MergeParams, found: Sequence[Identified], sources: Sequence[Path], context: TaskContext
) -> float | None:
    """Return how long the longest listed track is, as far as its file states; None where options shift time."""
    if any("sync" in track.options or "default-duration" in track.options for track in params.tracks):
        return None
    known: list[float] = []
    for index, path in enumerate(sources):
        listed = [track for track in params.tracks if track.source == index]
        if all(found[index].kind_of(track.number) == "subtitles" for track in listed):
            continue
        info = await probe_source(path, params.sources[index].filename, context, warns_of_links=False)
        for track in listed:
            if track.number >= len(info.streams):
                continue
            stream = info.streams[track.number]
            kind = found[index].kind_of(track.number)
            seconds = stream_seconds(stream, info)
            if stream.kind == KINDS.get(kind) and kind != "subtitles" and seconds:
                known.append(seconds)
    return max(known, default=None)
