"""Colours: what pictures need so that a viewer shows those of the film."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from worker.core.media_info import StreamInfo

JPEG: Final = ("scale=out_color_matrix=bt601:out_range=pc", "format=yuvj420p")
"""The filters before an encoder of JPEG, whose colours are BT.601's in full range (JFIF 1.02), whatever the film's."""
_HD: Final = 720


def named_colours(video: StreamInfo) -> tuple[str, ...]:
    """Return the filter that names the colours of an untagged HD picture: BT.709, for which ffmpeg takes BT.601.

    A player takes them for BT.709 where a picture has 720 lines, and for BT.601 where it has fewer: a rendition
    without a name would change its colours with its size.
    """
    untagged = video.color_space is None and not (video.pixel_format or "").startswith(("gbr", "rgb", "pal"))
    hd = min(video.width or 0, video.height or 0) >= _HD
    return ("setparams=colorspace=bt709:color_primaries=bt709:color_trc=bt709",) if untagged and hd else ()
