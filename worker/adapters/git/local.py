"""The check that a local repository holds all that git would read of it."""

from __future__ import annotations

import os
import re
from contextlib import suppress
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

_LEADING: Final = ("objects/info/alternates", "objects/info/http-alternates", "commondir", "gitdir")
"""Files of a repository that name another folder or server to read objects from."""
_SETTINGS: Final = ("config", "config.worktree")
_SETTINGS_BYTES: Final = 1 << 20
_FETCHES: Final = re.compile(
    rb"(?i)\[\s*include(if)?\b|\b(partialclone|promisor|alternaterefscommand)\b|\buploadpack[ \t]*="
)
"""Settings by which a repository reads another file, fetches what it lacks, or runs a program to do so.

Git before 2.39.4 does so while it serves a clone (CVE-2024-32004).
"""


def outside_reference(repository: Path) -> str | None:
    """Return what in a local repository leads out of it, as git would follow it; None where nothing does."""
    folder = repository / ".git" if (repository / ".git").exists() else repository
    # a file in the place of the folder names another folder
    if folder.is_file() or not folder.resolve().is_relative_to(repository):
        return ".git"
    for name in _LEADING:
        if (folder / name).exists():
            return name
    for name in _links(folder):
        if not (folder / name).resolve().is_relative_to(repository):
            return name
    return next((name for name in _SETTINGS if _fetches(folder / name)), None)


def _fetches(settings: Path) -> bool:
    if not settings.is_file():
        return False
    with suppress(OSError), settings.open("rb") as file:
        content = file.read(_SETTINGS_BYTES + 1)
        return len(content) > _SETTINGS_BYTES or _FETCHES.search(content) is not None
    return False


def _links(folder: Path) -> Iterator[str]:
    """Yield the links at any depth of a folder, as names below it."""
    for place, folders, files in os.walk(folder):
        paths = (os.path.join(place, name) for name in (*folders, *files))  # noqa: PTH118 - of a million, not slowly
        yield from (os.path.relpath(path, folder) for path in paths if os.path.islink(path))  # noqa: PTH114 - as above
