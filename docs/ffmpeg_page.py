"""The page of docs/reference about what the ffmpeg module takes, and why other things are refused."""

from __future__ import annotations

from typing import TYPE_CHECKING

from worker.media.ffmpeg.filters import AUDIO_FILTERS, INSTEAD, MAX_FILTERS, VIDEO_FILTERS
from worker.media.ffmpeg.formats import ACCEPTED_FORMATS, ACCEPTED_PROTOCOLS
from worker.media.ffmpeg.options import INPUT_OPTIONS, KIND_OPTIONS, REFUSED_OPTIONS
from worker.media.ffmpeg.params import MUXERS

if TYPE_CHECKING:
    from collections.abc import Iterable

_KINDS = {"v": "a picture", "a": "a sound", "s": "a subtitle", "d": "data", "t": "an attachment"}


def ffmpeg_page() -> list[str]:
    """Return the lines of the page."""
    lines = [
        "# What the ffmpeg module takes",
        "",
        "This page lists all options and filters that a job may name. A job may come from a stranger, so whatever can",
        "open, write or list a file, reach the network, run a plug-in, or end another program's work is left out. The",
        "[module's page](modules/ffmpeg.md) has the fields, and [recipes](../how-to/recipes.md) have whole jobs.",
        "",
        "## Options of an output stream",
        "",
        "Beside these, what `ffmpeg -h encoder=NAME` documents for the chosen encoder is taken, without",
        "those that name a file. Of `x264-params`, `x265-params` and their kin, keys that name a file are refused.",
        "",
    ]
    for kind, name in _KINDS.items():
        lines += [f"For {name}: {_listed(KIND_OPTIONS[kind])}.", ""]
    lines += ["## Options before the inputs", "", f"{_listed(INPUT_OPTIONS)}.", "", "## Options that are refused", ""]
    lines += [f"{_listed(REFUSED_OPTIONS)}: each names a file or a device, or reaches beyond its output.", ""]
    lines += ["## Filters of a picture", "", f"{_listed(VIDEO_FILTERS)}.", ""]
    lines += ["## Filters of a sound", "", f"{_listed(AUDIO_FILTERS)}.", "", "## Filters that are refused", ""]
    lines += [
        f"A chain holds up to {MAX_FILTERS} filters, one behind the other, without labels. A filter that opens a file",
        "by its name, loads a plug-in or a model, opens a socket or needs several inputs is not taken, and of those",
        "that are, no option that names a file. Instead of:",
        "",
    ]
    lines += [f"- `{name}`{instead}." for name, instead in sorted(INSTEAD.items())]
    lines += ["", "## Containers", "", f"Written, by the output's suffix: {_listed(MUXERS)}.", ""]
    lines += [f"Read, by ffmpeg's names: {_listed(ACCEPTED_FORMATS)}. Protocols: {_listed(ACCEPTED_PROTOCOLS)}."]
    lines += ["Playlists and lists open further files, so they are no sources, whatever they are named."]
    return lines


def _listed(names: Iterable[str]) -> str:
    return ", ".join(f"`{name}`" for name in sorted(names))
