"""The data of an `hls` task."""

from __future__ import annotations

import re
from typing import Annotated, Final, Literal

from pydantic import AfterValidator, Field, StringConstraints, model_validator

from worker.core.job import Model, Place, Text
from worker.core.parts import Division  # noqa: TC001  # pydantic reads it at run time
from worker.media.ffmpeg.encoders import AUDIO_ENCODERS, bits_per_second, encoder_named
from worker.media.hls.ladder import Size
from worker.media.languages import is_tag
from worker.media.loudness import LoudnessParams  # noqa: TC001  # pydantic reads it at run time
from worker.media.selection import Disposition, SelectedCodec  # noqa: TC001  # as above
from worker.media.subtitles.charset import Charset  # noqa: TC001  # pydantic reads it at run time
from worker.media.verify import DAMAGE_MEANING, Damage, Verify

_NAMED: Final = {"4k": 2160, "uhd": 2160, "2k": 1440, "qhd": 1440, "fhd": 1080, "fullhd": 1080, "hd": 720, "sd": 480}
_LINES: Final = re.compile(r"^(\d{2,4})p?$")
_BOX: Final = re.compile(r"^(\d{2,5})[x:](\d{2,5})$")
MAX_SIDE: Final = 8192


def resolution_of(text: str) -> int | Size:
    """Return the short side that `720p` or `4k` means, or the box of `1280x720`; ValueError when it is neither."""
    name = text.strip().lower()
    if name in _NAMED:
        return _NAMED[name]
    if match := _LINES.match(name):
        return _checked_side(int(match[1]), text)
    if match := _BOX.match(name):
        return Size(_checked_side(int(match[1]), text), _checked_side(int(match[2]), text))
    raise ValueError(f"{text[:40]!r} is no resolution; write 720p or 1280x720")


def _checked_side(side: int, text: str) -> int:
    if not 16 <= side <= MAX_SIDE:  # noqa: PLR2004  # the least size that every encoder takes
        raise ValueError(f"{text[:40]!r} is no resolution from 16 to {MAX_SIDE}")
    return side


def _resolution(text: str) -> str:
    resolution_of(text)
    return text


def _codec(name: str) -> str:
    encoder_named(name)
    return name


def _audio_codec(name: str) -> str:
    if name.lower() not in AUDIO_ENCODERS:
        raise ValueError(f"unknown audio codec {name[:60]!r}; known are {', '.join(sorted(AUDIO_ENCODERS))}")
    return name.lower()


def _bitrate(value: str | int) -> str | int:
    bits_per_second(value)
    return value


def _language(tag: str) -> str:
    if not is_tag(tag):
        raise ValueError(f"{tag[:40]!r} is no language; write en, jpn or pt-BR")
    return tag


def _file_name(name: str) -> str:
    if "/" in name or name.startswith(".") or not name.endswith(".m3u8"):
        raise ValueError(f"{name[:100]!r} is no name of a playlist; write one like master.m3u8, without folders")
    return name


def _folder(place: str) -> str:
    return place if place.endswith("/") else place + "/"


Resolution = Annotated[str, StringConstraints(max_length=32), AfterValidator(_resolution)]
VideoCodec = Annotated[str, StringConstraints(max_length=64), AfterValidator(_codec)]
AudioCodec = Annotated[str, StringConstraints(max_length=64), AfterValidator(_audio_codec)]
Bitrate = Annotated[str | int, AfterValidator(_bitrate)]
Language = Annotated[str, StringConstraints(max_length=35), AfterValidator(_language)]
Folder = Annotated[Place, AfterValidator(_folder)]
PlaylistName = Annotated[str, StringConstraints(min_length=6, max_length=200), AfterValidator(_file_name)]
Channels = Annotated[int, Field(ge=1, le=8)]


class RenditionParams(Model):
    """One encoding of the picture; what is not said is derived from the source."""

    resolution: Resolution | None = Field(
        None, description="`720p` (the short side) or `1280x720` (a box that turns with a portrait source)."
    )
    height: Annotated[int, Field(ge=16, le=MAX_SIDE)] | None = Field(
        None, description="The short side; the same as `resolution` with a `p`."
    )
    codec: VideoCodec = Field("h264", description="h264, hevc, av1, vp9, or an encoder of ffmpeg by its name.")
    bitrate: Bitrate | None = Field(None, description="The mean bits a second: `2500k`; by default by quality.")
    quality: Annotated[float, Field(ge=0, le=63)] | None = Field(
        None, description="The encoder's constant rate factor; beside `bitrate` it is refused."
    )
    dest_path: Folder | None = Field(None, description="Where this rendition's playlist and segments go.")
    audio_codec: AudioCodec | None = Field(None, description="The codec of the sounds heard with this rendition.")
    audio_bitrate: Bitrate | None = Field(None, description="Their bits a second.")
    audio_channels: Channels | None = Field(None, description="Their channels.")
    loudness: LoudnessParams | None = Field(None, description="How loud the sounds heard with it shall be.")

    @model_validator(mode="after")
    def _one_size_one_rate(self) -> RenditionParams:
        if (self.resolution is None) == (self.height is None):
            raise ValueError("needs either resolution or height")
        if self.bitrate is not None and self.quality is not None:
            raise ValueError("has a bitrate and a quality; one steers the encoder")
        return self

    @property
    def size(self) -> int | Size:
        """Return the short side or the box that is asked for."""
        return self.height if self.height is not None else resolution_of(self.resolution or "")


class AudioParams(Model):
    """One sound: a stream of the source, by its number among the audio streams or by its language."""

    stream: Annotated[int, Field(ge=0, le=99)] | None = Field(
        None, description="The source's audio stream, counted from 0."
    )
    language: Language | None = Field(
        None, description="Without `stream`: the first stream in this language. With it: what to call its language."
    )
    disposition: Disposition | None = Field(
        None, description="Without `stream`: only streams with it: default, comment, hearing_impaired, …."
    )
    source_codec: SelectedCodec | None = Field(
        None, description="Without `stream`: only streams whose codec this is; `codec` is what is made of them."
    )
    every: bool = Field(default=False, description="Whether all matching streams are taken, not only the first.")
    name: Text = Field("", description="What players show; by default the language's name.")
    default: bool | None = Field(
        None, description="Whether it plays when the viewer has chosen none; by default the first."
    )
    codec: AudioCodec = Field("aac", description="aac, ac3, eac3, opus or flac.")
    bitrate: Bitrate | None = Field(None, description="Bits a second; by default 64k a channel, in AAC.")
    channels: Channels | None = Field(None, description="By default two, or one where the source has one.")
    loudness: LoudnessParams | None = Field(None, description="How loud it shall be (EBU R128).")

    @model_validator(mode="after")
    def _refuse_ambiguous_choice(self) -> AudioParams:
        likeness = self.disposition is not None or self.source_codec is not None or self.every
        if self.stream is None and not (self.language or self.disposition or self.source_codec):
            raise ValueError("needs a stream, or a language, disposition or source_codec")
        if self.stream is not None and likeness:
            raise ValueError("has both a stream and its properties; give one of them")
        return self


class SubtitleParams(Model):
    """One subtitle: a text stream of the source or a file of its own (SRT, WebVTT, ASS)."""

    source: Place | None = Field(None, description="A subtitle file; without it the task's source.")
    stream: Annotated[int, Field(ge=0, le=99)] | None = Field(
        None, description="The source's subtitle stream, counted from 0."
    )
    charset: Charset | None = Field(
        None, description="Its charset where it is not UTF-8: `cp1252`, `windows-1251`, `shift_jis`."
    )
    language: Language | None = Field(
        None,
        description="With a source or a stream: what to call its language. Without: only streams in this language.",
    )
    disposition: Disposition | None = Field(None, description="Without `stream`: only streams with it: forced, ….")
    source_codec: SelectedCodec | None = Field(None, description="Without `stream`: only streams whose codec this is.")
    every: bool = Field(default=False, description="Whether all matching streams are taken, not only the first.")
    name: Text = Field("", description="What players show; by default the language's name.")
    default: bool = Field(default=False, description="Whether it is shown when the viewer has chosen none.")
    forced: bool = Field(default=False, description="Whether it holds only what must be read.")

    @model_validator(mode="after")
    def _refuse_ambiguous_choice(self) -> SubtitleParams:
        likeness = bool(self.disposition or self.source_codec or self.every)
        if self.source is not None and self.stream is not None:
            raise ValueError("has a source and a stream; give one of them")
        if self.source is None and self.stream is None and not (self.language or self.disposition or self.source_codec):
            raise ValueError("needs a source, a stream, or a language, disposition or source_codec")
        if likeness and (self.source is not None or self.stream is not None):
            raise ValueError("has both a source or a stream and its properties; give one of them")
        return self


class HlsParams(Model):
    """Adaptive streaming: HLS and DASH from the same segments."""

    source: Place = Field(description="The film or the sound.")
    format: Annotated[str, StringConstraints(max_length=32)] | None = Field(
        None, description="What the publisher believes the source to be; it is probed in any case."
    )
    renditions: list[RenditionParams] = Field(
        default_factory=list, max_length=20, description="The encodings; by default a ladder derived from the source."
    )
    segment_time: Annotated[float, Field(ge=1, le=60)] = Field(6.0, description="Seconds a segment, about.")
    segment_format: Literal["fmp4", "ts"] = Field(
        "fmp4", description="CMAF, which HLS and DASH share, or MPEG-TS for HLS alone."
    )
    master_playlist_name: PlaylistName = Field("master.m3u8", description="The multivariant playlist's name.")
    destination: Folder | None = Field(None, description="The folder of the manifests; by default the job's.")
    output_base: Folder | None = Field(
        None, description="The same in the transcode dialect, where several outputs have paths of their own."
    )
    audio: list[AudioParams] | None = Field(
        None, max_length=50, description="The sounds; by default every audio stream, and none for an empty list."
    )
    subtitles: list[SubtitleParams] | None = Field(
        None, max_length=50, description="The subtitles; by default every text stream, and none for an empty list."
    )
    loudness: LoudnessParams | None = Field(None, description="How loud every sound shall be (EBU R128).")
    hdr: Literal["sdr", "keep"] = Field("sdr", description="Whether HDR is tone-mapped to SDR, or kept and signalled.")
    poster: bool = Field(default=True, description="Whether to publish a still of the film.")
    storyboard: bool = Field(default=True, description="Whether to publish small pictures for a seek bar.")
    hw_fallback: bool = Field(
        default=False,
        description="Whether a software encoder is used where the hardware of a rendition's encoder is missing.",
    )
    parts: Division = Field(
        "auto",
        description="Whether several workers make it together: if it saves time, never, or in parts of given seconds.",
    )
    overwrite: bool = Field(default=True, description="Whether manifests of that name may be replaced.")
    damage: Damage = Field("refuse", description=DAMAGE_MEANING)
    verify: Verify = Field("probe", description="`decode` reads every rendition to its end once more.")
