"""mkvmerge and mkvextract: commands from data, and what the tools say as values."""

from __future__ import annotations

import json
import re
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Final

from worker.core.command import Command
from worker.core.errors import BadInput, InvalidJob, LeveretError, Problem, ToolFailed
from worker.media.failure import classify
from worker.media.languages import bcp47, is_language
from worker.media.matroska.options import COPIES, SOURCE_FLAGS, TRACK_FLAGS, OptionValue, option_text

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    from worker.core.command import Exit
    from worker.media.matroska.params import MergeParams, MergeSource, TrackExtract

WARNED: Final = 1
"""mkvmerge and mkvextract exit 1 when they finished with warnings."""
TEXT_CONTAINERS: Final = frozenset({"SRT subtitles", "SSA/ASS subtitles", "WebVTT subtitles"})
"""Files of text as mkvmerge names them; it would take any bytes in them for letters."""
KINDS: Final = {"video": "video", "audio": "audio", "subtitles": "subtitle"}
"""mkvmerge's kinds of tracks, and ffprobe's of streams."""
_PROGRESS: Final = re.compile(r"^#GUI#progress (\d{1,3})%")
_SAID: Final = re.compile(r"^(?:#GUI#(warning|error) |(Warning|Error): )(.*)$")
_PLAYLISTS: Final = frozenset({"Blu-ray playlist", "MPEG playlist (MPLS)", "MPLS", "HDMV playlist"})
# A file's name may hold any word, and quotes: only whole sentences report damage, and not those in a name.
_SUBJECT: Final = re.compile(r"^'.*'(?: track \d+)?: ")
_BROKEN: Final = re.compile(
    r"Error in the Matroska file structure|Resync failed: no valid Matroska|indicates a damaged (?:file|Ogg)"
    r"|stream seems to be badly damaged|File contains fewer frames than expected or is corrupt"
)
_OF_SOURCE: Final = re.compile(
    r"could not be recognized|The size of attachment '.*' is 0|Unknown chapter file format|Not a valid Matroska file"
)
# What may pass: files that cannot be opened or written, memory, and the tool's own bugs. Its other errors are about
# the job's values, and would be the same at the next attempt.
_OF_HOST: Final = re.compile(
    r"could not be (?:opened|created|written|read)|(?:read|write|writing|seek)\b.*\b(?:error|failed)|bad_alloc|memory|"
    r"errno|not enough space|internal error|\bbug\b|unexpected|exception|assertion|Permission denied",
    re.IGNORECASE,
)
_QUOTED: Final = re.compile(r"'[^']*'")


@dataclass(frozen=True, slots=True)
class Track:
    """A track as mkvmerge numbers it; `kind` is video, audio, subtitles or buttons, `language` a BCP 47 tag."""

    number: int
    kind: str
    codec: str
    language: str
    name: str
    default: bool


@dataclass(frozen=True, slots=True)
class Attachment:
    """A file that a Matroska file carries."""

    number: int
    name: str
    media_type: str
    bytes: int | None = None


@dataclass(frozen=True, slots=True)
class Identified:
    """The content of a file for mkvmerge; `chapters` and `tags` count entries, `seconds` is None when unknown."""

    container: str
    tracks: tuple[Track, ...]
    attachments: tuple[Attachment, ...]
    chapters: int
    tags: int
    title: str
    seconds: float | None

    def kind_of(self, number: int) -> str:
        """Return the kind of the track with this number, which is there."""
        return next(track.kind for track in self.tracks if track.number == number)

    def like(self, asked: TrackExtract) -> Track | None:
        """Return the track that `asked` names: its number, or the n-th of its type and language."""
        if asked.track_type is None and asked.language is None:
            return next((track for track in self.tracks if track.number == asked.id), None)
        matching = [track for track in self.tracks if asked.track_type in {None, track.kind}]
        if asked.language:
            tag = bcp47(asked.language)
            exact = [track for track in matching if track.language == tag]
            matching = exact or [track for track in matching if is_language(track.language, tag)]
        return matching[asked.id] if asked.id < len(matching) else None


def identify_command(mkvmerge: str, path: Path) -> Command:
    """Return the question; `parse_identified` reads its answer."""
    return Command((mkvmerge, "-J", str(path)), success=frozenset({0, WARNED}))


def parse_identified(text: str, name: str) -> Identified:
    """Return mkvmerge's JSON as a value. BadInput when the file is none that it reads, or lists other files."""
    try:
        document = json.loads(text)
    except ValueError as error:
        raise ToolFailed(f"mkvmerge's answer about {name} is no JSON") from error
    container = document.get("container", {})
    kind = str(container.get("type", ""))
    if not container.get("recognized") or not container.get("supported"):
        raise BadInput(f"{name} is no file that mkvmerge reads")
    if kind in _PLAYLISTS or container.get("properties", {}).get("playlist"):
        raise BadInput(f"{name} is a playlist, which names other files")
    properties = container.get("properties", {})
    duration = properties.get("duration")
    return Identified(
        container=kind,
        tracks=tuple(_track(item) for item in document.get("tracks", [])),
        attachments=tuple(
            Attachment(
                int(item["id"]), str(item.get("file_name", "")), str(item.get("content_type", "")), item.get("size")
            )
            for item in document.get("attachments", [])
        ),
        chapters=sum(int(item.get("num_entries", 0)) for item in document.get("chapters", [])),
        tags=sum(
            int(item.get("num_entries", 0)) for key in ("global_tags", "track_tags") for item in document.get(key, [])
        ),
        title=str(properties.get("title", "")),
        seconds=duration / 1e9 if isinstance(duration, int) else None,
    )


def _track(item: Mapping[str, Any]) -> Track:
    properties = item.get("properties", {})
    return Track(
        number=int(item["id"]),
        kind=str(item.get("type", "")),
        codec=str(item.get("codec", "")),
        language=bcp47(str(properties.get("language_ietf") or properties.get("language") or "")),
        name=str(properties.get("track_name", "")),
        default=bool(properties.get("default_track", False)),
    )


@dataclass(frozen=True, slots=True)
class MergeFiles:
    """The local files of a merge: sources in order, attachments with name and type, the output."""

    sources: tuple[Path, ...]
    attachments: tuple[tuple[Path, str | None, str | None], ...]
    output: Path
    chapters: Path | None = None


def merge_arguments(params: MergeParams, found: Sequence[Identified], files: MergeFiles) -> list[str]:
    """Return mkvmerge's arguments, for an option file.

    InvalidJob with every track that its source does not have.
    """
    if problems := _missing_tracks(params, found):
        raise InvalidJob(problems)
    arguments = ["--gui-mode", "--output", str(files.output)]
    for name, value in params.options.items():
        if name not in SOURCE_FLAGS:
            arguments += _option(name, value)
    if files.chapters:
        arguments += ["--chapters", str(files.chapters)]
    for index, source in enumerate(params.sources):
        arguments += _source_arguments(params, index, source, found[index])
        # "=" keeps mkvmerge from appending files whose names count on from this one's
        arguments += [f"={files.sources[index]}"]
    for path, title, media_type in files.attachments:
        arguments += ["--attachment-name", title or path.name]
        arguments += ["--attachment-mime-type", media_type] if media_type else []
        arguments += ["--attach-file", str(path)]
    order = [f"{track.source}:{track.number}" for track in params.tracks]
    return [*arguments, *(["--track-order", ",".join(order)] if order else [])]


def _missing_tracks(params: MergeParams, found: Sequence[Identified]) -> list[Problem]:
    problems: list[Problem] = []
    for index, track in enumerate(params.tracks):
        numbers = [item.number for item in found[track.source].tracks]
        if track.number not in numbers:
            there = f"{params.sources[track.source].filename} has the tracks {', '.join(map(str, numbers)) or 'none'}"
            problems.append(Problem(f"tracks[{index}].track", f"is {track.number}, but {there}"))
    return problems


def _source_arguments(params: MergeParams, index: int, source: MergeSource, found: Identified) -> list[str]:
    arguments: list[str] = []
    listed = [track for track in params.tracks if track.source == index]
    for kind, switch in (("video", "video"), ("audio", "audio"), ("subtitles", "subtitle"), ("buttons", "button")):
        numbers = [track.number for track in listed if found.kind_of(track.number) == kind]
        if source.copies(kind):
            continue
        arguments += [f"--{switch}-tracks", ",".join(map(str, numbers))] if numbers else [f"--no-{kind}"]
    for name, value in params.options.items():
        if name in SOURCE_FLAGS:
            arguments += _option(name, value)
    for name, value in source.options.items():
        if name not in COPIES:
            arguments += _option(name, value)
    for track in listed:
        for name, value in track.options.items():
            if name in TRACK_FLAGS:
                arguments += [f"--{name}", str(track.number)] if value is not False else []
            else:
                arguments += [f"--{name}", f"{track.number}:{option_text(value)}"]
    return arguments


def _option(name: str, value: OptionValue) -> list[str]:
    if value is None or value is True:
        return [f"--{name}"]
    return [] if value is False else [f"--{name}", option_text(value)]


def option_file_command(program: str, option_file: Path, arguments: Sequence[str] = ()) -> Command:
    """Return the command whose `arguments` are in a JSON file: no length limit, and nothing to escape."""
    return Command((program, f"@{option_file}"), success=frozenset({0, WARNED}), names=tuple(arguments))


def progress_of(line: str) -> float | None:
    """Return the fraction in a line of `--gui-mode`, or None for another line."""
    match = _PROGRESS.match(line)
    return min(1.0, int(match[1]) / 100) if match else None


def warnings_of(text: str) -> list[str]:
    """Return the warnings that a tool wrote."""
    return [
        match[3] for line in text.splitlines() if (match := _SAID.match(line)) and "arning" in (match[1] or match[2])
    ]


def broken_structure(warnings: Sequence[str]) -> str | None:
    """Return the warning about a damaged source, which the tools pass over at exit 1; None without one."""
    return next((text for text in warnings if _BROKEN.search(_SUBJECT.sub("", text))), None)


def matroska_failure(exit_: Exit, subject: str) -> LeveretError:
    """Return what a failed mkvmerge or mkvextract means; it prints its errors on standard output."""
    said = [match for line in exit_.output.splitlines() if (match := _SAID.match(line))]
    errors = [match[3] for match in said if "rror" in (match[1] or match[2])]
    # a full disk or a lost mount is among the errors
    general = classify(replace(exit_, tail=f"{exit_.output}\n{exit_.tail}"), subject)
    if not errors or not isinstance(general, ToolFailed):
        return general
    message = f"{subject}: {exit_.command.program} exited {exit_.code}: {errors[-1]}"
    words = exit_.command.without_names(errors[-1])
    if _OF_SOURCE.search(words):
        return BadInput(message)
    if _OF_HOST.search(_QUOTED.sub("", words)):
        return ToolFailed(message, passing="could not be opened" in words)
    return InvalidJob([Problem("", message)])
