"""The data of `mkvmerge` and `mkvextract` tasks."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import (
    AfterValidator,
    AliasChoices,
    BeforeValidator,
    Field,
    StringConstraints,
    ValidationInfo,
    model_validator,
)

from worker.core.faults import Fault, faults, fields_alone
from worker.core.job import Model, Place
from worker.media.languages import is_tag
from worker.media.matroska.options import (
    ALIASES,
    COPIES,
    GLOBAL_FLAGS,
    GLOBAL_VALUES,
    SOURCE_FLAGS,
    SOURCE_VALUES,
    TRACK_FLAGS,
    TRACK_VALUES,
    Options,
    charset_faults,
    option_faults,
    option_sentences,
)
from worker.media.selection import Selection
from worker.media.subtitles.charset import Charset  # noqa: TC001  # pydantic reads it at run time
from worker.media.verify import Verify  # noqa: TC001  # pydantic reads it at run time

TrackKind = Literal["video", "audio", "subtitles"]


def _language(tag: str) -> str:
    if not is_tag(tag):
        raise ValueError(f"{tag[:40]!r} is no language; write eng, ja or pt-BR")
    return tag


def _source(value: Any) -> Any:
    return {"filename": value} if isinstance(value, str) else value


class MergeSource(Model):
    """A file to take tracks from."""

    filename: Place = Field(description="The file.")
    options: Options = Field(
        default_factory=dict,
        description="mkvmerge's options for it, `null` for a flag; `_copy-video-tracks`, `_copy-audio-tracks` and"
        f" `_copy-subtitles-tracks` copy all of a kind. {option_sentences(SOURCE_FLAGS, SOURCE_VALUES)}",
    )

    charset: Charset | None = Field(
        None, description="The charset of a subtitle file that is not UTF-8: `cp1252`, `windows-1251`, `shift_jis`."
    )

    @model_validator(mode="after")
    def _refuse_faulty_options(self) -> MergeSource:
        known = SOURCE_FLAGS | SOURCE_VALUES | set(COPIES)
        found = list(option_faults(self.options, SOURCE_FLAGS, SOURCE_VALUES, known, set(COPIES)))
        found += charset_faults(self.options, "chapter-charset")
        if found:
            raise faults("source", found)
        return self

    def copies(self, kind: str) -> bool:
        """Return whether all tracks of a kind are copied."""
        return any(COPIES.get(name) == kind and value is not False for name, value in self.options.items())


class MergeTrack(Selection):
    """A track to copy, by its number or by what it is, and what the new file says of it."""

    source: Annotated[int, Field(ge=0)] = Field(0, description="Which of `sources`, counted from 0.")
    track: Annotated[int, Field(ge=0, le=1000)] | None = Field(
        None, description="The track's number in it, counted from 0; or say what it is like."
    )
    track_type: TrackKind | None = Field(None, description="Without a number: video, audio or subtitles.")
    every: bool = Field(default=False, description="Whether all tracks like that are meant, and not the first alone.")
    options: Options = Field(
        default_factory=dict,
        description=f"mkvmerge's options for it. {option_sentences(TRACK_FLAGS, TRACK_VALUES)}"
        " `default-track`, `forced-track`,"
        " `title` and `track-title` are understood too.",
    )

    @model_validator(mode="before")
    @classmethod
    def _older_names(cls, value: Any) -> Any:
        if isinstance(value, dict) and isinstance(value.get("options"), dict):
            renamed = {ALIASES.get(name, name): item for name, item in value["options"].items()}
            return {**value, "options": renamed}
        return value

    @model_validator(mode="after")
    def _refuse_faulty_options(self) -> MergeTrack:
        known = TRACK_FLAGS | TRACK_VALUES | set(ALIASES)
        found = list(option_faults(self.options, TRACK_FLAGS, TRACK_VALUES, known, of_track=True))
        found += charset_faults(self.options, "sub-charset")
        found += _choice_faults(self)
        language = self.options.get("language")
        if isinstance(language, str) and not is_tag(language):
            found.append((("options", "language"), f"{language[:40]!r} is no language; write eng, ja or pt-BR"))
        if found:
            raise faults("track", found)
        return self

    @property
    def number(self) -> int:
        """Return the track's number, once it is known."""
        if self.track is None:
            raise ValueError("the track is not chosen yet")
        return self.track

    def track_description(self) -> str:
        """Return what is asked for, in words."""
        return ", ".join(filter(None, (self.track_type, self.description())))


def _choice_faults(track: MergeTrack) -> list[Fault]:
    likeness = track.track_type is not None or track.selects
    if track.track is None and not likeness:
        return [(("track",), "is missing; give a number, or a track_type, language, disposition or codec")]
    if track.track is not None and (likeness or track.every):
        return [(("track",), "is a number beside what the track is like; give one of them")]
    return []


class MergeAttachment(Model):
    """A file that the new file carries."""

    filename: Place = Field(description="The file.")
    name: Annotated[str, StringConstraints(max_length=255)] | None = Field(
        None, description="What it is called inside."
    )
    mime_type: Annotated[str, StringConstraints(max_length=100, pattern=r"^[\w.+-]+/[\w.+-]+$")] | None = Field(
        None, description="Its media type; by default what mkvmerge finds."
    )


class MergeParams(Model):
    """One Matroska (or WebM) file from tracks of others. No track is copied that is not listed."""

    sources: list[Annotated[MergeSource, BeforeValidator(_source)]] = Field(
        min_length=1, max_length=100, description="The files, as objects or plain names."
    )
    tracks: list[MergeTrack] = Field(
        default_factory=list, max_length=500, description="The tracks, in the new file's order."
    )
    attachments: list[MergeAttachment] = Field(default_factory=list, max_length=500, description="Files to carry.")
    attachment_directories: list[Place] = Field(
        default_factory=list,
        max_length=20,
        description="Folders whose fonts and pictures are carried; files of unknown type are skipped.",
    )
    options: Options = Field(
        default_factory=dict,
        description="mkvmerge's options for the whole file, `null` for a flag; those for a source count for all."
        f" {option_sentences(GLOBAL_FLAGS, GLOBAL_VALUES)}",
    )
    chapters: Place | None = Field(None, description="A file with chapters (XML or OGM).")
    chapters_charset: Charset | None = Field(
        None, description="Its charset where it is not UTF-8, and is no XML that says it."
    )
    output_file: Place = Field(description="The new file.")
    overwrite: bool = Field(default=False, description="Whether a file of that name may be replaced.")
    verify: Verify = Field(
        "probe",
        description="How the new file is proved: by its tracks and seconds, or by decoding all of it too, which alone"
        " finds damage inside of a source's pictures and sounds.",
    )

    @model_validator(mode="after")
    def _consistent(self, info: ValidationInfo) -> MergeParams:
        flags, values = GLOBAL_FLAGS | SOURCE_FLAGS, GLOBAL_VALUES
        found = list(option_faults(self.options, flags, values, flags | values))
        count = len(self.sources)
        there = f"there is {count} source" if count == 1 else f"there are {count} sources"
        seen: set[tuple[int, int]] = set()
        for index, track in enumerate(self.tracks):
            if track.source >= count:
                found.append((("tracks", index, "source"), f"is {track.source}, but {there}"))
            elif track.track is not None and (track.source, track.track) in seen:
                message = f"is {track.track} of source {track.source} for the second time"
                found.append((("tracks", index, "track"), message))
            if track.track is not None:
                seen.add((track.source, track.track))
        if not self.tracks and not any(source.copies(kind) for source in self.sources for kind in COPIES.values()):
            found.append((("tracks",), "names no track, and no source copies all of a kind"))
        if found and not fields_alone(info):
            raise faults("mkvmerge", found)
        return self


class TrackExtract(Model):
    """A track to write into a file of its own."""

    id: Annotated[int, Field(ge=0, le=1000)] = Field(
        0, description="The track's number; with `track_type` or `language`, the n-th that is like that, from 0."
    )
    track_type: TrackKind | None = Field(None, description="video, audio or subtitles.")
    language: Annotated[str, AfterValidator(_language)] | None = Field(
        None, description="Its language; `pt` means `pt-BR` too where no track is just `pt`."
    )
    filename: Place = Field(
        description="The file. A VobSub is two files, `.idx` and `.sub`: both are published, whichever is named."
    )


class AttachmentExtract(Model):
    """An attachment to write, by its number or its name."""

    id: Annotated[int, Field(ge=1, le=10000)] | None = Field(None, description="Its number, counted from 1.")
    name: Annotated[str, StringConstraints(max_length=255)] | None = Field(None, description="Its name.")
    filename: Place = Field(description="The file.")

    @model_validator(mode="after")
    def _refuse_ambiguous_choice(self) -> AttachmentExtract:
        if (self.id is None) == (self.name is None):
            raise ValueError("needs either an id or a name")
        return self


class ExtractParams(Model):
    """Parts of a Matroska file, each into a file of its own."""

    source: Place = Field(description="The Matroska file.")
    tracks: list[TrackExtract] = Field(default_factory=list, max_length=100, description="Tracks.")
    attachments: list[AttachmentExtract] = Field(default_factory=list, max_length=500, description="Attachments.")
    chapters: Place | None = Field(None, description="Where the chapters go, as XML.")
    tags: Place | None = Field(None, description="Where the tags go, as XML.")
    timestamps: list[TrackExtract] = Field(
        default_factory=list,
        max_length=100,
        description="Timestamps of tracks, one a line.",
        validation_alias=AliasChoices("timestamps", "timestamps_v2"),
    )
    cues: list[TrackExtract] = Field(default_factory=list, max_length=100, description="The index of tracks.")
    overwrite: bool = Field(default=False, description="Whether files of these names may be replaced.")

    @model_validator(mode="after")
    def _refuse_incomplete(self) -> ExtractParams:
        places = [item.filename for item in (*self.tracks, *self.timestamps, *self.cues)]
        places += [item.filename for item in self.attachments]
        places += [place for place in (self.chapters, self.tags) if place]
        if not places:
            raise ValueError("names nothing to extract")
        if len(set(places)) < len(places):
            raise ValueError("two parts go into the same file")
        return self
