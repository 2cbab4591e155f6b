"""Proved capabilities of a host: the trials as commands, their answers as values, and the lanes that follow.

Lists prove nothing: Debian's ffmpeg names NVENC, QSV, VAAPI, V4L2 and OpenMAX encoders on a host without any such
hardware (media.md, "Capabilities are proved, not listed").
"""

from __future__ import annotations

import re
from collections.abc import Mapping  # noqa: TC003 - pydantic reads it at run time
from typing import TYPE_CHECKING, Any, Final, TypeAlias

from pydantic import BaseModel, ConfigDict, Field

from worker.core.command import Command, Pipeline
from worker.core.errors import CannotServe
from worker.media.ffmpeg.vaapi import USUAL_NODE, device, takes_uploads, upload

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence
    from pathlib import Path

Proof: TypeAlias = bool | str
"""True, or why not."""

FORMATS: Final[dict[str, tuple[str, ...]]] = {
    # NVENC and QSV are many times as fast as a processor. VAAPI and V4L2 come last: their pictures are worse at the
    # same size.
    "h264": ("h264_nvenc", "h264_qsv", "libx264", "libopenh264", "h264_vaapi", "h264_v4l2m2m"),
    "hevc": ("hevc_nvenc", "hevc_qsv", "libx265", "libkvazaar", "hevc_vaapi", "hevc_v4l2m2m"),
    "av1": ("av1_nvenc", "av1_qsv", "libsvtav1", "libaom-av1", "librav1e", "av1_vaapi"),
    "vp9": ("vp9_qsv", "libvpx-vp9", "vp9_vaapi", "vp9_v4l2m2m"),
    "vp8": ("libvpx", "vp8_vaapi", "vp8_v4l2m2m"),
    "aac": ("aac", "libfdk_aac"),
    "opus": ("libopus",),
    "mp3": ("libmp3lame", "libshine"),
    "vorbis": ("libvorbis",),
    "flac": ("flac",),
    "ac3": ("ac3",),
    "eac3": ("eac3",),
}
"""Format → its encoders, the best first."""
ALIASES: Final = {"h265": "hevc", "avc": "h264", "x264": "h264", "x265": "hevc"}
AUDIO: Final = frozenset({"aac", "opus", "mp3", "vorbis", "flac", "ac3", "eac3"})
FAMILIES: Final = {"nvenc": "nvidia", "qsv": "intel", "vaapi": "vaapi", "v4l2m2m": "v4l2"}
"""A hardware encoder's suffix → what `gpu_type` says."""
DEVICES: Final = {
    "vaapi": ("dri", "there is no render node in /dev/dri"),
    "qsv": ("dri", "there is no render node in /dev/dri"),
    "v4l2m2m": ("video", "there is no /dev/video*"),
}
"""Family → the fact of the host that lists its devices, and the reason where there is none.

NVENC's are not asked for: where CUDA finds its card differs (`/dev/nvidia0`, `/dev/dxg` of a virtual machine).
"""
UNFED: Final = {"vulkan": "Leveret brings no pictures into Vulkan's memory"}
"""Family → why none of its encoders can be used, whatever the host has."""
SIZES: Final = (("7680x4320", "8k"), ("3840x2160", "4k"), ("2560x1440", "1440p"), ("1920x1080", "1080p"))
VERSION_FLAGS: Final = {
    "ffmpeg": "-version",
    "ffprobe": "-version",
    "packager": "--version",
    "mkvmerge": "--version",
    "mkvextract": "--version",
    "handbrake": "--version",
    "gource": "--help",
}
"""The question for each program's version; gource's help, whose head is its version, needs no display."""
NOT_LISTED: Final = "not in this ffmpeg"
GOURCE_LOG: Final = "1700000000|a|A|one.c\n1700086400|b|M|two.c\n"
GOURCE_FRAME: Final = "P6"
"""The first line of a frame that gource exports."""

_HARDWARE: Final = re.compile(r"_(nvenc|qsv|vaapi|v4l2m2m|omx|amf|videotoolbox|rkmpp|vulkan|mf|mediacodec)$")
_ORIGIN: Final = re.compile(r"^\[[^\]]*\]\s*")
# SVT-AV1 and HandBrake write their settings to standard error beside what went wrong
_NOISE: Final = re.compile(r"^(Svt\[info\]|-+$|encoded \d+ frames)")


class Capabilities(BaseModel):
    """The capabilities of a host. Those that are not `proved` lack nothing as far as is known: nobody has tried."""

    model_config = ConfigDict(frozen=True)

    proved: bool = False
    encoders: Mapping[str, Proof] = Field(default_factory=dict)
    listed: frozenset[str] = frozenset()
    decoders: Mapping[str, Proof] = Field(default_factory=dict)
    tools: Mapping[str, Proof] = Field(default_factory=dict)
    versions: Mapping[str, str] = Field(default_factory=dict)
    max_sizes: Mapping[str, str] = Field(default_factory=dict)
    render_node: str = USUAL_NODE
    architecture: str = ""
    cores: int = 0
    seconds: float = 0.0

    def reason(self, requirement: str) -> str | None:
        """Return why `requirement` (`encoder:libx265`, `encoder:h264`, `tool:mkvmerge`) is not met; None if it is."""
        kind, _, name = requirement.partition(":")
        if not self.proved:
            return None
        if kind == "tool":
            return _reason(self.tools.get(name, "not installed"))
        if kind != "encoder":
            return "unknown here"
        if format_of(name) is not None:
            return None if self.encoders_of(name) else f"no encoder of {name} works"
        return _reason(self.encoders.get(name, name in self.listed or NOT_LISTED))

    def missing_requirement(self, requirements: Iterable[str]) -> str | None:
        """Return what this host lacks of `requirements` and why, as one line; None when it lacks nothing."""
        reasons = [(name, self.reason(name)) for name in sorted(requirements)]
        return "; ".join(f"{name} ({reason})" for name, reason in reasons if reason is not None) or None

    def encoders_of(self, name: str) -> tuple[str, ...]:
        """Return the encoders of a format that work here, the best first; unproved, its first software encoder."""
        known = FORMATS.get(format_of(name) or "", ())
        if not self.proved:
            return tuple(encoder for encoder in known if family_of(encoder) is None)[:1]
        return tuple(encoder for encoder in known if self.encoders.get(encoder) is True)

    def choices(self, name: str, *, hw_fallback: bool = False) -> tuple[str, ...]:
        """Return the encoders that may do what `name`, an encoder or a format, asks for; the best first.

        `hw_fallback` lets the software encoders of the same format stand in for a hardware encoder that does not
        work here. CannotServe when there is none.
        """
        if format_of(name) is not None:
            found = self.encoders_of(name)
        elif self.reason(f"encoder:{name}") is None:
            found = (name,)
        elif hw_fallback and (coding := coding_of(name)):
            found = tuple(encoder for encoder in self.encoders_of(coding) if family_of(encoder) is None)
        else:
            found = ()
        if not found:
            raise CannotServe(f"this worker lacks encoder:{name} ({self.reason(f'encoder:{name}')})")
        return found

    @property
    def formats(self) -> dict[str, str]:
        """Return format → the encoder that it means here."""
        return {name: best for name in FORMATS if (best := best_encoder(name, self.encoders))}

    @property
    def hardware(self) -> tuple[str, ...]:
        """Return the hardware encoders that work."""
        return tuple(name for name, proof in self.encoders.items() if proof is True and family_of(name))

    def document(self) -> dict[str, Any]:
        """Return what the fleet's record and its events say of this host."""
        largest = [label for size, label in SIZES if size in self.max_sizes.values()]
        families = [family for name in self.hardware if (family := family_of(name))]
        return {
            "supported_codecs": sorted(name for name, proof in self.encoders.items() if proof is True),
            "encoders": dict(self.encoders),
            "decoders": [name for name, proof in self.decoders.items() if proof is True],
            "formats": self.formats,
            "tools": dict(self.tools),
            "versions": dict(self.versions),
            "has_gpu": bool(families),
            "gpu_type": FAMILIES.get(families[0], families[0]) if families else None,
            "max_resolution": largest[0] if largest else None,
            "max_sizes": dict(self.max_sizes),
            "architecture": self.architecture,
            "cores": self.cores,
        }


def _reason(proof: Proof) -> str | None:
    return None if proof is True else str(proof or "does not work")


def best_encoder(name: str, proved: Mapping[str, Proof]) -> str | None:
    """Return the best encoder of a format among those that are proved; None when there is none."""
    return next((encoder for encoder in FORMATS[format_of(name) or name] if proved.get(encoder) is True), None)


def format_of(name: str) -> str | None:
    """Return the format that `name` (`h264`, `h265`, `aac`) is; None when it is an encoder or unknown."""
    name = ALIASES.get(name.lower(), name.lower())
    return name if name in FORMATS else None


def coding_of(encoder: str) -> str | None:
    """Return the format that an encoder writes, None where no table says it."""
    known = next((name for name, encoders in FORMATS.items() if encoder in encoders), None)
    return known or format_of(_HARDWARE.sub("", encoder))


def family_of(encoder: str) -> str | None:
    """Return the hardware that an encoder needs (`nvenc`, `qsv`, …); None for software."""
    match = _HARDWARE.search(encoder)
    return match[1] if match else None


def lanes_of(capabilities: Capabilities) -> tuple[str, ...]:
    """Return the lanes that a host can serve, those that few can serve first."""
    working = [name for name, proof in capabilities.encoders.items() if proof is True]
    families = {family_of(name) for name in working}
    lanes: list[str] = [family for family in ("nvenc", "qsv", "vaapi") if family in families]
    if None in families:
        lanes.append("cpu")
    if capabilities.tools.get("gource") is True:
        lanes.append("visualize")
    return tuple(lanes)


# ------------------------------------------------------------------ the trials


def software_to_try(listed: Iterable[str]) -> tuple[str, ...]:
    """Return the software encoders of our formats that ffmpeg lists: they are tried together."""
    listed = frozenset(listed)
    return tuple(name for names in FORMATS.values() for name in names if not family_of(name) and name in listed)


def hardware_to_try(listed: Iterable[str]) -> tuple[str, ...]:
    """Return every hardware encoder that ffmpeg lists: each is tried alone, where its device is."""
    return tuple(sorted(name for name in listed if family_of(name)))


def why_untried(encoder: str, facts: Mapping[str, Any]) -> str | None:
    """Return why a hardware encoder cannot work with the devices that `facts` list, without a trial; or None."""
    family = family_of(encoder) or ""
    fact, reason = DEVICES.get(family, ("", ""))
    return UNFED.get(family) or (reason if fact and not facts.get(fact) else None)


def software_trial(ffmpeg: str, encoders: Sequence[str], folder: Path) -> Pipeline:
    """Return one run that encodes three frames, and 0.3 s of silence, with every encoder into `<encoder>.mkv`."""
    argv = [*_head(ffmpeg), *_picture("256x256", "0.3"), "-f", "lavfi", "-i", "anullsrc=r=48000:cl=stereo:d=0.3"]
    for encoder in encoders:
        sound = coding_of(encoder) in AUDIO
        codec = ("-map", "1:a", "-c:a", encoder) if sound else ("-map", "0:v", "-pix_fmt", "yuv420p", "-c:v", encoder)
        argv += [*codec, "-f", "matroska", f"file:{folder / encoder}.mkv"]
    return _quiet(argv, "trial of software encoders")


def hardware_trial(ffmpeg: str, encoder: str, node: str, size: str = "256x256") -> Pipeline:
    """Return the test encode of one hardware encoder; `node` is a render node, which only VAAPI needs.

    256x256, for good NVENC cards fail below 145x145.
    """
    pixels = ("-pix_fmt", "nv12") if family_of(encoder) == "qsv" else ()
    pixels = ("-vf", upload()) if takes_uploads(encoder) else pixels
    argv = [*_head(ffmpeg), *device([encoder], node), *_picture(size, "0.3"), *pixels, "-c:v", encoder]
    argv += ["-f", "null", "-"]
    return _quiet(argv, f"trial of {encoder} at {size}")


def decoder_trial(ffmpeg: str, samples: Sequence[Path]) -> Pipeline:
    """Return one run that decodes all samples."""
    argv = [*_head(ffmpeg), "-xerror"]
    for sample in samples:
        argv += ["-i", f"file:{sample}"]
    for index in range(len(samples)):
        argv += ["-map", str(index)]
    return _quiet([*argv, "-f", "null", "-"], "trial of decoders")


def gource_trial(gource: str, log: Path) -> Pipeline:
    """Return a run that draws frames of two commits without an X server or a graphics card."""
    argv = (
        gource, "--log-format", "custom", "-64x36", "--disable-input", "--stop-at-end", "--seconds-per-day", "1",
        "--output-framerate", "25", "--output-ppm-stream", "-", str(log),
    )  # fmt: skip
    surroundings = {"SDL_VIDEODRIVER": "offscreen", "LIBGL_ALWAYS_SOFTWARE": "1"}
    return Pipeline((Command(argv, surroundings),), label="trial of gource")


def version_question(name: str, path: str) -> Pipeline:
    """Return how a program is asked for its version."""
    return Pipeline.of(path, VERSION_FLAGS.get(name, "--version"), label=f"version of {name}")


def version_in(text: str) -> str | None:
    """Return the first line that has a digit, else the first one; None when a program said nothing."""
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    return next((line for line in lines if any(map(str.isdigit, line))), lines[0] if lines else None)


def reason_in(tail: str) -> str:
    """Return the cause that ffmpeg named first; what follows is only what came of it."""
    lines = [_ORIGIN.sub("", line.strip()) for line in tail.splitlines()]
    return next((line[:200] for line in lines if line and not _NOISE.match(line)), "it failed without a message")


def _head(ffmpeg: str) -> tuple[str, ...]:
    return (ffmpeg, "-nostdin", "-hide_banner", "-v", "error", "-y")


def _picture(size: str, seconds: str) -> tuple[str, ...]:
    return ("-f", "lavfi", "-i", f"color=black:s={size}:r=10:d={seconds}")


def _quiet(argv: Iterable[str], label: str) -> Pipeline:
    # SVT-AV1 writes its settings to standard error past ffmpeg's level; 1 is errors only
    return Pipeline((Command(tuple(argv), {"SVT_LOG": "1"}),), label=label)
