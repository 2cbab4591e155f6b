"""The names that people give to templates, folders, hooks, schedules and notifications: one rule for all."""

from __future__ import annotations

import re
from typing import Final

from worker.core.errors import InvalidJob, Problem

NAME: Final = r"^[a-z0-9][a-z0-9_-]{0,63}$"


def is_name(text: str) -> bool:
    """Return whether something stored may have this name."""
    return re.fullmatch(NAME, text) is not None


def require_name(text: str) -> None:
    """Return if something stored may have this name; InvalidJob otherwise."""
    if not is_name(text):
        raise InvalidJob([Problem("name", f"{text[:80]!r} is no name: small letters, digits, '-' and '_', at most 64")])
