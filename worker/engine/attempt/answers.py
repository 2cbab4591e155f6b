"""The answers that an attempt has about files: its plan and its tasks ask the same questions about one source."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any, TypeVar, cast

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable
    from pathlib import Path

T = TypeVar("T")


class FileAnswers:
    """The answers of one attempt; a file that has changed is asked again."""

    def __init__(self) -> None:
        self._known: dict[tuple[object, ...], Any] = {}

    async def once(self, question: str, path: Path, look: Callable[[], Awaitable[T]]) -> T:
        """Return what `look` finds, or what it found for this question while the file was the same."""
        try:
            key = (question, path, *await asyncio.to_thread(_version, path))
        except OSError:
            return await look()
        if key not in self._known:
            self._known[key] = await look()
        return cast("T", self._known[key])


def _version(path: Path) -> tuple[int, ...]:
    found = path.stat()
    return found.st_dev, found.st_ino, found.st_size, found.st_mtime_ns, found.st_ctime_ns
