"""The data of an ffmpeg task."""

from __future__ import annotations

from pathlib import PurePosixPath
from typing import Annotated, Any, Final, Literal, Self

from pydantic import (
    AliasChoices,
    Field,
    StrictBool,
    StrictFloat,
    StrictInt,
    StringConstraints,
    ValidationError,
    ValidationInfo,
    ValidatorFunctionWrapHandler,
    WrapValidator,
    model_validator,
)

from worker.core.errors import RefusedPath
from worker.core.faults import Fault, faults, fields_alone
from worker.core.hints import nearest
from worker.core.job import Model, Place
from worker.core.location import Location, parse_location
from worker.core.parts import Division  # noqa: TC001  # pydantic reads it at run time
from worker.media.loudness import LoudnessParams  # noqa: TC001  # pydantic reads it at run time
from worker.media.selection import Selection
from worker.media.subtitles.charset import Charset  # noqa: TC001  # pydantic reads it at run time
from worker.media.verify import DAMAGE_MEANING, Damage, Verify

MUXERS: Final = {
    ".mkv": "matroska", ".mka": "matroska", ".mks": "matroska", ".webm": "webm", ".mp4": "mp4", ".m4v": "ipod",
    ".m4a": "ipod", ".mov": "mov", ".3gp": "3gp", ".ts": "mpegts", ".m2ts": "mpegts", ".mts": "mpegts",
    ".mpg": "mpeg", ".mpeg": "mpeg", ".vob": "vob", ".avi": "avi", ".flv": "flv", ".wmv": "asf", ".wma": "asf",
    ".mxf": "mxf", ".nut": "nut", ".y4m": "yuv4mpegpipe", ".ogg": "ogg", ".ogv": "ogv", ".oga": "oga",
    ".opus": "opus", ".mp3": "mp3", ".flac": "flac", ".wav": "wav", ".w64": "w64", ".aiff": "aiff", ".aac": "adts",
    ".ac3": "ac3", ".eac3": "eac3", ".dts": "dts", ".h264": "h264", ".hevc": "hevc", ".ivf": "ivf", ".gif": "gif",
    ".srt": "srt", ".ass": "ass", ".vtt": "webvtt", ".sup": "sup", ".jpg": "image2", ".jpeg": "image2",
    ".png": "image2", ".webp": "webp",
}  # fmt: skip
"""The containers that this module writes, by the output's suffix. Playlists are the module hls's."""

Kind = Literal["v", "V", "a", "s", "d", "t"]
KIND_NAMES: Final[dict[str, str]] = {"v": "video", "a": "audio", "s": "subtitle", "d": "data", "t": "attachment"}
"""ffmpeg's letters for kinds of streams, and ffprobe's names."""

_Name = Annotated[str, StringConstraints(min_length=1, max_length=64)]
_Scalar = StrictBool | StrictInt | StrictFloat | Annotated[str, StringConstraints(max_length=2000)] | None


def _one_complaint(value: Any, validate: ValidatorFunctionWrapHandler) -> Any:
    """Return the value; a union would else complain once for each of its members."""
    try:
        return validate(value)
    except ValidationError:
        raise ValueError(
            "is a string of up to 2000 characters, a number, true, false, null, or a map of these"
        ) from None


OptionValue = Annotated[_Scalar | dict[_Name, _Scalar], WrapValidator(_one_complaint)]
Options = dict[_Name, OptionValue]


class SourceMap(Selection):
    """A stream, or several, of a source to take: `-map 0:a:2?`."""

    source: int = Field(0, ge=0, le=99, description="The source's index in `sources`.")
    specifier: Kind | None = Field(
        None,
        validation_alias=AliasChoices("specifier", "stream_type"),
        description="v, V (no cover art), a, s, d or t; without it `stream` counts all streams.",
    )
    stream: int | None = Field(None, ge=0, le=9999, description="The n-th such stream, from 0; without it all of them.")
    optional: bool = Field(False, description="Whether a missing stream is accepted.")

    def __str__(self) -> str:
        """Return `0:a:2?` as ffmpeg's -map takes it."""
        parts = (self.source, self.specifier, self.stream)
        return ":".join(str(part) for part in parts if part is not None) + ("?" if self.optional else "")


class Burn(Model):
    """A subtitle that becomes part of the picture."""

    source: Place | None = Field(None, description="A subtitle file: SRT, WebVTT or ASS.")
    stream: int | None = Field(None, ge=0, le=999, description="The first source's subtitle stream, from 0: text only.")

    @model_validator(mode="after")
    def _one(self) -> Self:
        if (self.source is None) == (self.stream is None):
            raise ValueError("needs either a source or a stream")
        return self


class OutputMap(Selection):
    """The making of one stream of the output, or of several."""

    specifier: Kind | None = Field(
        None,
        validation_alias=AliasChoices("specifier", "stream_type"),
        description="v, V (no cover art), a, s, d or t; without it those of the encoder's kind, or all.",
    )
    stream: int | None = Field(
        None, ge=0, le=9999, description="The n-th such stream of the output, from 0; without it, or null, all of them."
    )
    options: Options = Field(
        default_factory=dict,
        max_length=100,
        description="ffmpeg's options for it; a map is joined with = and :."
        " The device of a VAAPI encoder and the upload of frames to it are added by the worker.",
    )
    option_set: Annotated[str, StringConstraints(min_length=1, max_length=200)] | None = Field(
        None,
        validation_alias=AliasChoices("option_set", "profile"),
        description="A stored set of options; those given here win over it.",
    )
    loudness: LoudnessParams | None = Field(
        None, description="How loud the sound shall be (EBU R128); silence is left alone."
    )

    burn: Burn | None = Field(
        None, description="A subtitle to draw into the picture, after the filters; it needs an ffmpeg with libass."
    )

    @model_validator(mode="after")
    def _refuse_incomplete(self) -> Self:
        if not self.options and self.option_set is None and self.loudness is None and self.burn is None:
            raise ValueError("needs options, an option_set, loudness, burn, or several of them")
        if self.burn is not None and self.specifier not in {"v", "V"}:
            raise ValueError("burns a subtitle, which needs a picture: give the specifier v")
        if self.loudness is not None and self.specifier not in {"a", None}:
            raise ValueError(f"asks for a loudness of a {self.specifier!r} stream, which is no sound")
        return self

    @property
    def stream_specifier(self) -> str:
        """Return `:v:0` as it follows an option, `:v` for all of a kind."""
        return "".join(f":{part}" for part in (self.specifier, self.stream) if part is not None)

    @property
    def encoder(self) -> str | None:
        """Return the codec or encoder that its options name."""
        name = self.options.get("codec", self.options.get("c"))
        return name if isinstance(name, str) else None


class FfmpegParams(Model):
    """The data of an ffmpeg task."""

    sources: list[Place] = Field(min_length=1, max_length=100, description="The files to read.")
    join: bool = Field(
        False,
        description="Whether the sources follow one another in one film: the first picture and the first sound of each,"
        " fitted into the first source's size, rate and layout, and encoded.",
    )
    input_options: Options = Field(
        default_factory=dict, max_length=50, description="Options before every input: ss, to, t, stream_loop, …."
    )
    charset: Charset | None = Field(
        None,
        description="The charset of those sources that are subtitle files and not UTF-8: `cp1252`, `windows-1251`, …",
    )
    source_maps: list[SourceMap] = Field(
        default_factory=list,
        max_length=1000,
        validation_alias=AliasChoices("source_maps", "source_map"),
        description="The streams of the output, in order; without it the best of each kind that the container takes.",
    )
    output_maps: list[OutputMap] = Field(
        default_factory=list,
        max_length=1000,
        validation_alias=AliasChoices("output_maps", "output_map"),
        description="How the streams are made; of an option that two maps give to a stream, the later one counts."
        " Without any, each is encoded as the container has it by default.",
    )
    unnamed: Literal["copy", "encode", "drop"] | None = Field(
        None,
        description="What becomes of streams that no output map names: copied, encoded as the container has it by"
        " default, or left out. Without it such a stream is refused; one that a source map takes by its number is"
        " encoded, with a warning. Covers, attachments and data are copied.",
    )
    output_file: Place = Field(
        description="The file to make; its suffix says the container. MP4 and MOV are written for a fast start."
    )
    overwrite: bool = Field(False, description="Whether a file that is there may be replaced.")
    hw_fallback: bool = Field(
        False, description="Whether a software encoder may stand in for a hardware encoder that a worker lacks."
    )
    parts: Division = Field(
        "auto",
        description="Whether several workers make it together: if it saves time, never, or in parts of given seconds.",
    )
    approximate: bool = Field(
        False,
        description="Whether it is only a warning when an encoder uses another pixel format, rate, size, sample rate,"
        " number of channels or profile than the options name.",
    )
    damage: Damage = Field("refuse", description=DAMAGE_MEANING)
    verify: Verify = Field(
        "probe", description="How the output is proved: by its streams and duration, or by decoding all of it too."
    )

    @property
    def muxer(self) -> str:
        """Return ffmpeg's name of the output's container."""
        return MUXERS[PurePosixPath(self.output_file).suffix.lower()]

    @model_validator(mode="after")
    def _consistent(self, info: ValidationInfo) -> Self:
        count = len(self.sources)
        there = "is 1 source" if count == 1 else f"are {count} sources"
        found: list[Fault] = [
            (("source_maps", index, "source"), f"is {item.source}, but there {there}, counted from 0")
            for index, item in enumerate(self.source_maps)
            if item.source >= count
        ]
        suffix = PurePosixPath(self.output_file).suffix.lower()
        if not self.source_maps:
            found += [
                (("output_maps", index, "loudness"), "needs source_maps, which say whose loudness is meant")
                for index, item in enumerate(self.output_maps)
                if item.loudness is not None
            ]
        found += self._join_problems() if self.join else []
        shifted = sorted({"ss", "sseof", "itsoffset", "itsscale", "stream_loop"} & self.input_options.keys())
        found += [
            (
                ("output_maps", index, "burn"),
                f"does not go with {shifted[0]}, which moves the picture's time: cut first",
            )
            for index, item in enumerate(self.output_maps)
            if item.burn is not None and shifted
        ]
        if suffix not in MUXERS:
            known = nearest(suffix, MUXERS) if suffix else f"; give it one of {', '.join(sorted(MUXERS))}"
            found.append(
                (("output_file",), f"has {suffix or 'no suffix'}, no container that this module writes{known}")
            )
        output = _place(self.output_file)
        if output and any(_place(source) == output for source in self.sources):
            found.append((("output_file",), f"{self.output_file!r} is also a source"))
        if found and not fields_alone(info):
            raise faults("ffmpeg", found)
        return self

    def _join_problems(self) -> list[Fault]:
        found: list[Fault] = []
        if self.source_maps:
            found.append((("source_maps",), "do not go with join, which takes the first picture and sound of each"))
        if {"ss", "to", "t", "sseof"} & self.input_options.keys():
            found.append((("input_options",), "cut every source: cut them in tasks of their own, then join"))
        for index, item in enumerate(self.output_maps):
            if item.encoder == "copy":
                found.append(
                    (("output_maps", index, "options", "codec"), "needs an encoder: what is joined is encoded")
                )
            if item.loudness is not None:
                found.append((("output_maps", index, "loudness"), "does not go with join: level the joined film"))
            if item.burn is not None and item.burn.stream is not None:
                found.append(
                    (("output_maps", index, "burn"), "needs a source of its own: what is joined has no stream")
                )
        return found


def _place(text: str) -> Location | None:
    """Return where `text` is, None where that is refused, which is reported where all paths of a job are checked."""
    try:
        return parse_location(text)
    except RefusedPath:
        return None


def merged_options(stored: dict[str, Any], inline: dict[str, Any]) -> dict[str, Any]:
    """Return an option set under the inline options, which win; `c` is `codec`, and a null codec is ffmpeg's choice."""
    both = {("codec" if key == "c" else key): value for key, value in stored.items()}
    both |= {("codec" if key == "c" else key): value for key, value in inline.items()}
    return {key: value for key, value in both.items() if key != "codec" or value is not None}
