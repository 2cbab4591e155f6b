"""The options of mkvmerge that a job may give, and what is wrong with others."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Final

from pydantic import StringConstraints

from worker.core.hints import nearest
from worker.media.subtitles.charset import is_charset

if TYPE_CHECKING:
    from worker.core.faults import Fault

GLOBAL_FLAGS: Final = frozenset(
    {
        "webm", "no-cues", "no-date", "disable-lacing", "disable-track-statistics-tags", "disable-language-ietf",
        "enable-durations", "clusters-in-meta-seek",
    }
)  # fmt: skip
GLOBAL_VALUES: Final = frozenset(
    {
        "title", "default-language", "cluster-length", "timestamp-scale", "generate-chapters",
        "generate-chapters-name-template", "normalize-language-ietf", "chapter-language",
    }
)  # fmt: skip
SOURCE_FLAGS: Final = frozenset({"no-global-tags", "no-track-tags", "no-chapters", "no-attachments"})
SOURCE_VALUES: Final = frozenset({"attachments", "track-tags", "chapter-charset", "chapter-language", "chapter-sync"})
COPIES: Final = {
    "_copy-video-tracks": "video",
    "_copy-audio-tracks": "audio",
    "_copy-subtitles-tracks": "subtitles",
}
TRACK_FLAGS: Final = frozenset({"reduce-to-core", "remove-dialog-normalization-gain"})
TRACK_VALUES: Final = frozenset(
    {
        "language", "track-name", "default-track-flag", "forced-display-flag", "track-enabled-flag",
        "hearing-impaired-flag", "visual-impaired-flag", "text-descriptions-flag", "original-flag", "commentary-flag",
        "sync", "cues", "default-duration", "aac-is-sbr", "fix-bitstream-timing-information", "aspect-ratio",
        "aspect-ratio-factor", "display-dimensions", "cropping", "field-order", "stereo-mode", "compression",
        "sub-charset", "color-matrix-coefficients", "color-range", "color-transfer-characteristics",
        "color-primaries", "color-bits-per-channel", "max-content-light", "max-frame-light", "max-luminance",
        "min-luminance",
    }
)  # fmt: skip
ALIASES: Final = {
    "title": "track-name",
    "track-title": "track-name",
    "default-track": "default-track-flag",
    "forced-track": "forced-display-flag",
}
"""Track options as the predecessors and older mkvmerge spell them."""

OptionValue = Annotated[str, StringConstraints(max_length=2000)] | bool | int | float | None
Options = dict[Annotated[str, StringConstraints(max_length=64)], OptionValue]


def option_text(value: OptionValue) -> str:
    """Return a value as mkvmerge reads it."""
    return str(int(value)) if isinstance(value, bool) else str(value)


def option_sentences(flags: frozenset[str], values: frozenset[str]) -> str:
    """Return the sentences that name the options: flags, and those with a value."""
    return f"Flags: {', '.join(sorted(flags))}. With a value: {', '.join(sorted(values))}."


def option_faults(
    options: Options,
    flags: frozenset[str],
    values: frozenset[str],
    known: set[str] | frozenset[str],
    copies: set[str] | None = None,
    *,
    of_track: bool = False,
) -> list[Fault]:
    """Return what is wrong with options: one that is not in `flags`, `values` or `copies`, or has a wrong value.

    `known` are the names among which the one that was meant is looked for.
    """
    found: list[Fault] = []
    for name, value in options.items():
        place = ("options", name)
        if name in (copies or set()):
            if not (value is None or isinstance(value, bool)):
                found.append((place, "is a switch; write true"))
        elif name in flags:
            if not (value is None or isinstance(value, bool)):
                found.append((place, "is a flag; write null"))
        elif name not in values:
            found.append((place, f"unknown option{nearest(name, known)}"))
        elif value is None or (not of_track and isinstance(value, bool)):
            # An option without its value would take the next argument for it, and that one's value be a file's name.
            found.append((place, "needs a value"))
    return found


def charset_faults(options: Options, name: str) -> list[Fault]:
    """Return the fault of an option that names a charset: mkvmerge reads an unknown one as if nothing had been said."""
    value = options.get(name)
    if not isinstance(value, str) or is_charset(value):
        return []
    return [(("options", name), f"{value[:40]!r} is no charset; write one like cp1252 or shift_jis")]
