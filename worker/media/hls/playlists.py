"""HLS playlists as values (RFC 8216, and Roku's image playlists): parsed from text, and rendered to it."""

from __future__ import annotations

import math
import re
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Mapping

_ATTRIBUTE: Final = re.compile(r'([A-Z0-9-]+)=("[^"]*"|[^",]*)(?:,|$)')
# the last two end lines for some readers, though not for RFC 8216
_CONTROL: Final = re.compile("[\x00-\x1f\x7f-\x9f\u2028\u2029]")


class PlaylistError(ValueError):
    """A text is no playlist; says the line."""


@dataclass(frozen=True, slots=True)
class Segment:
    """One segment of a media playlist: `duration` in seconds, `span` its (length, offset) in bytes or None."""

    uri: str
    duration: float
    span: tuple[int, int] | None = None


@dataclass(frozen=True, slots=True)
class MediaPlaylist:
    """A media playlist. `initialisation` is the URI of EXT-X-MAP; `tiles` the value of EXT-X-TILES."""

    segments: tuple[Segment, ...]
    target: int
    initialisation: str | None = None
    iframes: bool = False
    tiles: Mapping[str, str] | None = None
    ended: bool = True
    version: int = 6
    kind: str = "VOD"

    @property
    def duration(self) -> float:
        """Return the sum of the segments' durations in seconds."""
        return math.fsum(segment.duration for segment in self.segments)


@dataclass(frozen=True, slots=True)
class Entry:
    """One line of a multivariant playlist: its tag (`EXT-X-MEDIA`), attributes without quotes, and URI."""

    tag: str
    attributes: Mapping[str, str]
    uri: str | None = None


@dataclass(frozen=True, slots=True)
class Multivariant:
    """A multivariant playlist."""

    entries: tuple[Entry, ...]
    independent: bool = True
    version: int = 6
    comments: tuple[str, ...] = field(default=(), compare=False)

    def of(self, tag: str) -> tuple[Entry, ...]:
        """Return the entries of one tag."""
        return tuple(entry for entry in self.entries if entry.tag == tag)


def target_of(durations: list[float]) -> int:
    """Return the least EXT-X-TARGETDURATION: durations are rounded to the nearest second (RFC 8216 4.3.3.1)."""
    return max([1, *(math.floor(duration + 0.5) for duration in durations)])


def parse_media(text: str) -> MediaPlaylist:
    """Return the media playlist in `text`; PlaylistError when it is none."""
    lines = _lines(text)
    values: dict[str, str] = {}
    segments: list[Segment] = []
    duration: float | None = None
    span: tuple[int, int] | None = None
    for line in lines:
        tag, _, value = line.partition(":")
        if tag == "#EXTINF":
            duration = _number(value.partition(",")[0], line)
        elif tag == "#EXT-X-BYTERANGE":
            span = _span(value, line)
        elif not line.startswith("#"):
            if duration is None:
                raise PlaylistError(f"{line[:100]!r} has no EXTINF")
            segments.append(Segment(line, duration, span))
            duration = span = None
        else:
            values[tag] = value
    if "#EXT-X-TARGETDURATION" not in values:
        raise PlaylistError("there is no EXT-X-TARGETDURATION")
    return MediaPlaylist(
        segments=tuple(segments),
        target=int(_number(values["#EXT-X-TARGETDURATION"], "EXT-X-TARGETDURATION")),
        initialisation=attributes_of(values["#EXT-X-MAP"]).get("URI") if "#EXT-X-MAP" in values else None,
        iframes="#EXT-X-I-FRAMES-ONLY" in values,
        tiles=attributes_of(values["#EXT-X-TILES"]) if "#EXT-X-TILES" in values else None,
        ended="#EXT-X-ENDLIST" in values,
        version=int(_number(values.get("#EXT-X-VERSION", "1"), "EXT-X-VERSION")),
        kind=values.get("#EXT-X-PLAYLIST-TYPE", ""),
    )


def parse_multivariant(text: str) -> Multivariant:
    """Return the multivariant playlist in `text`; PlaylistError when it is none."""
    entries: list[Entry] = []
    independent = False
    version = 1
    waiting: Entry | None = None
    for line in _lines(text):
        tag, _, value = line.partition(":")
        if not line.startswith("#"):
            if waiting is None:
                raise PlaylistError(f"{line[:100]!r} follows no EXT-X-STREAM-INF")
            entries.append(Entry(waiting.tag, waiting.attributes, line))
            waiting = None
        elif tag == "#EXT-X-STREAM-INF":
            waiting = Entry(tag[1:], attributes_of(value))
        elif tag in {"#EXT-X-MEDIA", "#EXT-X-I-FRAME-STREAM-INF", "#EXT-X-IMAGE-STREAM-INF"}:
            attributes = attributes_of(value)
            entries.append(Entry(tag[1:], attributes, attributes.pop("URI", None)))
        elif tag == "#EXT-X-INDEPENDENT-SEGMENTS":
            independent = True
        elif tag == "#EXT-X-VERSION":
            version = int(_number(value, line))
    return Multivariant(tuple(entries), independent, version)


def attributes_of(text: str) -> dict[str, str]:
    """Return an attribute list (RFC 8216 4.2), quotes taken off."""
    return {name: value.strip('"') for name, value in _ATTRIBUTE.findall(text)}


def render_media(playlist: MediaPlaylist) -> str:
    """Return the text of a media playlist."""
    lines = [
        "#EXTM3U",
        f"#EXT-X-VERSION:{playlist.version}",
        f"#EXT-X-TARGETDURATION:{playlist.target}",
        "#EXT-X-MEDIA-SEQUENCE:0",
        f"#EXT-X-PLAYLIST-TYPE:{playlist.kind}",
    ]
    if playlist.iframes:
        lines.append("#EXT-X-I-FRAMES-ONLY")
    if playlist.tiles:
        lines.append("#EXT-X-IMAGES-ONLY")
    if playlist.initialisation:
        lines.append(f'#EXT-X-MAP:URI="{playlist.initialisation}"')
    for segment in playlist.segments:
        lines.append(f"#EXTINF:{segment.duration:.6f},")
        if playlist.tiles:
            lines.append("#EXT-X-TILES:" + ",".join(f"{key}={value}" for key, value in playlist.tiles.items()))
        if segment.span:
            lines.append(f"#EXT-X-BYTERANGE:{segment.span[0]}@{segment.span[1]}")
        lines.append(segment.uri)
    return "\n".join([*lines, *(["#EXT-X-ENDLIST"] if playlist.ended else []), ""])


def render_multivariant(playlist: Multivariant) -> str:
    """Return the text of a multivariant playlist."""
    lines = ["#EXTM3U", f"#EXT-X-VERSION:{playlist.version}"]
    if playlist.independent:
        lines.append("#EXT-X-INDEPENDENT-SEGMENTS")
    for entry in playlist.entries:
        own = [_attribute(name, value) for name, value in entry.attributes.items()]
        if entry.tag == "EXT-X-STREAM-INF":
            lines += [f"#{entry.tag}:{','.join(own)}", entry.uri or ""]
        else:
            lines.append(f"#{entry.tag}:{','.join([*own, *([_attribute('URI', entry.uri)] if entry.uri else [])])}")
    return "\n".join([*lines, ""])


_QUOTED: Final = frozenset(
    {"URI", "GROUP-ID", "LANGUAGE", "NAME", "CHANNELS", "CODECS", "AUDIO", "SUBTITLES", "CHARACTERISTICS"}
)


def _attribute(name: str, value: str) -> str:
    """Return `NAME=value`; a quoted string holds neither quotes nor line ends (RFC 8216 4.2)."""
    if name not in _QUOTED:
        return f"{name}={value}"
    clean = _CONTROL.sub(" ", value).replace('"', "'")
    return f'{name}="{clean}"'


def _lines(text: str) -> list[str]:
    lines = [line.strip() for line in text.split("\n")]
    if not lines or lines[0] != "#EXTM3U":
        raise PlaylistError("does not begin with #EXTM3U")
    return [line for line in lines[1:] if line and (line.startswith("#EXT") or not line.startswith("#"))]


def _number(text: str, line: str) -> float:
    try:
        value = float(text)
    except ValueError:
        raise PlaylistError(f"{line[:100]!r} holds no number") from None
    if not math.isfinite(value) or value < 0:
        raise PlaylistError(f"{line[:100]!r} holds no length")
    return value


def _span(text: str, line: str) -> tuple[int, int]:
    length, _, offset = text.partition("@")
    return int(_number(length, line)), int(_number(offset or "0", line))
