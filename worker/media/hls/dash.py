"""The final MPD: packager's, with the files' final locations, the subtitles and the storyboard."""

from __future__ import annotations

from typing import TYPE_CHECKING
from xml.sax.saxutils import escape, quoteattr

from worker.media.hls.layout import relative_uri, under
from worker.media.hls.storyboard import COLUMNS, ROWS

if TYPE_CHECKING:
    from collections.abc import Sequence

    from worker.media.hls.layout import Layout
    from worker.media.hls.presentation import TextTrack
    from worker.media.hls.storyboard import Storyboard


class MpdError(ValueError):
    """Packager's MPD lacks an element that we expect."""


def mended_mpd(
    text: str, layout: Layout, streams: Sequence[str], texts: Sequence[TextTrack], storyboard: Storyboard | None
) -> str:
    """Return the MPD that is at `layout.mpd` for packaged `streams`; MpdError when one of them is not in it."""
    for stream in streams:
        folder = relative_uri(layout.mpd, under(layout.folders[stream], "x")).removesuffix("x")
        for name in ("initialization", "media"):
            old = f'{name}="{stream}/'
            if text.count(old) != 1:
                raise MpdError(f"packager's MPD names the {name} of {stream} {text.count(old)} times")
            text = text.replace(old, f"{name}={quoteattr(folder)[:-1]}")
    added = [_text_set(track, layout) for track in texts]
    if storyboard:
        added.append(_image_set(storyboard, layout))
    head, period, tail = text.rpartition("  </Period>")
    if not period:
        raise MpdError("packager's MPD has no Period")
    return head + "".join(added) + period + tail


def _text_set(track: TextTrack, layout: Layout) -> str:
    uri = relative_uri(layout.mpd, under(layout.folders[track.name], track.whole))
    role = "forced-subtitle" if track.forced else "subtitle"
    return (
        f'    <AdaptationSet contentType="text" mimeType="text/vtt" lang={quoteattr(track.language)}>\n'
        f'      <Role schemeIdUri="urn:mpeg:dash:role:2011" value="{role}"/>\n'
        f"      <Label>{escape(track.title)}</Label>\n"
        f'      <Representation id={quoteattr(track.name)} bandwidth="1000">\n'
        f"        <BaseURL>{escape(uri)}</BaseURL>\n"
        "      </Representation>\n"
        "    </AdaptationSet>\n"
    )


def _image_set(storyboard: Storyboard, layout: Layout) -> str:
    """Return the storyboard as DASH-IF's tiled thumbnails (Guidelines IOP 6.2.6)."""
    media = relative_uri(layout.mpd, under(layout.folder, "storyboard/x")).removesuffix("x") + "sheet_$Number%03d$.jpg"
    tile = storyboard.tile
    timescale = 1000
    # a whole sheet's time, in ticks
    span = round(storyboard.plan.seconds * COLUMNS * ROWS * timescale)
    return (
        '    <AdaptationSet contentType="image" mimeType="image/jpeg">\n'
        f'      <SegmentTemplate media={quoteattr(media)} timescale="{timescale}" duration="{span}" startNumber="1"/>\n'
        f'      <Representation id="storyboard" bandwidth="{storyboard.rate.average}"'
        f' width="{tile.width * COLUMNS}" height="{tile.height * ROWS}">\n'
        '        <EssentialProperty schemeIdUri="http://dashif.org/guidelines/thumbnail_tile"'
        f' value="{COLUMNS}x{ROWS}"/>\n'
        "      </Representation>\n"
        "    </AdaptationSet>\n"
    )
