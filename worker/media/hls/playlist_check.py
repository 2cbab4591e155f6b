"""The check of a finished presentation: each broken clause of the specifications is a violation.

Clauses are those of Apple's HLS authoring specification unless `RFC` comes before them (RFC 8216). It reads what a
player would read and trusts nothing that made it.
"""

from __future__ import annotations

import posixpath
import re
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final
from urllib.parse import unquote

from worker.media.hls.playlists import (
    Entry,
    MediaPlaylist,
    Multivariant,
    PlaylistError,
    parse_media,
    parse_multivariant,
    target_of,
)
from worker.media.languages import is_tag
from worker.media.measure import Rate, measure

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

TOLERANCE: Final = 0.1
"""1.26, 1.27: declared rates lie within ten per cent of the measured ones."""
DRIFT_SECONDS: Final = 0.1
_RESOLUTION: Final = re.compile(r"^\d+x\d+$")
_STAMP_MAP: Final = re.compile(r"^X-TIMESTAMP-MAP=(?=.*MPEGTS:\d+)(?=.*LOCAL:[\d:.]+)", re.MULTILINE)


@dataclass(frozen=True, slots=True)
class Violation:
    """A broken clause: where, and what; `must` is False for what the specification only advises."""

    clause: str
    place: str
    message: str
    must: bool = True

    def __str__(self) -> str:
        """Return `e1-9b0c5f2a71d3/720p/index.m3u8: … (Apple 8.2)`."""
        source = self.clause if self.clause.startswith("RFC") else f"Apple {self.clause}"
        return f"{self.place}: {self.message} ({source})"


@dataclass(frozen=True, slots=True)
class Published:
    """The content of one storage: paths to texts (playlists, subtitles) and to sizes in bytes (all files)."""

    texts: Mapping[str, str]
    sizes: Mapping[str, int]


@dataclass(slots=True)
class _Judge:
    published: Published
    duration: float
    gop_seconds: float | None
    found: list[Violation] = field(default_factory=list)
    playlists: dict[str, MediaPlaylist] = field(default_factory=dict)
    rates: dict[str, Rate] = field(default_factory=dict)

    def say(self, clause: str, place: str, message: str, *, must: bool = True) -> None:
        self.found.append(Violation(clause, place, message, must))


def judge(published: Published, multivariant: str, duration: float, gop_seconds: float | None) -> tuple[Violation, ...]:
    """Return every violation in the presentation whose multivariant playlist is at the path `multivariant`.

    `duration` is how long it should be and `gop_seconds` how far apart its key frames may be, in seconds.
    """
    case = _Judge(published, duration, gop_seconds)
    try:
        playlist = parse_multivariant(published.texts[multivariant])
    except KeyError:
        return (Violation("RFC 4.3.4", multivariant, "does not exist"),)
    except PlaylistError as error:
        return (Violation("RFC 4.3.4", multivariant, str(error)),)
    for entry in playlist.entries:
        _load(case, multivariant, entry)
    _judge_media(case, multivariant, playlist)
    _judge_groups(case, multivariant, playlist)
    _judge_entries(case, multivariant, playlist)
    return tuple(case.found)


def _target(start: str, uri: str) -> str:
    return posixpath.normpath(posixpath.join(posixpath.dirname(start), unquote(uri)))


def _load(case: _Judge, multivariant: str, entry: Entry) -> None:
    """Read and measure the playlist of one entry, whose files must all be there."""
    if entry.uri is None:
        case.say("RFC 4.3.4", multivariant, f"{entry.tag} has no URI")
        return
    path = _target(multivariant, entry.uri)
    if path in case.playlists:
        return
    try:
        playlist = parse_media(case.published.texts[path])
    except KeyError:
        case.say("RFC 4.3.4", multivariant, f"{entry.uri} does not exist")
        return
    except PlaylistError as error:
        case.say("RFC 4.3.3", path, str(error))
        return
    case.playlists[path] = playlist
    sizes = list(_sizes(case, path, playlist))
    case.rates[path] = measure([segment.duration for segment in playlist.segments], sizes, playlist.target)


def _sizes(case: _Judge, path: str, playlist: MediaPlaylist) -> Iterator[int]:
    if not playlist.segments:
        case.say("RFC 4.3.3", path, "lists no segment")
    for uri in filter(None, (playlist.initialisation,)):
        if not case.published.sizes.get(_target(path, uri)):
            case.say("RFC 4.3.2", path, f"{uri} is missing or empty")
    for segment in playlist.segments:
        size = case.published.sizes.get(_target(path, segment.uri), 0)
        if size == 0:
            case.say("RFC 4.3.2", path, f"{segment.uri} is missing or empty")
        elif segment.span and sum(segment.span) > size:
            case.say("RFC 4.3.2", path, f"{segment.uri} has {size} bytes, and {sum(segment.span)} are asked of it")
        yield segment.span[0] if segment.span else size


def _judge_media(case: _Judge, multivariant: str, whole: Multivariant) -> None:
    plain = {path: playlist for path, playlist in case.playlists.items() if not playlist.tiles}
    for path, playlist in case.playlists.items():
        _judge_playlist(case, path, playlist)
    targets = sorted({playlist.target for playlist in plain.values()})
    if len(targets) > 1:
        case.say("8.2", multivariant, f"target durations differ: {targets}")
    variants = [_target(multivariant, entry.uri) for entry in whole.of("EXT-X-STREAM-INF") if entry.uri]
    pictures = [path for path in variants if path in plain and _is_picture(multivariant, whole, path)]
    shapes = {tuple(round(segment.duration, 3) for segment in plain[path].segments) for path in pictures}
    if len(shapes) > 1:
        case.say("8.3", multivariant, "the segments of the variants do not begin together")


def _is_picture(multivariant: str, whole: Multivariant, path: str) -> bool:
    entries = [e for e in whole.of("EXT-X-STREAM-INF") if e.uri and _target(multivariant, e.uri) == path]
    return any("RESOLUTION" in entry.attributes for entry in entries)


def _judge_playlist(case: _Judge, path: str, playlist: MediaPlaylist) -> None:
    durations = [segment.duration for segment in playlist.segments]
    if durations and target_of(durations) > playlist.target:
        case.say("RFC 4.3.3.1", path, f"a segment of {max(durations):.3f} s exceeds the target of {playlist.target} s")
    if not playlist.ended or playlist.kind != "VOD":
        case.say("RFC 4.3.3", path, "is no finished VOD playlist")
    slack = DRIFT_SECONDS + 0.0006 * len(durations)
    if abs(playlist.duration - case.duration) > slack:
        case.say("8.3", path, f"lasts {playlist.duration:.3f} s where {case.duration:.3f} s were expected")
    if playlist.iframes and case.gop_seconds and durations and max(durations) > case.gop_seconds + 0.05:
        case.say("6.1", path, f"has I-frames {max(durations):.3f} s apart; {case.gop_seconds:.3f} s were expected")
    for segment in playlist.segments:
        target = _target(path, segment.uri)
        if target.endswith(".vtt") and not _STAMP_MAP.search(case.published.texts.get(target, "")):
            case.say("5.3", path, f"{segment.uri} has no X-TIMESTAMP-MAP")
            break


def _judge_groups(case: _Judge, multivariant: str, whole: Multivariant) -> None:
    media = whole.of("EXT-X-MEDIA")
    groups: dict[tuple[str, str], list[Entry]] = {}
    for entry in media:
        attributes = entry.attributes
        groups.setdefault((attributes.get("TYPE", ""), attributes.get("GROUP-ID", "")), []).append(entry)
        if not is_tag(attributes.get("LANGUAGE", "")):
            case.say("8.10", multivariant, f"{attributes.get('NAME')} has no LANGUAGE that is a BCP 47 tag")
    for (kind, group), entries in groups.items():
        names = [entry.attributes.get("NAME") for entry in entries]
        if len(set(names)) != len(names):
            case.say("RFC 4.3.4.1.1", multivariant, f"two of the group {group} have the same NAME")
        if sum(entry.attributes.get("DEFAULT") == "YES" for entry in entries) > 1:
            case.say("RFC 4.3.4.1.1", multivariant, f"the group {group} has more than one DEFAULT")
        if kind == "AUDIO" and not all(entry.attributes.get("CHANNELS") for entry in entries):
            case.say("RFC 4.3.4.1", multivariant, f"a sound of the group {group} has no CHANNELS")
    for entry in whole.of("EXT-X-STREAM-INF"):
        for kind in ("AUDIO", "SUBTITLES"):
            if kind in entry.attributes and (kind, entry.attributes[kind]) not in groups:
                case.say(
                    "RFC 4.3.4.2", multivariant, f"{entry.uri} names the group {entry.attributes[kind]}, not there"
                )


def _judge_entries(case: _Judge, multivariant: str, whole: Multivariant) -> None:
    if not whole.independent:
        case.say("9.11", multivariant, "EXT-X-INDEPENDENT-SEGMENTS is missing")
    variants = whole.of("EXT-X-STREAM-INF")
    if not variants:
        case.say("RFC 4.3.4.2", multivariant, "there is no variant")
    pictures = [entry for entry in variants if "RESOLUTION" in entry.attributes]
    if pictures and not whole.of("EXT-X-I-FRAME-STREAM-INF"):
        case.say("6.1", multivariant, "there is no I-frame playlist")
    for entry in variants:
        _judge_variant(case, multivariant, whole, entry)
    for tag in ("EXT-X-I-FRAME-STREAM-INF", "EXT-X-IMAGE-STREAM-INF"):
        for entry in whole.of(tag):
            _judge_rates(case, multivariant, entry, case.rates.get(_target(multivariant, entry.uri or "")))


def _judge_variant(case: _Judge, multivariant: str, whole: Multivariant, entry: Entry) -> None:
    attributes = entry.attributes
    codecs = [codec for codec in attributes.get("CODECS", "").split(",") if codec]
    if not codecs:
        case.say("9.1", multivariant, f"{entry.uri} has no CODECS")
    if any(codec.split(".")[0] in {"avc1", "avc3", "hvc1", "hev1", "av01", "vp09", "dvh1"} for codec in codecs):
        if not _RESOLUTION.match(attributes.get("RESOLUTION", "")):
            case.say("9.2", multivariant, f"{entry.uri} has no RESOLUTION")
        if "FRAME-RATE" not in attributes:
            case.say("9.15", multivariant, f"{entry.uri} has no FRAME-RATE")
        if attributes.get("VIDEO-RANGE") not in {"SDR", "PQ", "HLG"}:
            case.say("9.16", multivariant, f"{entry.uri} has no VIDEO-RANGE")
    _judge_rates(case, multivariant, entry, _sum(case, multivariant, whole, entry))


def _sum(case: _Judge, multivariant: str, whole: Multivariant, entry: Entry) -> Rate | None:
    """Return the largest sum of rates that may play together with a variant (9.13)."""
    own_path = _target(multivariant, entry.uri or "")
    own = case.rates.get(own_path)
    if own is None:
        return None
    peak, average = own.peak, own.average
    for kind in ("AUDIO", "SUBTITLES"):
        members = [
            _target(multivariant, other.uri or "")
            for other in whole.of("EXT-X-MEDIA")
            if other.attributes.get("TYPE") == kind and other.attributes.get("GROUP-ID") == entry.attributes.get(kind)
        ]
        rates = [case.rates[path] for path in members if path in case.rates]
        if own_path in members:  # a sound that is its own variant is heard once, and its siblings in its place
            peak, average = 0, 0
        peak += max((rate.peak for rate in rates), default=0)
        average += max((rate.average for rate in rates), default=0)
    return Rate(peak, average)


def _judge_rates(case: _Judge, multivariant: str, entry: Entry, rate: Rate | None) -> None:
    if rate is None:
        return
    for name, clause, measured in (("BANDWIDTH", "1.26", rate.peak), ("AVERAGE-BANDWIDTH", "1.27", rate.average)):
        text = entry.attributes.get(name, "")
        if not text.isdigit():
            case.say("9.14", multivariant, f"{entry.uri} has no {name}")
        elif abs(int(text) - measured) > TOLERANCE * measured:
            case.say(clause, multivariant, f"{entry.uri} declares a {name} of {text}; {measured} were measured")
    if entry.tag == "EXT-X-STREAM-INF" and rate.peak > 2 * rate.average:
        message = f"{entry.uri} peaks at {rate.peak} bit/s, above twice its average of {rate.average}"
        case.say("1.30", multivariant, message, must=False)
