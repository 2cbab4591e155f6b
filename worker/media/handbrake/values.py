"""Names and values of HandBrake's options, in each of the spellings that jobs use."""

from __future__ import annotations

import re
from typing import Any, TypeAlias

Value: TypeAlias = Any


def option_name(name: str) -> str:
    """Return HandBrake's lower-case name of an option as jobs spell it: `all_audio`, `allAudio`, `all-audio`."""
    if name in {"maxHeight", "maxWidth"}:
        return name.lower()
    return re.sub(r"(?<=[a-z])([A-Z])", r"-\1", name).lower().replace("_", "-")


def option_text(value: Value) -> str:
    """Return a value as HandBrake reads it: lists joined with `,`, maps with `=` and `:`; ValueError for others."""
    match value:
        case None:
            return ""
        case bool():
            return "1" if value else "0"
        case str() if len(value) <= 2000 and value.isprintable():  # noqa: PLR2004  # far above any sensible option
            return value
        case int() | float():
            return f"{value:g}" if isinstance(value, float) else str(value)
        case list():
            return ",".join(option_text(item) for item in value)
        case dict():
            return ":".join(f"{key}={option_text(item)}" for key, item in value.items())
        case _:
            raise ValueError("is neither a text, a number, a switch, a list nor a map")
