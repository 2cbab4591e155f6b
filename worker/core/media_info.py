"""The description of a media file, as values; `worker.media.probe` reads them from ffprobe."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass, field
from fractions import Fraction
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from collections.abc import Mapping

_FRACTIONS: Final = ("frame_rate", "sample_aspect")
_MOST_PRIMING: Final = 0.25
"""HE-AAC needs most, 5,186 samples; an Opus may state 80 ms."""
_IMAGES: Final = frozenset({"mjpeg", "png", "bmp", "gif", "webp", "tiff"})


@dataclass(frozen=True, slots=True)
class StreamInfo:
    """One stream. Fields that its kind does not have are None.

    `kind` is ffprobe's: video, audio, subtitle, data, attachment. `frame_rate` is the average one, exact
    (30000/1001). `sample_aspect` is the shape of a pixel (1 when unknown), `rotation` degrees clockwise to
    show it upright (0, 90, 180, 270). `start`, `duration` are seconds. `empty` says that it was tried, and that nothing
    of it decodes.
    """

    index: int
    kind: str
    codec: str
    language: str | None = None
    title: str | None = None
    duration: float | None = None
    start: float | None = None
    frames: int | None = None
    width: int | None = None
    height: int | None = None
    frame_rate: Fraction | None = None
    sample_aspect: Fraction | None = None
    rotation: int = 0
    pixel_format: str | None = None
    field_order: str | None = None
    color_transfer: str | None = None
    color_primaries: str | None = None
    color_space: str | None = None
    channels: int | None = None
    sample_rate: int | None = None
    bitrate_bps: int | None = None
    profile: str | None = None
    attached_picture: bool = False
    empty: bool = False
    dispositions: frozenset[str] = frozenset()
    tags: Mapping[str, str] = field(default_factory=dict)

    @property
    def is_still(self) -> bool:
        """Return whether a video stream is a single picture of an image format, as covers are that nothing marks."""
        return self.codec in _IMAGES and self.frames == 1


@dataclass(frozen=True, slots=True)
class MediaInfo:
    """A media file: its container, seconds, bytes, and streams in file order.

    `measured` says that the lengths are those of its packets, each stream's counted from its own start; `jumps` how
    often its clock is set anew, so that its pieces follow one another on no clock of the file.
    """

    container: str
    duration: float | None
    start: float
    bytes: int
    bitrate_bps: int | None
    streams: tuple[StreamInfo, ...]
    chapters: int = 0
    tags: Mapping[str, str] = field(default_factory=dict)
    measured: bool = False
    jumps: int = 0

    def of_kind(self, kind: str) -> tuple[StreamInfo, ...]:
        """Return the streams of one kind, cover art left out of the videos."""
        return tuple(s for s in self.streams if s.kind == kind and not s.attached_picture)

    @property
    def video(self) -> StreamInfo | None:
        """Return the first real video stream: a cover that is not marked as one is none beside a film."""
        videos = self.of_kind("video")
        films = [stream for stream in videos if not stream.is_still]
        return next(iter(films or videos), None)

    @property
    def priming(self) -> float:
        """Return by how many seconds a Matroska file begins before zero though none of its pictures does.

        A decoder of sound needs them to begin, and nobody hears them. ffprobe says them of Opus (5.1) or of every sound
        that has them (7.1), or never (9).
        """
        early = any((stream.start or 0.0) < 0 for stream in self.of_kind("video"))
        is_short = -_MOST_PRIMING < self.start < 0
        return -self.start if "matroska" in self.container and is_short and not early else 0.0

    @property
    def begin(self) -> float:
        """Return the time at which the film begins: the start of the file, without what only primes a sound."""
        return self.start + self.priming

    @property
    def audio(self) -> tuple[StreamInfo, ...]:
        """Return the audio streams."""
        return self.of_kind("audio")

    @property
    def subtitles(self) -> tuple[StreamInfo, ...]:
        """Return the subtitle streams."""
        return self.of_kind("subtitle")

    def document(self) -> dict[str, Any]:
        """Return it as JSON."""
        document: dict[str, Any] = json.loads(json.dumps(asdict(self), default=_plain))
        return document

    @classmethod
    def of(cls, document: Mapping[str, Any]) -> MediaInfo:
        """Return what `document` returned."""
        return cls(**{**document, "streams": tuple(_stream(item) for item in document["streams"])})


def _plain(value: object) -> str | list[str]:
    return sorted(value) if isinstance(value, frozenset) else str(value)


def _stream(item: Mapping[str, Any]) -> StreamInfo:
    fractions = {name: Fraction(item[name]) for name in _FRACTIONS if item[name] is not None}
    return StreamInfo(**{**item, **fractions, "dispositions": frozenset(item["dispositions"])})
