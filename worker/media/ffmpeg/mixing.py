"""Downmixing: one matrix and one ceiling for all codecs, and a layout that each encoder takes."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from collections.abc import Mapping

    from worker.core.media_info import StreamInfo

NORMALIZED: Final = "rematrix_maxval=1"
"""aresample's option for a mix whose sums stay within full scale: ITU-R BS.775's weights, scaled down together.

ffmpeg scales them by itself for encoders of whole numbers (FLAC) and not for those of floats (AC-3, AAC, Opus), so that
one film peaked at -0.4 dBFS in the one and at +7.4 in the other.
"""
LIMITER: Final = "alimiter=limit=1:level=false:latency=true"
"""The filter that keeps a mix within full scale: decoders of floats (AC-3, AAC, Opus) give samples above it.

Below full scale it changes no sample, and its look-ahead is no delay (`latency`).
"""
_WHOLE_NUMBERS: Final = re.compile(r"^(pcm_[sua]\w*|flac|alac|truehd|mlp|tta|ape|wavpack)$")
"""Codecs that cannot represent samples above full scale; WavPack of floats is rare, and its encoder clips it."""
_MAX_CHANNELS: Final = dict.fromkeys(
    ("libmp3lame", "libshine", "mp2", "mp2fixed", "libtwolame", "wmav1", "wmav2", "adpcm_ima_wav", "adpcm_ms"), 2
) | dict.fromkeys(("ac3", "ac3_fixed", "eac3", "dca", "truehd"), 6)
"""The most channels of encoders for which ffmpeg would mix by itself, and beyond full scale."""
_LAYOUTS: Final = {
    1: "mono", 2: "stereo", 3: "2.1", 4: "quad", 5: "5.0", 6: "5.1", 7: "6.1", 8: "7.1",
}  # fmt: skip
# libopus maps only the layouts of Vorbis by itself; 5.1(side), which FLAC and AC-3 have, is not one of them.
_OPUS: Final = _LAYOUTS | {3: "3.0"}


def layout(channels: int) -> str:
    """Return ffmpeg's usual layout for 1 to 8 channels."""
    return _LAYOUTS[channels]


def limiter(stream: StreamInfo, channels: int) -> tuple[str, ...]:
    """Return the limiter for the mix of a stream to `channels`; nothing where the mix stays within full scale."""
    mixes = (stream.channels or 0) > channels
    return (LIMITER,) if mixes and not _WHOLE_NUMBERS.match(stream.codec) else ()


def encoder_layout(encoder: object, channels: int) -> str | None:
    """Return the layout that an encoder needs named for a sound of so many channels, None where it takes any."""
    return _OPUS.get(channels) if encoder == "libopus" and channels > 2 else None  # noqa: PLR2004  # more than stereo


def mixing_options(options: Mapping[str, Any], stream: StreamInfo) -> dict[str, Any]:
    """Return a sound's options with filters that mix it to the channels asked for, or to a layout that Opus takes."""
    kept = dict(options)
    has, encoder = stream.channels or 0, options.get("codec")
    if encoder == "copy" or not has or "mapping_family" in options:
        return kept
    wanted = next((str(options[key]) for key in ("ch_layout", "channel_layout") if key in options), None)
    asked = str(options.get("ac", ""))
    most = _MAX_CHANNELS.get(str(encoder), has)
    if wanted is None and not asked and most < has:
        asked = str(most)
    if wanted is None and asked.isdigit() and 1 <= int(asked) < min(has, 9):
        wanted = layout(int(asked))
    if wanted is not None:
        held = limiter(stream, _channels_of(wanted))
        chain = ",".join([f"aresample={NORMALIZED}", f"aformat=channel_layouts={wanted}", *held])
    elif not asked and (needed := encoder_layout(encoder, has)):
        chain = f"aformat=channel_layouts={needed}"
    else:
        return kept
    key = next((key for key in reversed(kept) if key in {"af", "filter"}), "af")
    own = str(kept.pop(key, ""))
    return kept | {key: f"{own},{chain}" if own else chain}


def _channels_of(name: str) -> int:
    """Return how many channels a layout has, 0 for one that is not among ffmpeg's usual."""
    return next((channels for channels, usual in _LAYOUTS.items() if usual == name.partition("(")[0]), 0)
