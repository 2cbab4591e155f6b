"""From a scene to the commands that make its film: one ffmpeg that takes the frames and encodes them once."""

from __future__ import annotations

from dataclasses import replace
from fractions import Fraction
from typing import TYPE_CHECKING, Final

from worker.core.command import Command, Pipeline
from worker.media.ffmpeg.encoders import video_options
from worker.media.ffmpeg.formats import GUARDS
from worker.media.hls.encode import SAMPLE_RATE, AudioRendition, Picture
from worker.media.hls.ladder import Rendition, Size, Timing, usual_peak
from worker.media.hls.plan import Plan
from worker.media.parts.commands import LIST_GUARDS

if TYPE_CHECKING:
    from pathlib import Path

    from worker.media.scenes import Scene

SEGMENT_SECONDS: Final = 2
QUALITY: Final = 20.0
SOUND: Final = "sound"
SOUND_BPS: Final = 128_000


def plan_of(scene: Scene) -> Plan:
    """Return what will be made, as the packaging of every film knows it."""
    width, height = scene.size
    size = Size(width, height)
    timing = Timing(Fraction(scene.framerate), SEGMENT_SECONDS * scene.framerate, 1, scene.visible_frames)
    rendition = Rendition(f"{size.short}p", size, "libx264", usual_peak(size, timing.frame_rate), quality=QUALITY)
    sounds = () if scene.sound is None else (_sound(),)
    return Plan(
        picture=Picture((rendition,), timing),
        sounds=sounds,
        choices=(),
        texts=(),
        duration=timing.duration,
        segment_seconds=timing.segment_seconds,
        fragment_seconds=timing.gop_seconds,
        groups={rendition.name: sounds[0].group if sounds else None},
        own_folders={},
    )


def shortened_plan(plan: Plan, frames: int) -> Plan:
    """Return the plan of a film that has `frames` only."""
    if plan.picture is None:
        return plan
    timing = replace(plan.picture.timing, frames=frames)
    return replace(plan, picture=replace(plan.picture, timing=timing), duration=timing.duration)


def _sound() -> AudioRendition:
    return AudioRendition(SOUND, 0, "und", "Sound", "sound-1", "aac", SOUND_BPS, 2, default=True, limited=True)


def film_pipeline(
    scene: Scene,
    plan: Plan,
    ffmpeg: str,
    folder: Path,
    *,
    lasting: bool = False,
    joined: bool = False,
    accept_damage: bool = False,
) -> Pipeline:
    """Return the pipeline that writes `<rendition>.mp4` and, where there is sound, `sound.mp4` into `folder`.

    ffmpeg's progress comes as lines. What is `lasting` can be read as far as it came, whenever it is ended. What is
    `joined` is a part of a film.
    """
    if plan.picture is None:
        raise ValueError("a film has a picture")
    (rendition,) = plan.picture.renditions
    timing = plan.picture.timing
    number = scene.inputs.count("-i")
    start = scene.window.first / timing.frame_rate
    sound = () if scene.sound is None else ("-ss", f"{float(start):.6f}", *GUARDS, "-i", f"file:{scene.sound}")
    # a fragment a second: what was written before the end can be read without the index that was not
    whole = ("-movflags", "+frag_keyframe+empty_moov", "-frag_duration", "1000000") if lasting else ()
    form = (*whole, "-map_metadata", "-1", "-map_chapters", "-1", "-f", "mp4")
    argv = (
        ffmpeg, "-nostdin", "-hide_banner", "-v", "warning", *(() if accept_damage else ("-xerror",)),
        "-progress", "pipe:1", "-stats_period", "0.5", "-y",
        *scene.inputs, *sound, "-filter_complex", _picture(scene), *_sound_graph(scene, number, float(plan.duration)),
        "-map", "[film]", *video_options(rendition, timing, joined=joined),
        "-video_track_timescale", str(scene.framerate * 512), *form, f"file:{folder / rendition.name}.mp4",
    )  # fmt: skip
    if scene.sound is not None:
        length = ("-t", f"{float(plan.duration):.6f}")
        argv += ("-map", "[sound]", "-c:a", "aac", "-b:a", str(SOUND_BPS), *length, *form)
        argv += (f"file:{folder / SOUND}.mp4",)
    return Pipeline((*scene.painters, Command(argv)), label="film")


def sound_pipeline(scene: Scene, ffmpeg: str, sound: Path, folder: Path, *, accept_damage: bool = False) -> Pipeline:
    """Return the pipeline that writes `sound.mp4` into `folder`, as `film_pipeline` does beside the picture."""
    seconds, start = scene.visible_frames / scene.framerate, scene.window.first / scene.framerate
    argv: tuple[str, ...] = (ffmpeg, "-nostdin", "-hide_banner", "-v", "warning", "-y")
    argv += () if accept_damage else ("-xerror",)
    argv += ("-ss", f"{start:.6f}", *GUARDS, "-i", f"file:{sound}", *_sound_graph(scene, 0, seconds), "-map", "[sound]")
    argv += ("-c:a", "aac", "-b:a", str(SOUND_BPS), "-t", f"{seconds:.6f}", "-map_metadata", "-1")
    return Pipeline(
        (Command((*argv, "-map_chapters", "-1", "-f", "mp4", f"file:{folder / SOUND}.mp4")),), label="sound"
    )


def parts_command(ffmpeg: str, listing: Path, scene: Scene, target: Path) -> Pipeline:
    """Return the pipeline that copies the parts of a film into one."""
    head = (ffmpeg, "-nostdin", "-hide_banner", "-v", "error", "-y", *LIST_GUARDS, "-f", "concat", "-safe", "0")
    maps = ("-auto_convert", "0", "-i", f"file:{listing}", "-map", "0:v:0", "-c", "copy")
    form = ("-video_track_timescale", str(scene.framerate * 512), "-map_metadata", "-1", "-map_chapters", "-1")
    return Pipeline((Command((*head, *maps, *form, "-f", "mp4", f"file:{target}")),), label="join parts")


def _picture(scene: Scene) -> str:
    window = scene.window
    cut = ""
    if not scene.painted and window != type(window)():
        last = scene.frames if window.last is None else window.last
        cut = f"select='between(n,{window.first},{last - 1})',setpts=N/({scene.framerate}*TB),"
    # a painter that still writes when ffmpeg has its frames would die of that: only ffmpeg's own pictures are cut
    end = "" if scene.painters else f"trim=end_frame={scene.visible_frames},"
    return f"{scene.graph};[picture]{cut}{end}setsar=1,format=yuv420p[film]"


def _sound_graph(scene: Scene, number: int, seconds: float) -> tuple[str, ...]:
    """Return a graph of its own: in one graph with the picture, ffmpeg 5.1 may wait for ever when that has ended."""
    if scene.sound is None:
        return ()
    chain = f"aresample={SAMPLE_RATE}:async=1:first_pts=0,aformat=channel_layouts=stereo"
    return ("-filter_complex", f"[{number}:a:0]{chain},apad=whole_dur={seconds:.6f}[sound]")


def copy_command(ffmpeg: str, source: Path, target: Path, seconds: float | None = None) -> Pipeline:
    """Return the pipeline that copies a lasting file into one with an index, cut at `seconds`."""
    cut = () if seconds is None else ("-t", f"{seconds:.6f}")
    head = (ffmpeg, "-nostdin", "-hide_banner", "-v", "error", "-y", *GUARDS, "-i", f"file:{source}")
    return Pipeline((Command((*head, "-map", "0", "-c", "copy", *cut, "-f", "mp4", f"file:{target}")),), label="copy")


def join_command(ffmpeg: str, films: tuple[Path, ...], target: Path) -> Pipeline:
    """Return the pipeline that joins picture and sound in one MP4 that plays while it loads."""
    inputs = tuple(part for path in films for part in (*GUARDS, "-i", f"file:{path}"))
    maps = tuple(part for index in range(len(films)) for part in ("-map", str(index)))
    head = (ffmpeg, "-nostdin", "-hide_banner", "-v", "error", "-y")
    return Pipeline(
        (Command((*head, *inputs, *maps, "-c", "copy", "-movflags", "+faststart", "-f", "mp4", f"file:{target}")),),
        label="join",
    )


def last_frame_command(ffmpeg: str, film: Path, target: Path) -> Pipeline:
    """Return the pipeline that writes a film's last frame as a JPEG."""
    # every frame of the last second replaces the one before it
    head = (ffmpeg, "-nostdin", "-hide_banner", "-v", "error", "-y", "-sseof", "-1", *GUARDS, "-i", f"file:{film}")
    tail = ("-map", "0:v:0", "-vf", "format=yuvj420p", "-c:v", "mjpeg", "-q:v", "3", "-f", "image2", "-update", "1")
    return Pipeline((Command((*head, *tail, f"file:{target}")),), label="last frame")
