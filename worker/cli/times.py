"""Ages as people type them."""

from __future__ import annotations

import typer

from worker.core.listing import parse_age


def seconds_in(text: str) -> float:
    """Return the seconds of `90s`, `5m`, `2h` or `3d`; a usage error for anything else."""
    age = parse_age(text.strip())
    if age is None:
        raise typer.BadParameter(f"{text!r} is no age; there are 90s, 5m, 2h and 3d")
    return age.total_seconds()
