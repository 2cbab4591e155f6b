"""Shaka packager: from one MP4 per stream to CMAF (or MPEG-TS) segments with HLS and DASH playlists.

It always writes the same small tree of its own (`master.m3u8`, `manifest.mpd`, a folder per stream); where the
files go, and what their playlists finally say, is `worker.media.hls.presentation`'s business.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from worker.core.command import Command
from worker.media.languages import UNKNOWN

if TYPE_CHECKING:
    from fractions import Fraction
    from pathlib import Path

MASTER: Final = "master.m3u8"
MPD: Final = "manifest.mpd"
PLAYLIST: Final = "index.m3u8"
IFRAMES: Final = "iframe.m3u8"
INIT: Final = "init.mp4"
TS_START: Final = 9000
"""The begin of MPEG-TS in packager, in 90 kHz ticks (--transport_stream_timestamp_offset_ms, 100 by default)."""


@dataclass(frozen=True, slots=True)
class Input:
    """One stream to package: its MP4, `<name>.mp4` in the folder; `language` and `group` are those of a sound."""

    name: str
    language: str | None = None
    group: str | None = None
    title: str = ""

    @property
    def is_audio(self) -> bool:
        """Return whether it is a sound."""
        return self.group is not None


def packager_command(
    packager: str,
    folder: Path,
    inputs: tuple[Input, ...],
    segment_seconds: Fraction,
    fragment_seconds: Fraction,
    *,
    transport_stream: bool = False,
) -> Command:
    """Return the command that packages `inputs` of `folder` into `folder`/out.

    It runs inside `folder` with relative names, for commas and equal signs in a path would split a descriptor.
    """
    default = next((item.language for item in inputs if item.language and item.language != UNKNOWN), None)
    return Command(
        (
            packager,
            *(_descriptor(item, transport_stream=transport_stream) for item in inputs),
            "--segment_duration", _seconds(segment_seconds),
            # without fragments an I-frame playlist lists one picture a segment
            *(() if transport_stream else ("--fragment_duration", _seconds(fragment_seconds))),
            *(("--default_language", default) if default else ()),
            "--hls_playlist_type", "VOD",
            "--hls_master_playlist_output", f"out/{MASTER}",
            *(() if transport_stream else ("--generate_static_live_mpd", "--mpd_output", f"out/{MPD}")),
            "--quiet",
        ),
        folder=folder,
    )  # fmt: skip


def _descriptor(item: Input, *, transport_stream: bool) -> str:
    fields = {
        "in": f"{item.name}.mp4",
        "stream": "audio" if item.is_audio else "video",
        "segment_template": f"out/{item.name}/$Number%05d$.{'ts' if transport_stream else 'm4s'}",
        "playlist_name": f"{item.name}/{PLAYLIST}",
    }
    if not transport_stream:
        fields["init_segment"] = f"out/{item.name}/{INIT}"
    if item.is_audio:
        fields |= {"hls_group_id": item.group or "", "hls_name": item.name}
        if item.language != UNKNOWN:  # packager takes no "und"
            fields["lang"] = item.language or ""
    else:
        fields["iframe_playlist_name"] = f"{item.name}/{IFRAMES}"
    return ",".join(f"{key}={value}" for key, value in fields.items())


def _seconds(value: Fraction) -> str:
    """Return seconds a millionth below `value`: rounded up, a boundary would miss its key frame by a whole GOP."""
    return f"{float(value) - 1e-6:.6f}"
