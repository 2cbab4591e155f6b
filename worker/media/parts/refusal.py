"""Why a job of ffmpeg is not divided: each reason by its name, found before anything is read but the streams."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from worker.media.ffmpeg.filters import filter_names, words
from worker.media.ffmpeg.options import value_text

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from worker.core.media_info import StreamInfo

ENCODERS: Final = frozenset({"libx264", "libx265", "libsvtav1"})
"""Encoders of the processor whose parts join without a seam."""
CONTAINERS: Final = frozenset({"matroska", "mp4", "ipod", "mov", "mpegts"})
"""Muxers for which the join was proved."""
JOINED: Final = frozenset({"metadata", "disposition", "tag"})
"""Options of a picture that are the file's and not the encoder's: they belong to the join."""
# Each looks at one picture alone, and at no clock.
_WITHOUT_MEMORY: Final = words(
    """
    avgblur bilateral boxblur chromahold chromakey chromanr chromashift colorbalance colorchannelmixer colorcontrast
    colorcorrect colorhold colorize colorkey colorlevels colormatrix colorspace colortemperature convolution copy crop
    dblur deband deblock deflate delogo dilation drawbox drawgrid edgedetect eq erosion exposure fftdnoiz
    fillborders format gblur gradfun hflip hqx hue huesaturation il inflate lenscorrection limiter lumakey lutrgb lutyuv
    monochrome negate nlmeans normalize null pad perspective pixelize pp7 premultiply rgbashift scale setdar
    setfield setparams setrange setsar shear smartblur spp swaprect swapuv tonemap transpose unpremultiply
    unsharp vflip vibrance vignette xbr yaepblur zscale
    """
) - words("fftdnoiz normalize drawtext")
_INPUT_OPTIONS: Final = frozenset({"threads", "probesize", "analyzeduration", "autorotate", "thread_queue_size"})
_CHANGED_RATE: Final = frozenset({"r", "fpsmax", "fps_mode", "frames", "force_fps"})
_AWAY_FROM_PARTS: Final = frozenset(
    {"force_key_frames", "bsf", "time_base", "enc_time_base", "timecode", "copyinkf", "stats", "b", "q", "qscale"}
)
# A library's own parameters that mean numbers of frames, other passes, or GOPs without an end.
_PARAMETERS: Final = frozenset({"pass", "zones", "qpfile", "intra-refresh", "stats", "bitrate", "frames", "seek"})
_TRUE: Final = frozenset({"1", "true", "yes"})
# What a filter's expressions call the number of a picture, its time and its place in the file.
_MOVING: Final = frozenset({"n", "t", "pts", "pos", "random"})
_TOKEN: Final = re.compile(r"[A-Za-z_]+")


@dataclass(frozen=True, slots=True)
class Output:
    """A stream of the output: where it comes from, its kind's letter and number, the options it is made with.

    `loudness` says that its sound is brought to a level.
    """

    source: int
    stream: StreamInfo
    letter: str
    number: int
    options: Mapping[str, Any]
    loudness: bool = False

    @property
    def encoder(self) -> str | None:
        """Return the encoder, `copy`, or None where ffmpeg chooses."""
        name = self.options.get("codec", self.options.get("c"))
        return name if isinstance(name, str) else None

    @property
    def is_copied(self) -> bool:
        """Return whether its packets are copied as they are."""
        return self.encoder == "copy"

    @property
    def is_film(self) -> bool:
        """Return whether it is a picture that moves and is encoded."""
        return self.letter == "v" and not self.stream.attached_picture and not self.is_copied

    @property
    def is_encoded_sound(self) -> bool:
        """Return whether it is a sound that is encoded."""
        return self.letter == "a" and not self.is_copied


def refusal(outputs: Sequence[Output], muxer: str, input_options: Mapping[str, Any]) -> str | None:
    """Return why the job is not divided, None when nothing so far forbids it."""
    return next(_reasons(outputs, muxer, input_options), None)


def _reasons(outputs: Sequence[Output], muxer: str, input_options: Mapping[str, Any]) -> Iterator[str]:
    films = [output for output in outputs if output.is_film]
    if not films:
        yield "no picture is encoded"
        return
    if len(films) > 1:
        yield "several pictures are encoded"
    if muxer not in CONTAINERS:
        yield f"a {muxer} file is not joined from parts"
    if given := sorted(input_options.keys() - _INPUT_OPTIONS):
        yield f"the input option {given[0]} cannot be placed on frames"
    if any(output.letter not in {"v", "a", "s", "t"} for output in outputs):
        yield "a data stream is taken"
    film = films[0]
    if film.encoder not in ENCODERS:
        yield f"the parts of {film.encoder or 'an encoder that the job does not name'} are not joined"
    yield from _option_reasons(film.options)
    yield from _filter_reasons(film.options)
    for output in outputs:
        if output.is_encoded_sound and output.encoder is None:
            yield "no output map names the encoder of a sound"


def _option_reasons(options: Mapping[str, Any]) -> Iterator[str]:
    if changed := sorted(options.keys() & _CHANGED_RATE):
        yield f"the option {changed[0]} changes the number of pictures"
    if away := sorted(options.keys() & _AWAY_FROM_PARTS):
        meaning = " needs the rate control of the whole film" if away[0] in {"b", "q", "qscale"} else " counts over it"
        yield f"the option {away[0]}{meaning}"
    if "+ilme" in str(options.get("flags", "")) or "+ildct" in str(options.get("flags", "")):
        yield "the picture is encoded in fields"
    if re.search(r"pass[12]", str(options.get("flags", ""))):
        yield "it is encoded in two passes"
    for key, value in parameters(options).items():
        if key in _PARAMETERS and value not in {"0", ""}:
            yield f"the encoder's parameter {key} means the whole film"
        if key == "open-gop" and value in _TRUE:
            yield "open GOPs are asked for"
        if key in {"interlaced", "tff", "bff"} and value not in {"0", "false"}:
            yield "the picture is encoded in fields"


def _filter_reasons(options: Mapping[str, Any]) -> Iterator[str]:
    for key in ("vf", "filter"):
        chain = options.get(key)
        if not isinstance(chain, str):
            continue
        for name in filter_names(chain):
            if name not in _WITHOUT_MEMORY:
                yield f"the filter {name} looks at more than one picture, or at the clock"
        if _MOVING & {token for value in _values(chain) for token in _TOKEN.findall(value)}:
            yield "a filter's expression changes from picture to picture"


def _values(chain: str) -> Iterator[str]:
    """Yield the values of all options in a chain, without their keys."""
    for part in re.split(r"[,:]", chain):
        yield part.rpartition("=")[2]


def parameters(options: Mapping[str, Any]) -> dict[str, str]:
    """Return the library's own parameters that the options give, by their names with dashes."""
    found: dict[str, str] = {}
    for name, given in options.items():
        if not name.endswith(("-params", "opts")):
            continue
        for pair in value_text(given).split(":"):
            key, _, value = pair.partition("=")
            plain = key.strip().lower().replace("_", "-")
            found[re.sub(r"^no-", "", plain)] = "0" if plain.startswith("no-") else value.strip() or "1"
    return found


def gop(options: Mapping[str, Any]) -> int:
    """Return the number of pictures that cuts are multiples of: the greatest distance of key frames, 1 if not given."""
    for value in (options.get("g"), parameters(options).get("keyint")):
        if value is not None and value_text(value).isdigit() and 0 < int(value_text(value)) <= 1000:  # noqa: PLR2004 - frames
            return int(value_text(value))
    return 1


def side_data_refusal(lines: Sequence[str]) -> str | None:
    """Return why a picture with this side data is not divided: what changes from scene to scene would be lost."""
    text = "\n".join(lines)
    if re.search(r"HDR Dynamic Metadata SMPTE2094|HDR10\+", text):
        return "the source carries HDR10+"
    if re.search(r"DOVI|Dolby Vision", text):
        return "the source carries Dolby Vision"
    return None
