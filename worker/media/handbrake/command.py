"""Sections of options as one argv, and HandBrake's progress and complaints as values."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Annotated, Final

from pydantic import Field, StringConstraints, model_validator

from worker.core.command import Command
from worker.core.faults import faults
from worker.core.hints import nearest
from worker.core.job import Model, Place
from worker.media.ffmpeg.options import parameters_problem
from worker.media.handbrake.piece import CUTS, moment_text, piece_problems
from worker.media.handbrake.values import Value, option_name, option_text
from worker.media.verify import DAMAGE_MEANING, Damage, Verify

if TYPE_CHECKING:
    from pathlib import Path

SECTIONS: Final[dict[str, frozenset[str]]] = {
    "source_options": frozenset(
        {"title", "min-duration", "main-feature", "chapters", "angle", "previews", "start-at-preview", "start-at",
         "stop-at"}
    ),
    "destination_options": frozenset(
        {"format", "markers", "optimize", "ipod-atom", "align-av", "inline-parameter-sets"}
    ),
    "video_options": frozenset(
        {"encoder", "encoder-preset", "encoder-tune", "encopts", "encoder-profile", "encoder-level", "quality", "vb",
         "two-pass", "turbo", "rate", "vfr", "cfr", "pfr", "enable-hw-decoding", "disable-hw-decoding"}
    ),
    "audio_options": frozenset(
        {"audio-lang-list", "all-audio", "first-audio", "audio", "aencoder", "audio-copy-mask", "audio-fallback", "ab",
         "aq", "ac", "mixdown", "normalize-mix", "arate", "drc", "gain", "adither", "aname"}
    ),
    "picture_options": frozenset(
        {"width", "height", "crop-mode", "crop", "crop-threshold-pixels", "crop-threshold-frames", "maxheight",
         "maxwidth", "non-anamorphic", "auto-anamorphic", "loose-anamorphic", "custom-anamorphic", "display-width",
         "keep-display-aspect", "pixel-aspect", "itu-par", "modulus", "color-matrix"}
    ),
    "filters_options": frozenset(
        {"comb-detect", "deinterlace", "bwdif", "decomb", "detelecine", "hqdn3d", "denoise", "nlmeans", "nlmeans-tune",
         "chroma-smooth", "chroma-smooth-tune", "unsharp", "unsharp-tune", "lapsharp", "lapsharp-tune", "deblock",
         "deblock-tune", "rotate", "pad", "colorspace", "grayscale"}
    ),
    "subtitles_options": frozenset(
        {"subtitle-lang-list", "all-subtitles", "first-subtitle", "subtitle", "subname", "subtitle-forced",
         "subtitle-burned", "subtitle-default", "native-language", "native-dub"}
    ),
}  # fmt: skip
"""The options that a job may use, by section: HandBrake 1.6's without those that name files."""

# Lines of HandBrake's log that are no complaint: the host's cards, the disc formats it tries, and its banner.
_LOOKING: Final = re.compile(
    r"Cannot load lib(nvidia|cuda|nvcuvid)|qsv: not available|Intel Quick Sync|^libdvd|^udfread|^disc\.c:|"
    r"^\[\d\d:\d\d:\d\d\] |^No such file or directory$|^HandBrake (\d|has exited)|CPUs detected|^Opening |^\s*\+ |"
    r"^x26[45] \[info\]|^\s+|^(Input|Stream) #|^Encode failed"
)
FLAGS: Final = frozenset(
    {"main-feature", "markers", "optimize", "ipod-atom", "align-av", "inline-parameter-sets", "two-pass", "turbo",
     "vfr", "cfr", "pfr", "disable-hw-decoding", "all-audio", "first-audio", "non-anamorphic", "auto-anamorphic",
     "loose-anamorphic", "keep-display-aspect", "itu-par", "grayscale", "all-subtitles", "first-subtitle", "native-dub"}
)  # fmt: skip
"""Options that are switches. `--markers` has an optional argument too: a file, whose lines become chapters."""

_NAMES: Final = frozenset({"aname", "subname"})
"""Options whose values are shown to people and may hold any text; no other value has a slash."""

_SPELLED: Final = {"maxheight": "maxHeight", "maxwidth": "maxWidth"}
_TRACK_FIELDS: Final = {
    "track": "audio", "encoder": "aencoder", "bitrate": "ab", "quality": "aq", "mixdown": "mixdown",
    "samplerate": "arate", "gain": "gain", "drc": "drc", "name": "aname",
}  # fmt: skip
_PROGRESS: Final = re.compile(r'"(Progress|Pass|PassCount|RateAvg)": ([\d.]+)')


def _section_description(section: str) -> str:
    """Return the description of a section: the options that it knows."""
    return f"HandBrake's {', '.join(sorted(SECTIONS[section]))}."


Section = dict[Annotated[str, StringConstraints(max_length=64)], Value]


class AudioTrack(Model):
    """One sound in the older spelling: all of a track's settings together."""

    track: Annotated[int, Field(ge=1, le=100)] = Field(description="The source's audio track, counted from 1.")
    encoder: Annotated[str, StringConstraints(max_length=40)] | None = Field(
        None, description="HandBrake's audio encoder, or `copy` or one of its variants."
    )
    bitrate: Annotated[int, Field(ge=8, le=6144)] | None = Field(None, description="kbit/s.")
    quality: float | None = Field(None, description="The encoder's own quality, instead of a bit rate.")
    mixdown: Annotated[str, StringConstraints(max_length=40)] | None = Field(
        None, description="How channels are mixed: `mono`, `stereo`, `5point1`, …."
    )
    samplerate: str | float | None = Field(None, description="kHz: `48`, or `auto`.")
    gain: float | None = Field(None, description="Louder or softer, in dB.")
    drc: float | None = Field(None, description="Dynamic range compression, 1.0 to 4.0.")
    name: Annotated[str, StringConstraints(max_length=200)] | None = Field(None, description="The track's name.")


class SubtitleTrack(Model):
    """One subtitle in the older spelling."""

    track: Annotated[int, Field(ge=1, le=100)] = Field(description="The source's subtitle track, counted from 1.")
    name: Annotated[str, StringConstraints(max_length=200)] | None = Field(None, description="The track's name.")
    default: bool = Field(default=False, description="Whether it is shown when the viewer has chosen none.")
    forced: bool = Field(default=False, description="Whether only its forced lines are shown.")
    burned: bool = Field(default=False, description="Whether it is drawn into the picture.")


class HandbrakeParams(Model):
    """One run of HandBrakeCLI; its options by section, `_` or `-` in names, `false` for the form with `no-`."""

    source: Place = Field(description="The film.")
    output_file: Place = Field(description="The new file: .mp4, .m4v, .mkv or .webm.")
    source_options: Section = Field(default_factory=dict, description=_section_description("source_options"))
    destination_options: Section = Field(default_factory=dict, description=_section_description("destination_options"))
    video_options: Section = Field(default_factory=dict, description=_section_description("video_options"))
    audio_options: Section = Field(default_factory=dict, description=_section_description("audio_options"))
    picture_options: Section = Field(default_factory=dict, description=_section_description("picture_options"))
    filters_options: Section = Field(default_factory=dict, description=_section_description("filters_options"))
    subtitles_options: Section = Field(default_factory=dict, description=_section_description("subtitles_options"))
    audio_tracks: list[AudioTrack] = Field(
        default_factory=list,
        max_length=50,
        description="The sounds in the older spelling, instead of audio_options.audio.",
    )
    subtitle_tracks: list[SubtitleTrack] = Field(
        default_factory=list, max_length=50, description="The subtitles in the older spelling."
    )
    overwrite: bool = Field(default=False, description="Whether a file of that name may be replaced.")
    damage: Damage = Field("refuse", description=DAMAGE_MEANING)
    verify: Verify = Field(
        "probe", description="How the new film is proved: by its tracks and seconds, or by decoding all of it too."
    )

    @model_validator(mode="after")
    def _refuse_faulty_options(self) -> HandbrakeParams:
        found: list[tuple[tuple[str | int, ...], str]] = []
        for section, known in SECTIONS.items():
            for name, value in getattr(self, section).items():
                if message := _fault(option_name(name), value, known):
                    found.append(((section, name), message))
        found += [(("source_options", name), problem) for name, problem in piece_problems(self.source_options)]
        if self.audio_tracks and "audio" in self.audio_options:
            found.append(
                (("audio_tracks",), "cannot be combined with audio_options.audio: one of them chooses the tracks")
            )
        if found:
            raise faults("handbrake", found)
        return self


def _fault(name: str, value: Value, known: frozenset[str]) -> str | None:
    if name not in known:
        elsewhere = next((section for section, names in SECTIONS.items() if name in names), None)
        return f"belongs into {elsewhere}" if elsewhere else f"unknown option{nearest(name, known)}"
    if name in FLAGS:
        return None if value is None or isinstance(value, bool) else "is a flag: true or false"
    try:
        text = option_text(value)
    except ValueError as error:
        return str(error)
    if name == "encopts":
        return parameters_problem(text)
    return "holds a slash, as only names may" if "/" in text and name not in _NAMES else None


def handbrake_command(params: HandbrakeParams, program: str, source: Path, output: Path) -> Command:
    """Return the command; its progress comes on standard output as JSON.

    Values follow an equal sign: an option that is left without its own takes the next argument for it, and a
    value that came apart would then be read as an option, `--output=/elsewhere`.
    """
    argv = [program, "--json", "--input", str(source), "--output", str(output)]
    for section in SECTIONS:
        for name, value in getattr(params, section).items():
            plain = option_name(name)
            argv += _option(plain, moment_text(value) if plain in CUTS else value)
    argv += _audio(params.audio_tracks) + _subtitles(params.subtitle_tracks)
    return Command(tuple(argv))


def _option(name: str, value: Value) -> list[str]:
    flag = _SPELLED.get(name, name)
    if value is True or value is None:
        return [f"--{flag}"]
    if value is False:
        return [f"--no-{flag}"]
    return [f"--{flag}={option_text(value)}"]


def _audio(tracks: list[AudioTrack]) -> list[str]:
    """Return options with a value for every track where some tracks give one: HandBrake needs lists of equal length."""
    argv: list[str] = []
    usual = {"encoder": "av_aac", "mixdown": "stereo", "samplerate": "auto", "bitrate": 160, "gain": 0, "drc": 0}
    for field, option in _TRACK_FIELDS.items():
        values = [getattr(track, field) for track in tracks]
        if any(value is not None for value in values):
            filled = [usual.get(field, "") if value is None else value for value in values]
            argv.append(f"--{option}={option_text(filled)}")
    return argv


def _subtitles(tracks: list[SubtitleTrack]) -> list[str]:
    if not tracks:
        return []
    argv = [f"--subtitle={option_text([track.track for track in tracks])}"]
    if any(track.name for track in tracks):
        argv.append(f"--subname={option_text([track.name or '' for track in tracks])}")
    for name in ("forced", "burned", "default"):
        chosen = [index + 1 for index, track in enumerate(tracks) if getattr(track, name)]
        if chosen:
            argv.append(f"--subtitle-{name}={option_text(chosen if name == 'forced' else chosen[:1])}")
    return argv


class HandbrakeMeter:
    """The fraction done over all passes, from the lines of HandBrake's JSON: monotonic, None while it is unknown."""

    def __init__(self) -> None:
        self.fraction: float | None = None
        self.fps: float | None = None
        self._block: dict[str, float] = {}

    def line(self, text: str) -> bool:
        """Take one line; return whether it ended a report that moved the fraction."""
        if match := _PROGRESS.search(text):
            self._block[match[1]] = float(match[2])
        if not text.startswith("}"):
            return False
        block, self._block = self._block, {}
        if "Progress" not in block or "PassCount" not in block:
            return False
        passes = max(1.0, block["PassCount"])
        done = (max(0.0, block.get("Pass", 1.0) - 1) + block["Progress"]) / passes
        self.fps = block.get("RateAvg") or None
        self.fraction = max(self.fraction or 0.0, min(1.0, done))
        return True


def own_words(tail: str) -> str:
    """Return HandBrake's complaints: without its log, the cards it looked for and the discs it took a file for."""
    return "\n".join(line for line in tail.splitlines() if not _LOOKING.search(line))
