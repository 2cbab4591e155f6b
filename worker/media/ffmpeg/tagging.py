"""The names of colours that a job asks for: since 7.0 ffmpeg takes them from the pictures, and not from its options."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from worker.media.ffmpeg.filters import words

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from worker.core.media_info import StreamInfo

_NAMED: Final = {
    "color_primaries": words("bt709 bt470m bt470bg smpte170m smpte240m film bt2020 smpte428 smpte431 smpte432"),
    "color_trc": words(
        """
        bt709 bt470m bt470bg smpte170m smpte240m linear log100 log316 iec61966-2-4 bt1361e iec61966-2-1 bt2020-10
        bt2020-12 smpte2084 smpte428 arib-std-b67
        """
    ),
    "colorspace": words(
        """
        gbr bt709 fcc bt470bg smpte170m smpte240m ycgco bt2020nc bt2020c smpte2085 ictcp chroma-derived-nc
        chroma-derived-c
        """
    ),
}
"""The values of each option by the names that the filter `setparams` and ffprobe have for them."""
_OTHER_NAMES: Final = {
    "gamma22": "bt470m", "gamma28": "bt470bg", "log": "log100", "log_sqrt": "log316", "iec61966_2_4": "iec61966-2-4",
    "bt1361": "bt1361e", "iec61966_2_1": "iec61966-2-1", "bt2020_10bit": "bt2020-10", "bt2020_12bit": "bt2020-12",
    "smpte428_1": "smpte428", "bt2020_ncl": "bt2020nc", "bt2020_cl": "bt2020c", "rgb": "gbr",
}  # fmt: skip
"""Other names that ffmpeg's options have for the same."""
_TAKEN_FROM_PICTURES: Final = ("color_primaries", "color_trc")


def with_colours(options: Mapping[str, Any]) -> dict[str, Any]:
    """Return an encoded picture's options, whose filters name the primaries and the transfer that they ask for.

    ffmpeg 7.0 and later let those of the pictures win, which have none or others, without a word. Matrix and range are
    agreed upon between filters and encoder.
    """
    asked = {name: value for name in _TAKEN_FROM_PICTURES if (value := _colour(options, name))}
    if not asked:
        return dict(options)
    named = "setparams=" + ":".join(f"{name}={value}" for name, value in asked.items())
    key = next((key for key in reversed([*options]) if key in {"vf", "filter"}), "vf")
    return {**options, key: ",".join(filter(None, (str(options.get(key, "")).strip(), named)))}


def colour_differences(options: Mapping[str, Any], made: StreamInfo) -> Iterator[str]:
    """Yield what an output's colours are not, which its options ask for."""
    found = {"color_primaries": made.color_primaries, "color_trc": made.color_transfer, "colorspace": made.color_space}
    for name, got in found.items():
        asked = _colour(options, name)
        if asked and asked != got:
            yield f"{name} {asked} was asked for, and the output names {got or 'none'}"


def _colour(options: Mapping[str, Any], name: str) -> str | None:
    """Return the colours that an option asks for by their usual name; None without it, and for what is no name."""
    value = str(options.get(name, ""))
    value = _OTHER_NAMES.get(value, value)
    return value if value in _NAMED[name] else None
