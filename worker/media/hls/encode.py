"""The one ffmpeg command that decodes a source once and writes one MP4 per rendition and per audio language."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from worker.core.command import Command
from worker.media.ffmpeg.encoders import encoder_named, video_options
from worker.media.ffmpeg.formats import GUARDS
from worker.media.ffmpeg.mixing import LIMITER, NORMALIZED, layout
from worker.media.ffmpeg.vaapi import USUAL_NODE, device, upload
from worker.media.hls.text import copied_suffix, copy_arguments
from worker.media.selection import FIRST_PICTURE

if TYPE_CHECKING:
    from collections.abc import Sequence
    from fractions import Fraction
    from pathlib import Path

    from worker.media.hls.ladder import Rendition, Timing

SAMPLE_RATE: Final = 48_000
HEAD: Final = (
    "-nostdin", "-hide_banner", "-v", "warning", "-xerror", "-progress", "pipe:1", "-stats_period", "1", "-y"
)  # fmt: skip
"""The first arguments of every encoding of a presentation."""
_TONE_MAP: Final = (
    "zscale=t=linear:npl=100,format=gbrpf32le,zscale=p=bt709,tonemap=hable:desat=0,"
    "zscale=t=bt709:m=bt709:r=tv,format=yuv420p"
)
HDR_TRANSFERS: Final = {"smpte2084": "PQ", "arib-std-b67": "HLG"}
SLACK_FRAMES: Final = 2
"""The most frames to repeat at the end, after a length was rounded to frames and a variable rate made constant."""


@dataclass(frozen=True, slots=True)
class AudioRendition:
    """One encoding of one audio stream.

    `stream` counts the source's audio streams from 0. `group` is shared by the languages that one picture
    rendition may be heard with; `filters` (loudness) run before the encoder; `pad` is the silence, in seconds, that
    may be added to reach the film's end, None where the stream's own end is unknown. `limited` holds a mix within full
    scale.
    """

    name: str
    stream: int
    language: str
    title: str
    group: str
    encoder: str
    bitrate_bps: int | None
    channels: int
    default: bool = False
    filters: str = ""
    pad: float | None = None
    limited: bool = False


@dataclass(frozen=True, slots=True)
class Picture:
    """The way from the source's picture to the renditions.

    `tone_map` is the transfer (`smpte2084`) that is brought to SDR; without it `video_range` (SDR, PQ, HLG) stays as
    it is, in ten bits where it is not SDR. `pad` is how many seconds the last picture may be held to reach the film's
    end; `mastering` what HDR10 that is kept says of its mastering, as x265's parameters; `colours` are filters that
    name the colours of a picture that has none; `source` is the picture's stream.
    """

    renditions: tuple[Rendition, ...]
    timing: Timing
    deinterlace: bool = False
    tone_map: str | None = None
    video_range: str = "SDR"
    pad: float = 0.0
    mastering: str = ""
    colours: tuple[str, ...] = ()
    source: str = FIRST_PICTURE


@dataclass(frozen=True, slots=True)
class Encoding:
    """All that one ffmpeg run makes: the picture's renditions, the sounds, and text subtitles by number and codec.

    Without `reorder` there are no B-frames. In MPEG-TS, which has no edit lists, they would let the first picture come
    after the first decoding time, and hls.js would see a hole there and move the sound (seen with 1.7.4).
    `render_node` is the device of VAAPI encoders. With `accept_damage` a decoder's complaint does not end the run.
    `clock` are the options that leave the source on its own clock.
    """

    source: Path
    duration: Fraction
    picture: Picture | None
    audio: tuple[AudioRendition, ...] = ()
    subtitles: tuple[tuple[int, str], ...] = ()
    reorder: bool = True
    render_node: str = USUAL_NODE
    accept_damage: bool = False
    clock: tuple[str, ...] = ()

    @property
    def outputs(self) -> tuple[str, ...]:
        """Return the names of the files that are made, in the order of the command."""
        pictures = self.picture.renditions if self.picture else ()
        return (
            *(f"{rendition.name}.mp4" for rendition in pictures),
            *(f"{sound.name}.mp4" for sound in self.audio),
            *(f"text_{number}{copied_suffix(codec)}" for number, codec in self.subtitles),
        )


def encode_command(encoding: Encoding, ffmpeg: str, folder: Path) -> Command:
    """Return the command that writes `encoding.outputs` into `folder` and its progress to standard output."""
    # a picture whose size changes midway makes ffmpeg begin its graph anew, which a sound in it would not survive
    graphs = [";".join(chains) for chains in (_whole_graph(encoding.picture), *_sound_graphs(encoding.audio)) if chains]
    outputs: list[str] = []
    encoders = [rendition.encoder for rendition in encoding.picture.renditions] if encoding.picture else []
    if encoding.picture:
        for index, rendition in enumerate(encoding.picture.renditions):
            outputs += _picture_output(encoding, rendition, index, folder)
    for index, sound in enumerate(encoding.audio):
        outputs += _sound_output(sound, index, encoding.duration, folder)
    for number, codec in encoding.subtitles:
        outputs += copy_arguments(codec, number, folder / f"text_{number}{copied_suffix(codec)}")
    return Command(
        (
            ffmpeg, *(part for part in HEAD if part != "-xerror" or not encoding.accept_damage),
            *device(encoders, encoding.render_node),
            *GUARDS, *encoding.clock, "-i", f"file:{encoding.source}",
            *(part for graph in graphs for part in ("-filter_complex", graph)),
            *outputs,
        )
    )  # fmt: skip


def _whole_graph(picture: Picture | None) -> list[str]:
    if picture is None:
        return []
    rate = picture.timing.frame_rate
    hold = picture.pad + SLACK_FRAMES / rate
    chain = [
        *(["bwdif=mode=send_frame"] if picture.deinterlace else []),
        f"fps={rate}:start_time=0",
        f"tpad=stop_mode=clone:stop_duration={float(hold):.6f}",
        *([tone_mapping(picture.tone_map)] if picture.tone_map else []),
    ]
    return picture_graph(picture, chain, source=picture.source)


def picture_graph(picture: Picture, chain: Sequence[str], *, source: str = FIRST_PICTURE) -> list[str]:
    """Return the graph from the source's picture through the filters `chain` to `[v0]`, `[v1]`, …."""
    count = len(picture.renditions)
    split = f"split={count}" + "".join(f"[s{index}]" for index in range(count))
    branches = [_branch(picture, rendition, index) for index, rendition in enumerate(picture.renditions)]
    return [f"[{source}]{','.join([*picture.colours, *chain, split])}", *branches]


def tone_mapping(transfer: str) -> str:
    """Return the filters that bring HDR of a transfer characteristic to SDR.

    HDR's primaries and matrix are BT.2020's (ITU-R BT.2100); files that do not say so would leave zscale without a
    path between colour spaces.
    """
    return f"setparams=color_trc={transfer}:color_primaries=bt2020:colorspace=bt2020nc,{_TONE_MAP}"


def _branch(picture: Picture, rendition: Rendition, index: int) -> str:
    ten_bit = picture.video_range != "SDR"
    match encoder_named(rendition.encoder).family:
        case "vaapi":
            pixels = upload(ten_bits=ten_bit)
        case None:
            pixels = "format=yuv420p10le" if ten_bit else "format=yuv420p"
        case _:
            pixels = "format=p010le" if ten_bit else "format=nv12"
    size = rendition.size
    return f"[s{index}]scale={size.width}:{size.height}:flags=bicubic,setsar=1,{pixels}[v{index}]"


def _picture_output(encoding: Encoding, rendition: Rendition, index: int, folder: Path) -> list[str]:
    picture = encoding.picture
    if picture is None:
        return []
    return [
        "-map", f"[v{index}]", *picture_options(encoding, rendition),
        "-frames:v", str(picture.timing.frames),
        "-video_track_timescale", str(timescale(picture.timing.frame_rate)),
        "-map_metadata", "-1", "-map_chapters", "-1", "-f", "mp4", f"file:{folder / f'{rendition.name}.mp4'}",
    ]  # fmt: skip


def picture_options(encoding: Encoding, rendition: Rendition, *, track: int | None = None) -> list[str]:
    """Return the encoder's options of a rendition; with `track`, as those of one track of a part that is joined."""
    if encoding.picture is None:
        return []
    ten_bit = encoding.picture.video_range != "SDR"
    options = [
        *video_options(
            rendition,
            encoding.picture.timing,
            ten_bit=ten_bit,
            joined=track is not None,
            mastering=encoding.picture.mastering,
        )
    ]
    options += [] if encoding.reorder else ["-bf", "0"]
    if track is None:
        return options
    return [f"{text.removesuffix(':v')}:v:{track}" if text.startswith("-") else text for text in options]


def timescale(rate: Fraction) -> int:
    """Return a time base in which every frame begins on a whole tick, near 90 kHz as far as the rate allows."""
    return rate.numerator * max(1, 90_000 // rate.numerator)


def _sound_graphs(sounds: tuple[AudioRendition, ...]) -> list[list[str]]:
    return [[_sound_chain(sound, index)] for index, sound in enumerate(sounds)]


def _sound_chain(sound: AudioRendition, index: int) -> str:
    # gaps before the first sample and between samples become silence, else the sound would run ahead
    pad = "apad" if sound.pad is None else f"apad=pad_dur={sound.pad:.6f}"
    chain = [
        f"aresample={SAMPLE_RATE}:async=1:first_pts=0:{NORMALIZED}",
        f"aformat=channel_layouts={layout(sound.channels)}",
        # loudness has a limiter of its own, and lowers what is too loud first
        *([sound.filters] if sound.filters else [LIMITER] if sound.limited else []),
        pad,
    ]
    return f"[0:a:{sound.stream}]{','.join(chain)}[a{index}]"


def _sound_output(sound: AudioRendition, index: int, duration: Fraction, folder: Path) -> list[str]:
    # FLAC in MP4 counts as experimental in ffmpeg 5.1
    strict = ("-strict", "experimental") if sound.encoder == "flac" else ()
    bits = () if sound.bitrate_bps is None else ("-b:a", str(sound.bitrate_bps))
    return [
        "-map", f"[a{index}]", "-c:a", sound.encoder, *strict, *bits, "-t", f"{float(duration):.6f}",
        "-map_metadata", "-1", "-map_chapters", "-1", "-f", "mp4", f"file:{folder / f'{sound.name}.mp4'}",
    ]  # fmt: skip
