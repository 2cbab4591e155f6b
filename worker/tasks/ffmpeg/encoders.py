"""The encoders of this worker's ffmpeg: which there are, what each documents, and which one a job means."""

from __future__ import annotations

import re
from dataclasses import replace
from typing import TYPE_CHECKING, Final

from worker.core.command import Pipeline
from worker.core.errors import InvalidJob, Problem, ToolFailed, ToolMissing
from worker.core.hints import nearest
from worker.media.capabilities import family_of, format_of
from worker.media.ffmpeg.options import Encoder, output_problems, parse_encoder_options, parse_encoders

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from worker.core.task import Lookup, TaskContext
    from worker.media.ffmpeg.params import FfmpegParams, OutputMap

NO_ENCODER: Final = frozenset({"copy"})
# Encoders that depend on the machine or on how ffmpeg was built; another worker may have what this one lacks.
_ELSEWHERE: Final = re.compile(
    r"^([a-z0-9]+_(nvenc|qsv|vaapi|amf|v4l2m2m|videotoolbox|omx|mf|vulkan|rkmpp|mediacodec|at)|"
    r"lib(x264|x264rgb|x265|svtav1|aom-av1|rav1e|vpx|vpx-vp9|vvenc|kvazaar|openh264|xvid|theora|webp|webp_anim|jxl|"
    r"openjpeg|opus|vorbis|mp3lame|twolame|fdk_aac|speex|shine|ilbc|gsm|codec2|opencore_amrnb|vo_amrwbenc|lc3|"
    r"xeve|oapv|xavs2|davs2))$"
)


class Encoders:
    """The encoders of each ffmpeg of this host, asked for once."""

    def __init__(self) -> None:
        self._by_program: dict[str, dict[str, Encoder]] = {}
        self._documented: dict[tuple[str, str], Encoder | None] = {}

    async def find(self, item: OutputMap, lookup: Lookup, path: str, *, hw_fallback: bool) -> Encoder | None:
        """Return the encoder that the options mean, None for none, copy, or one that only other workers have.

        CannotServe when they name a format, or a hardware encoder with a fallback, and none of it works here.
        """
        name = item.options.get("codec")
        if name is None or name in NO_ENCODER:
            return None
        if not isinstance(name, str) or not re.match(r"^[A-Za-z0-9_.-]{1,64}$", name):
            raise InvalidJob([Problem(f"{path}.options.codec", f"{str(name)[:64]!r} is no name of an encoder")])
        if format_of(name) or (hw_fallback and family_of(name)):
            return await self._best_encoder(lookup.encoders(name, hw_fallback=hw_fallback), item, lookup, path)
        encoder = await self._documentation(name, lookup)
        if encoder is None and not is_elsewhere(name):
            known = (await self._listed(lookup)).keys() | {"copy"}
            raise InvalidJob([Problem(f"{path}.options.codec", f"unknown encoder {name!r}{nearest(name, known)}")])
        return encoder

    async def _best_encoder(self, names: Sequence[str], item: OutputMap, lookup: Lookup, path: str) -> Encoder | None:
        """Return the best encoder that takes the options: `crf` is x264's, and NVENC has none."""
        known = [encoder for name in names if (encoder := await self._documentation(name, lookup))]
        fitting = (encoder for encoder in known if not any(option_problems(item, encoder, path)))
        return next(fitting, known[0] if known else None)

    async def _documentation(self, name: str, lookup: Lookup) -> Encoder | None:
        """Return what this host's ffmpeg documents of an encoder, or of the first one for a codec; kept for good."""
        ffmpeg = lookup.tool("ffmpeg")
        if (ffmpeg, name) not in self._documented:
            listed = await self._listed(lookup)
            if name not in listed and not any(encoder.codec == name for encoder in listed.values()):
                return None
            (answer,) = await lookup.run(Pipeline.of(ffmpeg, "-hide_banner", "-h", f"encoder={name}"))
            found, options = parse_encoder_options(answer.output)
            self._documented[ffmpeg, name] = replace(listed[found], options=options) if found in listed else None
        return self._documented[ffmpeg, name]

    async def _listed(self, lookup: Lookup) -> dict[str, Encoder]:
        ffmpeg = lookup.tool("ffmpeg")
        if ffmpeg not in self._by_program:
            (answer,) = await lookup.run(Pipeline.of(ffmpeg, "-hide_banner", "-encoders"))
            if not answer.ok:
                raise ToolFailed(str(answer))
            self._by_program[ffmpeg] = parse_encoders(answer.output)
        return self._by_program[ffmpeg]

    async def require(self, params: FfmpegParams, context: TaskContext) -> dict[str, Encoder]:
        """Return this ffmpeg's encoders; ToolMissing where one is asked for that it has not."""
        encoders = await self._listed(context)
        if lacking := [
            item.encoder for item in params.output_maps if item.encoder not in {*encoders, *NO_ENCODER, None}
        ]:
            raise ToolMissing(f"this worker's ffmpeg has no encoder {lacking[0]}")
        return encoders


def is_elsewhere(name: str | None) -> bool:
    """Return whether another worker may have this encoder where this one lacks it."""
    return name is not None and _ELSEWHERE.match(name) is not None


def option_problems(item: OutputMap, encoder: Encoder | None, path: str) -> Iterable[Problem]:
    """Yield what is wrong with the options of an output map for an encoder; `path` is the map's own."""
    kind = item.specifier or (encoder.kind if encoder else None)
    if encoder is not None and item.specifier and item.specifier.lower() != encoder.kind:
        yield Problem(f"{path}.options.codec", f"{encoder.name!r} makes no {item.specifier!r} stream")
        return
    yield from output_problems(item.options, kind, encoder, f"{path}.options")
