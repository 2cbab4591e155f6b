"""Streams chosen by what they are: language, disposition, codec."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Final

from pydantic import AfterValidator, Field, StringConstraints

from worker.core.hints import nearest
from worker.core.job import Model
from worker.media.languages import UNKNOWN, bcp47, is_tag

if TYPE_CHECKING:
    from worker.core.media_info import MediaInfo, StreamInfo

FIRST_PICTURE: Final = "0:V:0"
"""ffmpeg's specifier of the first picture that is not marked as a cover."""
DISPOSITIONS: Final = frozenset(
    {
        "default", "dub", "original", "comment", "lyrics", "karaoke", "forced", "hearing_impaired", "visual_impaired",
        "clean_effects", "attached_pic", "timed_thumbnails", "non_diegetic", "captions", "descriptions", "metadata",
        "dependent", "still_image", "multilayer",
    }
)  # fmt: skip
"""The dispositions that ffprobe (5.1 to 8) reports of a stream."""
_CODECS: Final = {
    "avc": "h264", "h265": "hevc", "x264": "h264", "x265": "hevc", "mpeg2": "mpeg2video", "ac-3": "ac3",
    "ec-3": "eac3", "e-ac-3": "eac3", "srt": "subrip", "ssa": "ass", "vtt": "webvtt", "pgs": "hdmv_pgs_subtitle",
    "vobsub": "dvd_subtitle", "dvdsub": "dvd_subtitle", "dvbsub": "dvb_subtitle", "tx3g": "mov_text",
}  # fmt: skip
"""Everyday names of codecs, and ffprobe's."""


def _language(tag: str) -> str:
    if not is_tag(tag):
        raise ValueError(f"{tag[:40]!r} is no language; write en, eng or pt-BR")
    return tag


def _disposition(name: str) -> str:
    if name not in DISPOSITIONS:
        raise ValueError(f"{name[:40]!r} is no disposition{nearest(name, DISPOSITIONS)}")
    return name


def codec_name(name: str) -> str:
    """Return ffprobe's name of a codec that people call so; ValueError for the name of an encoder."""
    if name == "copy" or name.startswith("lib"):
        raise ValueError(f"{name[:40]!r} is how a stream is made; write it into options: here is what a stream has")
    return _CODECS.get(name.lower(), name.lower())


SelectedLanguage = Annotated[str, StringConstraints(max_length=35), AfterValidator(_language)]
Disposition = Annotated[str, StringConstraints(max_length=40), AfterValidator(_disposition)]
SelectedCodec = Annotated[str, StringConstraints(min_length=1, max_length=64), AfterValidator(codec_name)]


class Selection(Model):
    """Conditions on the chosen streams; a field that is not given is no condition."""

    language: SelectedLanguage | None = Field(
        None, description="Only streams in this language: `en` and `eng` are one, and mean `en-US` too; `und` is none."
    )
    disposition: Disposition | None = Field(
        None, description="Only streams with this disposition: default, forced, comment, hearing_impaired, …."
    )
    codec: SelectedCodec | None = Field(
        None, description="Only streams whose codec this is, by ffprobe's name: h264, aac, subrip; pgs and srt too."
    )

    @property
    def selects(self) -> bool:
        """Return whether it asks for anything."""
        return any((self.language, self.disposition, self.codec))

    def picks(self, stream: StreamInfo) -> bool:
        """Return whether a stream is like that."""
        return (
            (self.language is None or speaks(self.language, stream.language))
            and (self.disposition is None or self.disposition in stream.dispositions)
            and (self.codec is None or self.codec == stream.codec)
        )

    def description(self) -> str:
        """Return what is asked for, in words: `language eng, disposition forced`."""
        asked = {"language": self.language, "disposition": self.disposition, "codec": self.codec}
        return ", ".join(f"{key} {value}" for key, value in asked.items() if value)


def speaks(wanted: str, language: str | None) -> bool:
    """Return whether `language` is in the range `wanted` (RFC 4647, basic filtering): `en` takes in `en-US`."""
    asked, has = bcp47(wanted).lower(), bcp47(language).lower()
    return has == asked or (asked != UNKNOWN and has.startswith(f"{asked}-"))


def picture_specifier(info: MediaInfo) -> str:
    """Return ffmpeg's specifier of a film's picture: by its number where a cover that nothing marks is before it."""
    first = info.of_kind("video")[:1]
    return FIRST_PICTURE if info.video is None or first == (info.video,) else f"0:{info.video.index}"
