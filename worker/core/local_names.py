"""Names of local files that no tool reads as anything but a name.

ffmpeg's image2 takes `%`, `*`, `?`, `[`, `{` and a backslash anywhere in a path for a pattern, and filters, lists and
option strings have signs of their own. A tool gets plain names only; what is published has the name that was asked for.
"""

from __future__ import annotations

import re
from typing import Final

_INTERPRETED: Final = re.compile(r"[^\w .,+()&'!@#=~/-]")


def is_plain(path: str) -> bool:
    """Return whether no tool interprets a sign of `path`."""
    return _INTERPRETED.search(path) is None


def plain_name(name: str) -> str:
    """Return `name`, one part of a path, with `_` for every sign that a tool may interpret; its suffix stays."""
    plain = _INTERPRETED.sub("_", name).replace("/", "_")
    return re.sub(r"^\W", "_", plain) or "file"
