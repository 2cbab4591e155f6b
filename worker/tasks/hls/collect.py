"""The reading of packager's output folder: playlists, codecs and sizes become one presentation."""

from __future__ import annotations

from dataclasses import dataclass
from fractions import Fraction
from typing import TYPE_CHECKING

from worker.media.hls.encode import SAMPLE_RATE
from worker.media.hls.files import segment_texts
from worker.media.hls.packager import IFRAMES, MASTER, MPD, PLAYLIST
from worker.media.hls.playlists import (
    MediaPlaylist,
    Multivariant,
    PlaylistError,
    Segment,
    parse_media,
    parse_multivariant,
)
from worker.media.hls.presentation import (
    FRAME_SAMPLES,
    PictureTrack,
    Presentation,
    SoundTrack,
    TextTrack,
    snapped_playlist,
)
from worker.media.webvtt import MAX_SEGMENT_BYTES, CueError

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    from worker.media.hls.encode import AudioRendition, Picture
    from worker.media.hls.ladder import Rendition
    from worker.media.hls.plan import Plan
    from worker.media.webvtt import TimedText

SOUND_CODECS = frozenset({"mp4a", "ac-3", "ec-3", "opus", "Opus", "fLaC", "flac"})


@dataclass(frozen=True, slots=True)
class Packaged:
    """The files that packager made; `parts` are the subtitles' segments by track, `mpd` is None for MPEG-TS."""

    presentation: Presentation
    parts: Mapping[str, Sequence[str]]
    mpd: str | None


def collect_files(plan: Plan, out: Path, whole: Mapping[str, TimedText], first_tick: int) -> Packaged:
    """Return what packager left in `out`, durations made exact, and the subtitles in the same segments.

    PlaylistError for what cannot be read, CueError for subtitles that become too much.
    """
    master = parse_multivariant(_text(out / MASTER))
    pictures = (
        tuple(_picture(plan, plan.picture, item, master, out) for item in plan.picture.renditions)
        if plan.picture
        else ()
    )
    sounds = tuple(_sound(sound, master, out) for sound in plan.sounds)
    clock = (pictures[0] if pictures else sounds[0]).playlist
    sizes = {f"{path.parent.name}/{path.name}": path.stat().st_size for path in out.glob("*/*")}
    texts: list[TextTrack] = []
    parts: dict[str, list[str]] = {}
    written = 0
    for text in plan.texts:
        segments = tuple(
            Segment(f"{index + 1:05d}.vtt", segment.duration) for index, segment in enumerate(clock.segments)
        )
        playlist = MediaPlaylist(segments, clock.target)
        parts[text.name] = segment_texts(playlist, whole[text.name], first_tick)
        own = [len(part.encode()) for part in parts[text.name]]
        written += sum(own)
        if written > MAX_SEGMENT_BYTES:
            raise CueError(f"the segments of all subtitles come to more than {MAX_SEGMENT_BYTES >> 20} MiB")
        sizes |= {f"{text.name}/{s.uri}": size for s, size in zip(segments, own, strict=True)}
        texts.append(TextTrack(text.name, text.language, text.title, text.default, text.forced, playlist))
    mpd = _text(out / MPD) if (out / MPD).exists() else None
    return Packaged(Presentation(pictures, sounds, tuple(texts), sizes), parts, mpd)


def _text(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8")
    except (FileNotFoundError, UnicodeDecodeError) as error:
        raise PlaylistError(f"{path.name} cannot be read: {error}") from error


def _codecs(master: Multivariant, uri: str) -> list[str]:
    """Return the codecs of the variant at `uri`, or of the first variant that plays the sound at `uri`."""
    for entry in master.of("EXT-X-STREAM-INF"):
        if entry.uri == uri:
            return entry.attributes.get("CODECS", "").split(",")
    groups = {entry.attributes.get("GROUP-ID") for entry in master.of("EXT-X-MEDIA") if entry.uri == uri}
    for entry in master.of("EXT-X-STREAM-INF"):
        if entry.attributes.get("AUDIO") in groups:
            return entry.attributes.get("CODECS", "").split(",")
    raise PlaylistError(f"{uri} is in no variant of packager's playlist")


def _picture(plan: Plan, picture: Picture, item: Rendition, master: Multivariant, out: Path) -> PictureTrack:
    frame = 1 / picture.timing.frame_rate
    codecs = [c for c in _codecs(master, f"{item.name}/{PLAYLIST}") if c.split(".")[0] not in SOUND_CODECS]
    return PictureTrack(
        name=item.name,
        size=item.size,
        frame_rate=picture.timing.frame_rate,
        codecs=",".join(codecs),
        video_range=picture.video_range,
        group=plan.groups.get(item.name),
        playlist=snapped_playlist(parse_media(_text(out / item.name / PLAYLIST)), frame),
        iframes=snapped_playlist(parse_media(_text(out / item.name / IFRAMES)), frame),
    )


def _sound(sound: AudioRendition, master: Multivariant, out: Path) -> SoundTrack:
    codecs = [c for c in _codecs(master, f"{sound.name}/{PLAYLIST}") if c.split(".")[0] in SOUND_CODECS]
    samples = FRAME_SAMPLES.get(sound.encoder)
    return SoundTrack(
        name=sound.name,
        group=sound.group,
        language=sound.language,
        title=sound.title,
        channels=sound.channels,
        default=sound.default,
        codecs=",".join(codecs),
        playlist=snapped_playlist(
            parse_media(_text(out / sound.name / PLAYLIST)), Fraction(samples, SAMPLE_RATE) if samples else None
        ),
    )
