"""The data of `mkvmerge` and `mkvextract` tasks."""

from __future__ import annotations

from typing import Annotated, Any, Final, Literal

from pydantic import (
    AfterValidator,
    AliasChoices,
    BeforeValidator,
    Field,
    StringConstraints,
    ValidationInfo,
    model_validator,
)

from worker.core.faults import faults, fields_alone
from worker.core.hints import nearest
from worker.core.job import Model, Place
from worker.media.languages import is_tag
from worker.media.selection import Selection
from worker.media.subtitles.charset import Charset, is_charset
from worker.media.verify import Verify  # noqa: TC001  # pydantic reads it at run time

GLOBAL_FLAGS: Final = frozenset(
    {
        "webm", "no-cues", "no-date", "disable-lacing", "disable-track-statistics-tags", "disable-language-ietf",
        "enable-durations", "clusters-in-meta-seek",
    }
)  # fmt: skip
GLOBAL_VALUES: Final = frozenset(
    {
        "title", "default-language", "cluster-length", "timestamp-scale", "generate-chapters",
        "generate-chapters-name-template", "normalize-language-ietf", "chapter-language",
    }
)  # fmt: skip
SOURCE_FLAGS: Final = frozenset({"no-global-tags", "no-track-tags", "no-chapters", "no-attachments"})
SOURCE_VALUES: Final = frozenset({"attachments", "track-tags", "chapter-charset", "chapter-language", "chapter-sync"})
COPIES: Final = {
    "_copy-video-tracks": "video",
    "_copy-audio-tracks": "audio",
    "_copy-subtitles-tracks": "subtitles",
}
TRACK_FLAGS: Final = frozenset({"reduce-to-core", "remove-dialog-normalization-gain"})
TRACK_VALUES: Final = frozenset(
    {
        "language", "track-name", "default-track-flag", "forced-display-flag", "track-enabled-flag",
        "hearing-impaired-flag", "visual-impaired-flag", "text-descriptions-flag", "original-flag", "commentary-flag",
        "sync", "cues", "default-duration", "aac-is-sbr", "fix-bitstream-timing-information", "aspect-ratio",
        "aspect-ratio-factor", "display-dimensions", "cropping", "field-order", "stereo-mode", "compression",
        "sub-charset", "color-matrix-coefficients", "color-range", "color-transfer-characteristics",
        "color-primaries", "color-bits-per-channel", "max-content-light", "max-frame-light", "max-luminance",
        "min-luminance",
    }
)  # fmt: skip
ALIASES: Final = {
    "title": "track-name",
    "track-title": "track-name",
    "default-track": "default-track-flag",
    "forced-track": "forced-display-flag",
}
"""Track options as the predecessors and older mkvmerge spell them."""

OptionValue = Annotated[str, StringConstraints(max_length=2000)] | bool | int | float | None
Options = dict[Annotated[str, StringConstraints(max_length=64)], OptionValue]
TrackKind = Literal["video", "audio", "subtitles"]


def option_text(value: OptionValue) -> str:
    """Return a value as mkvmerge reads it."""
    return str(int(value)) if isinstance(value, bool) else str(value)


def _option_sentences(flags: frozenset[str], values: frozenset[str]) -> str:
    """Return the sentences that name the options: flags, and those with a value."""
    return f"Flags: {', '.join(sorted(flags))}. With a value: {', '.join(sorted(values))}."


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
        f" `_copy-subtitles-tracks` copy all of a kind. {_option_sentences(SOURCE_FLAGS, SOURCE_VALUES)}",
    )

    charset: Charset | None = Field(
        None, description="The charset of a subtitle file that is not UTF-8: `cp1252`, `windows-1251`, `shift_jis`."
    )

    @model_validator(mode="after")
    def _refuse_faulty_options(self) -> MergeSource:
        known = SOURCE_FLAGS | SOURCE_VALUES | set(COPIES)
        found = list(_option_faults(self.options, SOURCE_FLAGS, SOURCE_VALUES, known, set(COPIES)))
        found += _charset_faults(self.options, "chapter-charset")
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
        description=f"mkvmerge's options for it. {_option_sentences(TRACK_FLAGS, TRACK_VALUES)}"
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
        found = list(_option_faults(self.options, TRACK_FLAGS, TRACK_VALUES, known, of_track=True))
        found += _charset_faults(self.options, "sub-charset")
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


def _choice_faults(track: MergeTrack) -> list[tuple[tuple[str | int, ...], str]]:
    likeness = track.track_type is not None or track.selects
    if track.track is None and not likeness:
        return [(("track",), "is missing; give a number, or a track_type, language, disposition or codec")]
    if track.track is not None and (likeness or track.every):
        return [(("track",), "is a number beside what the track is like; give one of them")]
    return []


def _option_faults(
    options: Options,
    flags: frozenset[str],
    values: frozenset[str],
    known: set[str] | frozenset[str],
    copies: set[str] | None = None,
    *,
    of_track: bool = False,
) -> list[tuple[tuple[str | int, ...], str]]:
    found: list[tuple[tuple[str | int, ...], str]] = []
    for name, value in options.items():
        place = ("options", name)
        if name in (copies or set()):
            if not (value is None or isinstance(value, bool)):
                found.append((place, "is a switch; write true"))
        elif name in flags:
            if not (value is None or isinstance(value, bool)):
                found.append((place, "is a flag; write null"))
        elif name not in values:
            found.append((place, f"unknown option{nearest(name, known)}"))
        elif value is None or (not of_track and isinstance(value, bool)):
            # An option without its value would take the next argument for it, and that one's value be a file's name.
            found.append((place, "needs a value"))
    return found


def _charset_faults(options: Options, name: str) -> list[tuple[tuple[str | int, ...], str]]:
    """Return the fault of an option that names a charset: mkvmerge reads an unknown one as if nothing had been said."""
    value = options.get(name)
    if not isinstance(value, str) or is_charset(value):
        return []
    return [(("options", name), f"{value[:40]!r} is no charset; write one like cp1252 or shift_jis")]


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
        f" {_option_sentences(GLOBAL_FLAGS, GLOBAL_VALUES)}",
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
        found = list(_option_faults(self.options, flags, values, flags | values))
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
