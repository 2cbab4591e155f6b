"""Every file of a finished presentation: where it goes, what it is to a reader, and its text where it is one."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from worker.media.hls.dash import mended_mpd
from worker.media.hls.layout import place_of, under
from worker.media.hls.packager import INIT
from worker.media.hls.playlist_check import Published
from worker.media.hls.playlists import MediaPlaylist, render_media, render_multivariant
from worker.media.hls.presentation import iframe_place, multivariant_of, placed_playlist
from worker.media.hls.storyboard import image_playlist, sheet_cues, sheet_name
from worker.media.webvtt import TimedText, render_cues, segment_cues

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from worker.media.hls.layout import Layout
    from worker.media.hls.presentation import Presentation

PLAYLIST_TYPE: Final = "application/vnd.apple.mpegurl"
TYPES: Final = {
    ".mp4": "video/mp4", ".m4s": "video/iso.segment", ".ts": "video/mp2t", ".vtt": "text/vtt",
    ".m3u8": PLAYLIST_TYPE, ".mpd": "application/dash+xml", ".jpg": "image/jpeg",
}  # fmt: skip
"""Media types by suffix (Apple's HLS authoring specification 10.4)."""


@dataclass(frozen=True, slots=True)
class PlannedFile:
    """One file: `text` is its content, or `local` names what was made, relative to packager's tree."""

    location: str
    role: str
    immutable: bool
    local: str | None = None
    text: str | None = None
    duration: float | None = None

    @property
    def media_type(self) -> str:
        """Return the type that its suffix means."""
        return TYPES[self.location[self.location.rindex(".") :]]


def files_of(
    presentation: Presentation,
    layout: Layout,
    texts: Mapping[str, TimedText],
    parts: Mapping[str, Sequence[str]],
    mpd: str | None,
) -> list[PlannedFile]:
    """Return every file in the order of publishing: media first, the MPD, and the multivariant playlist last.

    `texts` are the subtitles by track, `parts` the texts of their segments, `mpd` packager's.
    """
    files: list[PlannedFile] = []
    target = presentation.target
    packaged = [(track.name, track.playlist) for track in presentation.pictures]
    packaged += [(track.name, track.playlist) for track in presentation.sounds]
    for name, playlist in packaged:
        files += _segments(name, playlist, layout)
    for track in presentation.texts:
        files += _texts(track.name, track.playlist, texts[track.name], parts[track.name], layout)
    files += _storyboard(presentation, layout)
    for picture in presentation.pictures:
        place = iframe_place(layout, picture.name)
        text = render_media(placed_playlist(picture.iframes, picture.name, layout, target, place))
        files.append(PlannedFile(place, "playlist", immutable=True, text=text))
    playlists = [*packaged, *((track.name, track.playlist) for track in presentation.texts)]
    for name, playlist in playlists:
        text = render_media(placed_playlist(playlist, name, layout, target))
        place, fixed = layout.playlists[name], name in layout.fixed
        files.append(PlannedFile(place, "playlist", immutable=not fixed, text=text, duration=playlist.duration))
    duration = packaged[0][1].duration
    if mpd is not None:
        names = [name for name, _ in packaged]
        text = mended_mpd(mpd, layout, names, presentation.texts, presentation.storyboard)
        files.append(PlannedFile(layout.mpd, "manifest", immutable=False, text=text, duration=duration))
    text = render_multivariant(multivariant_of(presentation, layout))
    files.append(PlannedFile(layout.multivariant, "manifest", immutable=False, text=text, duration=duration))
    return files


def _segments(name: str, playlist: MediaPlaylist, layout: Layout) -> list[PlannedFile]:
    folder = layout.folders[name]
    files = [
        PlannedFile(
            under(folder, segment.uri),
            "segment",
            immutable=True,
            local=f"{name}/{segment.uri}",
            duration=segment.duration,
        )
        for segment in playlist.segments
    ]
    if playlist.initialisation:
        files.insert(0, PlannedFile(under(folder, INIT), "init", immutable=True, local=f"{name}/{INIT}"))
    return files


def _texts(
    name: str, playlist: MediaPlaylist, whole: TimedText, parts: Sequence[str], layout: Layout
) -> list[PlannedFile]:
    folder = layout.folders[name]
    files = [
        PlannedFile(under(folder, segment.uri), "subtitle", immutable=True, text=text, duration=segment.duration)
        for segment, text in zip(playlist.segments, parts, strict=True)
    ]
    text = render_cues(whole.cues, blocks=whole.blocks)
    return [*files, PlannedFile(under(folder, "all.vtt"), "subtitle", immutable=True, text=text)]


def segment_texts(playlist: MediaPlaylist, whole: TimedText, first_tick: int) -> list[str]:
    """Return the text of every segment of a subtitle's playlist; CueError as `segment_cues`.

    `first_tick` is the film's start on the segments' 90 kHz clock.
    """
    durations = [segment.duration for segment in playlist.segments]
    parts = segment_cues(whole.cues, durations)
    return [render_cues(part, first_tick=first_tick, blocks=whole.blocks) for part in parts]


def _storyboard(presentation: Presentation, layout: Layout) -> list[PlannedFile]:
    if presentation.storyboard is None:
        return []
    plan = presentation.storyboard.plan
    folder = under(layout.folder, "storyboard")
    names = [sheet_name(number + 1) for number in range(plan.sheets)]
    files = [
        PlannedFile(under(folder, name), "storyboard", immutable=True, local=f"storyboard/{name}") for name in names
    ]
    texts = {"storyboard.vtt": render_cues(sheet_cues(plan)), "index.m3u8": render_media(image_playlist(plan))}
    return files + [
        PlannedFile(under(folder, name), "storyboard", immutable=True, text=text) for name, text in texts.items()
    ]


def as_published(files: Sequence[PlannedFile], sizes: Mapping[str, int]) -> Published:
    """Return the presentation for `judge`; `sizes` are the bytes of the made files by local name."""
    texts = {place_of(file.location)[1]: file.text for file in files if file.text is not None}
    made = {place_of(file.location)[1]: sizes.get(file.local, 0) for file in files if file.local is not None}
    return Published(texts, made | {path: len(text.encode()) for path, text in texts.items()})
