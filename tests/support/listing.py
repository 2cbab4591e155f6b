"""A storage with as many files as are asked for, none of which exists; and rows that nobody keeps."""

from __future__ import annotations

from typing import TYPE_CHECKING

from worker.core.ports.files import Found

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from worker.core.location import External


class Endless:
    """A `FileReader` that lists `files` files, and the stores in which nothing is known of them."""

    schemes = frozenset({"nas"})

    def __init__(self, files: int) -> None:
        self._files = files

    async def walk(self, folder: External) -> AsyncIterator[tuple[Found, ...]]:
        for start in range(0, self._files, 500):
            yield tuple(
                Found(folder.joined(f"{number // 1000}/{number}.mkv"), number, 1.0, f"{number:x}-1")
                for number in range(start, min(start + 500, self._files))
            )

    async def open(self, place: External) -> _Nothing:
        return _Nothing(place)

    async def sources(self, uris: object) -> dict:
        return {}

    async def remember(self, records: object) -> None:
        """Keep nothing."""

    async def origins(self, template: str, marks: object) -> list:
        return []


class _Nothing:
    """A file that is empty, as large as its number says."""

    def __init__(self, place: External) -> None:
        number = int(place.name.removesuffix(".mkv"))
        self.size, self.modified, self.etag = 0, 1.0, f"{number:x}-1"

    async def read(self, start: int, length: int) -> AsyncIterator[bytes]:
        for piece in ():
            yield piece

    async def close(self) -> None:
        """Nothing is held."""
