"""The plan of a presentation: from a job's parameters and its source to all that will be made."""

from __future__ import annotations

from dataclasses import dataclass, replace
from fractions import Fraction
from typing import TYPE_CHECKING, Final

from worker.core.errors import BadInput
from worker.media.colours import named_colours
from worker.media.empty import emptiness
from worker.media.ffmpeg.encoders import Encoder, bits_per_second, encoder_named, fallback_of
from worker.media.ffmpeg.formats import own_clock
from worker.media.ffmpeg.vaapi import USUAL_NODE
from worker.media.hls.encode import HDR_TRANSFERS, AudioRendition, Encoding, Picture
from worker.media.hls.ladder import (
    Rendition,
    Size,
    Timing,
    boxed_size,
    derived_sizes,
    display_size,
    even_segments,
    film_seconds,
    scaled_size,
    stream_end,
    timing,
    usual_peak,
)
from worker.media.hls.sound import SoundChoice, planned_sounds
from worker.media.hls.text import COPIED_CODECS, TextRendition, planned_texts
from worker.media.selection import picture_specifier

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from worker.core.media_info import MediaInfo, StreamInfo
    from worker.media.hls.params import HlsParams, RenditionParams

BITRATE_FACTOR: Final = {"h264": 1.0, "hevc": 0.7, "vp9": 0.7, "av1": 0.55}
INTERLACED: Final = frozenset({"tt", "bb", "tb", "bt"})


@dataclass(frozen=True, slots=True)
class Host:
    """The proved capabilities of this host: hardware encoders by name, VAAPI's device, and tone mapping.

    `mastering` is what the source says of its mastering, as x265's parameters.
    """

    encoders: frozenset[str] = frozenset()
    tone_mapping: bool = False
    render_node: str = USUAL_NODE
    mastering: str = ""


@dataclass(frozen=True, slots=True)
class Plan:
    """All that will be made, and what people should know about it.

    `groups` says which group of sounds is heard with which rendition, `own_folders` where renditions go that have
    a destination of their own.
    """

    picture: Picture | None
    sounds: tuple[AudioRendition, ...]
    choices: tuple[SoundChoice, ...]
    texts: tuple[TextRendition, ...]
    duration: Fraction
    segment_seconds: Fraction
    fragment_seconds: Fraction
    groups: Mapping[str, str | None]
    own_folders: Mapping[str, str]
    warnings: tuple[str, ...] = ()
    reorder: bool = True
    render_node: str = USUAL_NODE
    accept_damage: bool = False
    clock: tuple[str, ...] = ()

    @property
    def timing(self) -> Timing | None:
        """Return the picture's timing."""
        return self.picture.timing if self.picture else None

    @property
    def hardware(self) -> frozenset[str]:
        """Return the hardware encoders that it uses."""
        names = [rendition.encoder for rendition in self.picture.renditions] if self.picture else []
        return frozenset(name for name in names if encoder_named(name).family)

    def encoding(self, source: Path) -> Encoding:
        """Return the one ffmpeg run that makes it from `source`."""
        copied = [text for text in self.texts if text.codec in COPIED_CODECS]
        streams = tuple((text.stream, text.codec) for text in copied if text.stream is not None)
        return Encoding(
            source,
            self.duration,
            self.picture,
            self.sounds,
            streams,
            self.reorder,
            self.render_node,
            accept_damage=self.accept_damage,
            clock=self.clock,
        )

    def in_software(self) -> Plan:
        """Return the same plan without hardware encoders."""
        if self.picture is None:
            return self
        renditions = tuple(
            replace(rendition, encoder=fallback_of(encoder_named(rendition.encoder)).name)
            for rendition in self.picture.renditions
        )
        return replace(self, picture=replace(self.picture, renditions=renditions))


def hardware_named(params: HlsParams) -> frozenset[str]:
    """Return the hardware encoders that the renditions name."""
    encoders = [encoder_named(rendition.codec) for rendition in params.renditions]
    return frozenset(encoder.name for encoder in encoders if encoder.family)


def is_hdr(info: MediaInfo) -> bool:
    """Return whether the picture is HDR (PQ or HLG)."""
    return info.video is not None and info.video.color_transfer in HDR_TRANSFERS


def plan_of(params: HlsParams, info: MediaInfo, host: Host) -> Plan:
    """Return the plan for `params` on a source like `info`.

    Raises BadInput for a source without picture and sound or of unknown length, InvalidJob for streams that the
    source does not have.
    """
    warnings: list[str] = []
    seconds = film_seconds(info)
    if info.video is None and not info.audio:
        raise BadInput("the source has neither picture nor sound")
    if info.video is None and all(stream.empty for stream in info.audio):
        raise BadInput(emptiness(info.audio[0], "the source"))
    if not seconds or seconds <= 0:
        raise BadInput("nothing in the source states how long it is")
    named = _renditions(params, info.video, seconds, host, warnings) if info.video else ()
    picture = _picture(params, info, named, seconds, host, warnings) if info.video else None
    duration = picture.timing.duration if picture else Fraction(seconds).limit_denominator(1000)
    choices, sounds, groups = planned_sounds(params, info, [item.name for item, _ in named], duration, warnings)
    gops = picture.timing if picture else None
    return Plan(
        picture=picture,
        sounds=sounds,
        choices=choices,
        texts=planned_texts(params, info, warnings),
        duration=duration,
        segment_seconds=gops.segment_seconds if gops else even_segments(duration, params.segment_time),
        fragment_seconds=gops.gop_seconds if gops else even_segments(duration, params.segment_time),
        groups=groups,
        own_folders={item.name: asked.dest_path for item, asked in named if asked and asked.dest_path},
        warnings=tuple(warnings),
        reorder=params.segment_format != "ts",
        render_node=host.render_node,
        accept_damage=params.damage == "accept",
        clock=own_clock(info),
    )


def _renditions(
    params: HlsParams, video: StreamInfo, seconds: float, host: Host, warnings: list[str]
) -> tuple[tuple[Rendition, RenditionParams | None], ...]:
    source = display_size(video)
    rate = timing(video, seconds, params.segment_time).frame_rate
    if not params.renditions:
        sizes = derived_sizes(source)
        peaks = [usual_peak(size, rate) for size in sizes]
        return tuple(
            (Rendition(f"{size.short}p", size, "libx264", peak), None) for size, peak in zip(sizes, peaks, strict=True)
        )
    named: list[tuple[Rendition, RenditionParams | None]] = []
    for asked in params.renditions:
        encoder = _encoder(asked, params, host, warnings)
        size = _size(asked, source, warnings)
        name = f"{size.short}p"
        count = sum(item.name.split("-")[0] == name for item, _ in named)
        bitrate = bits_per_second(asked.bitrate) if asked.bitrate is not None else None
        # a quarter above the mean keeps peaks within what Apple's 1.30 allows
        peak = round(bitrate * 1.25) if bitrate else round(usual_peak(size, rate) * BITRATE_FACTOR[encoder.coding])
        name = f"{name}-{count + 1}" if count else name
        rendition = Rendition(name, size, encoder.name, peak, bitrate, asked.quality)
        named.append((rendition, asked))
    return tuple(named)


def _encoder(asked: RenditionParams, params: HlsParams, host: Host, warnings: list[str]) -> Encoder:
    encoder = encoder_named(asked.codec)
    if encoder.family and params.hw_fallback and encoder.name not in host.encoders:
        fallback = fallback_of(encoder)
        warnings.append(f"{encoder.name} does not work on this host; {fallback.name} was used instead")
        return fallback
    return encoder


def _size(asked: RenditionParams, source: Size, warnings: list[str]) -> Size:
    wanted = asked.size
    size = boxed_size(source, wanted) if isinstance(wanted, Size) else scaled_size(source, wanted)
    short = wanted.short if isinstance(wanted, Size) else wanted
    if short > source.short:
        warnings.append(f"a rendition of {asked.resolution or short} was requested; it gets the source's {source}")
    return size


def _picture(
    params: HlsParams,
    info: MediaInfo,
    named: tuple[tuple[Rendition, RenditionParams | None], ...],
    seconds: float,
    host: Host,
    warnings: list[str],
) -> Picture | None:
    video = info.video
    if video is None:
        return None
    clock = timing(video, seconds, params.segment_time)
    video_range = HDR_TRANSFERS.get(video.color_transfer or "", "SDR")
    tone_map = video_range != "SDR" and params.hdr == "sdr" and host.tone_mapping
    if video_range != "SDR" and params.hdr == "sdr" and not tone_map:
        warnings.append(f"this host's ffmpeg cannot map tones (zscale is missing); {video_range} was kept")
    if host.mastering and not tone_map:
        others = sorted({rendition.encoder for rendition, _ in named} - {"libx265"})
        if others:
            warnings.append(f"mastering display and content light level are lost: {', '.join(others)} writes none")
    end = stream_end(video, info)
    return Picture(
        renditions=tuple(rendition for rendition, _ in named),
        timing=clock,
        deinterlace=video.field_order in INTERLACED,
        tone_map=video.color_transfer if tone_map else None,
        video_range="SDR" if tone_map else video_range,
        mastering="" if tone_map else host.mastering,
        colours=named_colours(video) if video_range == "SDR" else (),
        pad=max(0.0, float(clock.duration) - end) if end is not None else 1.0,
        source=picture_specifier(info),
    )
