"""The final playlists of a presentation: packager's, with exact durations, measured bandwidths and final URIs.

What packager 3.8 leaves to mend: a target duration of 7 for segments of 6.006 s, durations of three decimals, and
bandwidths of I-frame playlists below their average.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Final

from worker.media.hls.layout import relative_uri, under
from worker.media.hls.playlists import Entry, MediaPlaylist, Multivariant, Segment, target_of
from worker.media.measure import Rate, measure

if TYPE_CHECKING:
    from collections.abc import Mapping
    from fractions import Fraction

    from worker.media.hls.ladder import Size
    from worker.media.hls.layout import Layout
    from worker.media.hls.storyboard import Storyboard

FRAME_SAMPLES: Final = {"aac": 1024, "ac3": 1536, "eac3": 1536, "libopus": 960}
"""Samples of one coded audio frame at 48 kHz."""


@dataclass(frozen=True, slots=True)
class PictureTrack:
    """A packaged picture: packager's playlists, `codecs` (RFC 6381), and what players choose by."""

    name: str
    size: Size
    frame_rate: Fraction
    codecs: str
    video_range: str
    group: str | None
    playlist: MediaPlaylist
    iframes: MediaPlaylist


@dataclass(frozen=True, slots=True)
class SoundTrack:
    """A packaged sound; `group` holds the languages that may be heard with one picture."""

    name: str
    group: str
    language: str
    title: str
    channels: int
    default: bool
    codecs: str
    playlist: MediaPlaylist


@dataclass(frozen=True, slots=True)
class TextTrack:
    """A subtitle rendition in segments of WebVTT; `whole` is the name of the one-file text that DASH reads."""

    name: str
    language: str
    title: str
    default: bool
    forced: bool
    playlist: MediaPlaylist
    whole: str = "all.vtt"


@dataclass(frozen=True, slots=True)
class Presentation:
    """All tracks; `sizes` are the bytes of every segment as `track/segment`."""

    pictures: tuple[PictureTrack, ...]
    sounds: tuple[SoundTrack, ...]
    texts: tuple[TextTrack, ...]
    sizes: Mapping[str, int]
    storyboard: Storyboard | None = None

    @property
    def target(self) -> int:
        """Return the target duration that all playlists share (Apple 8.2)."""
        playlists = [track.playlist for track in self.pictures]
        playlists += [track.playlist for track in self.sounds]
        playlists += [track.playlist for track in self.texts]
        return target_of([segment.duration for playlist in playlists for segment in playlist.segments])

    def rate(self, name: str, playlist: MediaPlaylist) -> Rate:
        """Return the measured rates of one of a track's playlists."""
        durations = [segment.duration for segment in playlist.segments]
        sizes = [
            segment.span[0] if segment.span else self.sizes[f"{name}/{segment.uri}"] for segment in playlist.segments
        ]
        return measure(durations, sizes, self.target)


def snapped_playlist(playlist: MediaPlaylist, unit: Fraction | None) -> MediaPlaylist:
    """Return `playlist` with durations that are exact multiples of `unit` seconds; packager rounds to three decimals.

    A duration that is no multiple (an encoder's last frame) stays.
    """
    if unit is None:
        return playlist
    return replace(playlist, segments=tuple(_snapped_segment(segment, unit) for segment in playlist.segments))


def _snapped_segment(segment: Segment, unit: Fraction) -> Segment:
    near = float(round(segment.duration / float(unit)) * unit)
    return replace(segment, duration=near) if abs(near - segment.duration) < 0.0006 else segment  # noqa: PLR2004


def placed_playlist(
    playlist: MediaPlaylist, name: str, layout: Layout, target: int, start: str | None = None
) -> MediaPlaylist:
    """Return `playlist` with the URIs that it needs at `start` (by default where the layout puts it)."""
    here = start or layout.playlists[name]
    folder = layout.folders[name]
    first = playlist.initialisation
    return replace(
        playlist,
        segments=tuple(
            replace(segment, uri=relative_uri(here, under(folder, segment.uri))) for segment in playlist.segments
        ),
        initialisation=relative_uri(here, under(folder, first)) if first else None,
        target=target,
    )


def multivariant_of(presentation: Presentation, layout: Layout) -> Multivariant:
    """Return the multivariant playlist: sounds and texts, variants, I-frame and image playlists."""
    entries = [_sound_entry(track, layout) for track in presentation.sounds]
    entries += [_text_entry(track, layout) for track in presentation.texts]
    entries += [_variant(track, presentation, layout) for track in presentation.pictures]
    if not presentation.pictures:
        entries += _sound_variants(presentation, layout)
    entries += [_iframe_entry(track, presentation, layout) for track in presentation.pictures]
    if presentation.storyboard:
        entries.append(_image_entry(presentation.storyboard, layout))
    return Multivariant(tuple(entries))


def _yes(*, value: bool) -> str:
    return "YES" if value else "NO"


def _sound_entry(track: SoundTrack, layout: Layout) -> Entry:
    attributes = {
        "TYPE": "AUDIO",
        "GROUP-ID": track.group,
        "NAME": track.title,
        "LANGUAGE": track.language,
        "DEFAULT": _yes(value=track.default),
        "AUTOSELECT": "YES",
        "CHANNELS": str(track.channels),
    }
    return Entry("EXT-X-MEDIA", attributes, relative_uri(layout.multivariant, layout.playlists[track.name]))


def _text_entry(track: TextTrack, layout: Layout) -> Entry:
    attributes = {
        "TYPE": "SUBTITLES",
        "GROUP-ID": "text",
        "NAME": track.title,
        "LANGUAGE": track.language,
        "DEFAULT": _yes(value=track.default),
        "AUTOSELECT": "YES",
        "FORCED": _yes(value=track.forced),
    }
    return Entry("EXT-X-MEDIA", attributes, relative_uri(layout.multivariant, layout.playlists[track.name]))


def _greatest(rates: list[Rate]) -> Rate:
    return Rate(max((rate.peak for rate in rates), default=0), max((rate.average for rate in rates), default=0))


def _sums(presentation: Presentation, own: Rate, group: str | None) -> dict[str, str]:
    """Return the bandwidths of a variant: the largest sum over what may play together (Apple 9.13)."""
    sounds = [presentation.rate(track.name, track.playlist) for track in presentation.sounds if track.group == group]
    texts = [presentation.rate(track.name, track.playlist) for track in presentation.texts]
    sound, text = _greatest(sounds), _greatest(texts)
    return {
        "BANDWIDTH": str(own.peak + sound.peak + text.peak),
        "AVERAGE-BANDWIDTH": str(own.average + sound.average + text.average),
    }


def _variant(track: PictureTrack, presentation: Presentation, layout: Layout) -> Entry:
    sound = next((item.codecs for item in presentation.sounds if item.group == track.group), None)
    attributes = _sums(presentation, presentation.rate(track.name, track.playlist), track.group) | {
        "CODECS": ",".join(filter(None, (track.codecs, sound))),
        "RESOLUTION": str(track.size),
        "FRAME-RATE": f"{float(track.frame_rate):.3f}",
        "VIDEO-RANGE": track.video_range,
    }
    if track.group:
        attributes["AUDIO"] = track.group
    if presentation.texts:
        attributes["SUBTITLES"] = "text"
    attributes["CLOSED-CAPTIONS"] = "NONE"
    return Entry("EXT-X-STREAM-INF", attributes, relative_uri(layout.multivariant, layout.playlists[track.name]))


def _sound_variants(presentation: Presentation, layout: Layout) -> list[Entry]:
    """Return one variant a group for a source without a picture."""
    entries: list[Entry] = []
    for group in dict.fromkeys(track.group for track in presentation.sounds):
        tracks = [track for track in presentation.sounds if track.group == group]
        first = next((track for track in tracks if track.default), tracks[0])
        attributes = _sums(presentation, Rate(0, 0), group) | {"CODECS": first.codecs, "AUDIO": group}
        if presentation.texts:
            attributes["SUBTITLES"] = "text"
        uri = relative_uri(layout.multivariant, layout.playlists[first.name])
        entries.append(Entry("EXT-X-STREAM-INF", attributes, uri))
    return entries


def iframe_place(layout: Layout, name: str) -> str:
    """Return where the I-frame playlist of a picture is: with its segments."""
    return under(layout.folders[name], "iframe.m3u8")


def _iframe_entry(track: PictureTrack, presentation: Presentation, layout: Layout) -> Entry:
    rate = presentation.rate(track.name, track.iframes)
    attributes = {
        "BANDWIDTH": str(rate.peak),
        "AVERAGE-BANDWIDTH": str(rate.average),
        "CODECS": track.codecs,
        "RESOLUTION": str(track.size),
        "VIDEO-RANGE": track.video_range,
    }
    uri = relative_uri(layout.multivariant, iframe_place(layout, track.name))
    return Entry("EXT-X-I-FRAME-STREAM-INF", attributes, uri)


def _image_entry(storyboard: Storyboard, layout: Layout) -> Entry:
    rate = storyboard.rate
    attributes = {
        "BANDWIDTH": str(rate.peak),
        "AVERAGE-BANDWIDTH": str(rate.average),
        "CODECS": "jpeg",
        "RESOLUTION": str(storyboard.tile),
    }
    return Entry(
        "EXT-X-IMAGE-STREAM-INF",
        attributes,
        relative_uri(layout.multivariant, under(layout.folder, "storyboard/index.m3u8")),
    )
