"""Names of uploaded files."""

from __future__ import annotations

import re
from typing import Final

_UNSAFE: Final = re.compile(r"[^\w.()\[\] +,=@&'-]", re.UNICODE)
MAX_NAME_BYTES: Final = 180


def safe_name(name: str) -> str:
    """Return a file name that every program can take: the last part of `name`, without odd characters.

    It begins with a letter or a digit, so no tool takes it for an option and it is never hidden.
    """
    last = re.split(r"[/\\]", name)[-1]
    cleaned = " ".join(_UNSAFE.sub("_", last).split()).lstrip("._- ")
    while len(cleaned.encode()) > MAX_NAME_BYTES:
        stem, dot, suffix = cleaned.rpartition(".")
        cleaned = f"{stem[:-1]}{dot}{suffix}" if dot and len(stem) > 1 and len(suffix) <= 16 else cleaned[:-1]  # noqa: PLR2004 - a suffix
    return cleaned or "upload"
