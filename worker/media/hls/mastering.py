"""HDR10 mastering: the display's colours and light, and the film's brightness (SMPTE ST 2086)."""

from __future__ import annotations

import json
from fractions import Fraction
from typing import TYPE_CHECKING, Any, Final

from worker.core.command import Command, Pipeline
from worker.media.ffmpeg.formats import GUARDS

if TYPE_CHECKING:
    from pathlib import Path

_COLOURS: Final = (("G", "green"), ("B", "blue"), ("R", "red"), ("WP", "white_point"))
_COLOUR_STEPS: Final = 50_000
_LIGHT_STEPS: Final = 10_000


def mastering_command(ffprobe: str, path: Path) -> Pipeline:
    """Return the ffprobe run that prints the side data of a film's first picture, for `mastering_of`."""
    argv = (ffprobe, "-hide_banner", "-v", "error", *GUARDS, "-of", "json", "-select_streams", "V:0")
    asked = ("-read_intervals", "%+#1", "-show_entries", "frame_side_data:stream_side_data", "-i", f"file:{path}")
    return Pipeline((Command((*argv, *asked)),), label="mastering")


def mastering_of(answer: str) -> str:
    """Return mastering display and content light level as x265's parameters; nothing where there are none.

    Chromaticities are multiples of 0.00002, luminances of 0.0001 cd/m², as in the bitstream (ITU-T H.265, D.3.28).
    """
    try:
        document = json.loads(answer)
        items = [item for part in ("frames", "streams") for one in document.get(part, []) for item in _side_data(one)]
    except (ValueError, AttributeError):
        return ""
    found = {str(item.get("side_data_type")): item for item in reversed(items) if isinstance(item, dict)}
    display = _display(found.get("Mastering display metadata", {}))
    light = _light(found.get("Content light level metadata", {}))
    return ":".join(part for part in (display, light) if part)


def _side_data(part: Any) -> list[Any]:
    return list(part.get("side_data_list", []))


def _display(item: dict[str, Any]) -> str:
    try:
        colours = [
            f"{letter}({_steps(item[f'{name}_x'], _COLOUR_STEPS)},{_steps(item[f'{name}_y'], _COLOUR_STEPS)})"
            for letter, name in _COLOURS
        ]
        most, least = (_steps(item[f"{end}_luminance"], _LIGHT_STEPS) for end in ("max", "min"))
    except (KeyError, ValueError, ZeroDivisionError):
        return ""
    return f"master-display={''.join(colours)}L({most},{least})"


def _light(item: dict[str, Any]) -> str:
    try:
        return f"max-cll={int(item['max_content'])},{int(item['max_average'])}"
    except (KeyError, TypeError, ValueError):
        return ""


def _steps(value: object, steps: int) -> int:
    return round(Fraction(str(value)) * steps)
