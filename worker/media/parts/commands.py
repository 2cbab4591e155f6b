"""The commands of a divided film: a part, the sound, and the join."""

from __future__ import annotations

from dataclasses import dataclass
from fractions import Fraction
from itertools import zip_longest
from typing import TYPE_CHECKING, Any, Final

from worker.core.command import Command, Pipeline
from worker.media.ffmpeg.command import MUXER_OPTIONS
from worker.media.ffmpeg.formats import ACCEPTED_PROTOCOLS, GUARDS
from worker.media.ffmpeg.options import arguments, value_text
from worker.media.ffmpeg.progress import OPTIONS as PROGRESS
from worker.media.parts.refusal import JOINED, Output

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence
    from pathlib import Path

    from worker.core.parts import Part, Plan

_HEAD: Final = ("-nostdin", "-hide_banner", "-v", "warning", *PROGRESS, "-y")
_ENVIRONMENT: Final = {"SVT_LOG": "1"}
"""SVT-AV1 writes its settings to standard error past ffmpeg's level; 1 is errors only."""
_MIN_TICKS: Final = 10_000
_MICRO: Final = 1_000_000
_SOUND_TICKS: Final = 7_056_000
"""The least common multiple of 44,100 and 48,000, which holds one sample of every usual rate."""
# Protocols and formats for the list and its parts: we wrote both, so the list may name files.
LIST_GUARDS: Final = ("-protocol_whitelist", ",".join(ACCEPTED_PROTOCOLS), "-format_whitelist", "concat,mov,matroska")
# MP4 keeps the sound before its beginning that an encoder needs, as Matroska does not; these go into MOV or Matroska.
_SOUND_MUXERS: Final = {"pcm": "mov", "truehd": "matroska", "vorbis": "matroska", "libvorbis": "matroska", "dca": "mov"}
SOUND_SUFFIXES: Final = {"mp4": ".m4a", "mov": ".mov", "matroska": ".mka"}


@dataclass(frozen=True, slots=True)
class Film:
    """The settings that every part of a film and its join share.

    `rate` is pictures a second; `offset` seconds from the file's start to the first picture; `starts` each source's
    first moment in seconds. `outputs` are all streams of the output in order; `clocks` the options that leave each
    source on its own clock.
    """

    rate: Fraction
    offset: Fraction
    starts: tuple[Fraction, ...]
    outputs: tuple[Output, ...]
    input_options: Mapping[str, Any]
    clocks: tuple[tuple[str, ...], ...] = ()

    @property
    def picture(self) -> Output:
        """Return the picture that is encoded."""
        return next(output for output in self.outputs if output.is_film)

    @property
    def sounds(self) -> tuple[Output, ...]:
        """Return the sounds that are encoded, in order."""
        return tuple(output for output in self.outputs if output.is_encoded_sound)

    @property
    def ticks(self) -> int:
        """Return the ticks a second of a part's time base, in which every picture lasts a whole number of them."""
        ticks = self.rate.numerator
        while ticks < _MIN_TICKS:
            ticks *= 2
        return ticks


def part_details(start: Fraction | None, end: Fraction | None, seek: Fraction | None) -> dict[str, str]:
    """Return where a part lies in its source, as JSON: the moments between pictures, and where to seek."""
    moments = {"start": start, "end": end, "seek": seek}
    return {key: str(value) for key, value in moments.items() if value is not None}


def part_command(ffmpeg: str, film: Film, part: Part, source: Path, output: Path) -> Pipeline:
    """Return the encoding of one part: MP4 without sound, whose pictures are on a grid that begins at 0.

    The source is entered two key frames early and every picture is taken by its own time, which lies between two
    moments where no picture is: so a late seek yields too few pictures, and never others.
    """
    picture = film.picture
    argv = [ffmpeg, *_HEAD, "-copyts", *GUARDS, *arguments(film.input_options), *entry_arguments(part)]
    argv += ["-i", f"file:{source}"]
    argv += ["-map", f"0:{picture.stream.index}", "-map_metadata", "-1", "-map_chapters", "-1"]
    beat = f"{film.rate.denominator}/{film.rate.numerator}"
    argv += arguments(_encoder_options(picture, _filters(film, part)), ":v:0")
    argv += ["-fps_mode", "passthrough", "-enc_time_base", beat]
    argv += ["-video_track_timescale", str(film.ticks), "-f", "mp4", f"file:{output}"]
    return Pipeline((Command(tuple(argv), _ENVIRONMENT, folder=output.parent),))


def entry_arguments(part: Part) -> tuple[str, ...]:
    """Return where a part enters its source, beside `-copyts`, which keeps the source's times that the cuts are in."""
    # Exact seeking would count from another zero.
    seek = part.details.get("seek")
    return () if seek is None else ("-noaccurate_seek", "-seek_timestamp", "1", "-ss", _seconds(Fraction(seek)))


def trim_filters(part: Part) -> list[str]:
    """Return the filter that takes the pictures of a part alone, if it needs one."""
    bounds = [f"{name}={_seconds(Fraction(part.details[name]))}" for name in ("start", "end") if name in part.details]
    return [f"trim={':'.join(bounds)}"] if bounds else []


def _filters(film: Film, part: Part) -> str:
    """Return the part's chain: its pictures alone, what the job asks for, and the grid."""
    trim = trim_filters(part)
    options = film.picture.options
    own = [text for key in ("vf", "filter") if isinstance(text := options.get(key), str) and text.strip()]
    return ",".join([*trim, *own, f"settb={film.rate.denominator}/{film.rate.numerator}", "setpts=N"])


def _encoder_options(picture: Output, filters: str) -> dict[str, Any]:
    options = {
        key: value for key, value in picture.options.items() if key not in JOINED and key not in {"vf", "filter"}
    }
    if picture.encoder == "libx264":
        # The headers must not depend on what a part shows, or no decoder could go on from one to the next.
        given = value_text(options["x264-params"]) + ":" if "x264-params" in options else ""
        options["x264-params"] = f"{given}stitchable=1"
    if picture.encoder == "libx265":
        # hvc1, as MP4 has it by its own choice
        options["tag"] = "hvc1"
    return {**options, "vf": filters}


def sound_muxer(sounds: Sequence[Output]) -> str:
    """Return the container of the sounds' part."""
    found = {
        _SOUND_MUXERS.get(encoder) or _SOUND_MUXERS.get(encoder[:3], "mp4") for s in sounds if (encoder := s.encoder)
    }
    return found.pop() if len(found) == 1 else "matroska"


def sound_command(ffmpeg: str, film: Film, sources: Sequence[Path], output: Path, muxer: str) -> Pipeline:
    """Return the encoding of all sounds, once for the whole film: pieces of sound would drift apart."""
    argv = [ffmpeg, *_HEAD]
    for source, clock in zip_longest(sources, film.clocks, fillvalue=()):
        argv += [*GUARDS, *clock, *arguments(film.input_options), "-i", f"file:{source}"]
    for sound in film.sounds:
        argv += ["-map", f"{sound.source}:{sound.stream.index}"]
    for number, sound in enumerate(film.sounds):
        argv += arguments(_without_joined(sound.options), f":a:{number}")
    # A sound that begins late is put there by an edit, whose unit is a millisecond by default.
    argv += ["-movie_timescale", str(_SOUND_TICKS)] if muxer in {"mp4", "mov"} else []
    argv += ["-map_metadata", "-1", "-map_chapters", "-1", "-strict", "-2", "-f", muxer, f"file:{output}"]
    return Pipeline((Command(tuple(argv), _ENVIRONMENT, folder=output.parent),))


def _without_joined(options: Mapping[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in options.items() if key not in JOINED}


def concat_list(plan: Plan, rate: Fraction, paths: Mapping[int, Path]) -> str:
    """Return the list of parts for ffmpeg's concat demuxer, each with its exact duration.

    Without the durations a part lasts as long as its container rounds it; the sum of these errs by no more than half
    a microsecond anywhere.
    """
    lines = ["ffconcat version 1.0"]
    for part in plan.ranges:
        length = _micros(part.last, rate) - _micros(part.first, rate)
        name = str(paths[part.index]).replace("'", r"'\''")
        lines += [f"file 'file:{name}'", f"duration {length // _MICRO}.{length % _MICRO:06d}"]
    return "\n".join(lines) + "\n"


def _micros(frame: int, rate: Fraction) -> int:
    return round(frame * _MICRO / rate)


def join_command(
    ffmpeg: str, film: Film, sources: Sequence[Path], parts_list: Path, sound: Path | None, output: Path, muxer: str
) -> Pipeline:
    """Return the join: pictures and sounds from the parts, all else from the sources as a whole run would take it.

    The sources come first, so that the file's metadata and chapters are those of a whole run without being asked for.
    """
    argv = [ffmpeg, *_HEAD, "-copyts"]
    for source, start in zip(sources, film.starts, strict=True):
        argv += ["-itsoffset", _seconds(-start), *GUARDS, *arguments(film.input_options), "-i", f"file:{source}"]
    pictures, sounds = len(sources), len(sources) + 1
    argv += ["-itsoffset", _seconds(film.offset), *LIST_GUARDS]
    argv += ["-f", "concat", "-safe", "0", "-auto_convert", "0", "-i", f"file:{parts_list}"]
    if sound is not None:
        argv += [*GUARDS, "-i", f"file:{sound}"]
    for output_stream in film.outputs:
        argv += ["-map", _origin(output_stream, film, pictures, sounds)]
    for position, output_stream in enumerate(film.outputs):
        argv += [f"-map_metadata:s:{position}", f"{output_stream.source}:s:{output_stream.stream.index}"]
        argv += _joined_options(output_stream, _flags(output_stream, film), film.rate)
    argv += [*MUXER_OPTIONS.get(muxer, ()), "-f", muxer, f"file:{output}"]
    return Pipeline((Command(tuple(argv), _ENVIRONMENT, folder=output.parent),))


def _origin(output: Output, film: Film, pictures: int, sounds: int) -> str:
    if output.is_film:
        return f"{pictures}:v:0"
    if output.is_encoded_sound:
        return f"{sounds}:a:{film.sounds.index(output)}"
    return f"{output.source}:{output.stream.index}"


def _flags(output: Output, film: Film) -> str:
    """Return the dispositions that a whole run gives: the source's, and of several of a kind one is the default."""
    flags = set(output.stream.dispositions)
    same = [other for other in film.outputs if other.letter == output.letter]
    named = any("disposition" in other.options for other in film.outputs)
    if output is same[0] and len(same) > 1 and not named and not any("default" in o.stream.dispositions for o in same):
        flags.add("default")
    return "+".join(sorted(flags)) or "0"


def _joined_options(output: Output, flags: str, rate: Fraction) -> Iterator[str]:
    where = f":{output.letter}:{output.number}"
    if not (output.is_film or output.is_encoded_sound):
        yield from arguments(output.options, where)
        return
    yield from (f"-codec{where}", "copy")
    if output.is_film:
        # ffmpeg 7.1 takes the rate of the first part, which it reckons without the last picture's duration
        yield from (f"-r{where}", f"{rate.numerator}/{rate.denominator}")
    # What a whole run would write; the source's says what it was encoded with itself.
    yield from (f"-metadata:s{where}", f"encoder={output.encoder}")
    if "disposition" not in output.options:
        yield from (f"-disposition{where}", flags)
    yield from arguments({key: value for key, value in output.options.items() if key in JOINED}, where)


def _seconds(value: Fraction) -> str:
    """Return seconds with microseconds, as ffmpeg counts them."""
    return f"{float(value):.6f}"
