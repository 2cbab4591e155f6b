"""Ages as people type them."""

from __future__ import annotations

import re

import typer


def seconds_in(text: str) -> float:
    """Return the seconds of `90s`, `5m`, `2h` or `3d`; a usage error for anything else."""
    match = re.fullmatch(r"(\d{1,9})([smhd])", text.strip())
    if match is None:
        raise typer.BadParameter(f"{text!r} is no age; there are 90s, 5m, 2h and 3d")
    return int(match[1]) * {"s": 1.0, "m": 60.0, "h": 3600.0, "d": 86400.0}[match[2]]
