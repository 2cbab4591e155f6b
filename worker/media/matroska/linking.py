"""Matroska files that a player shows otherwise than they lie: by ordered chapters, or by links (RFC 9559, 17)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, BinaryIO, Final

from worker.media.matroska.elements import children
from worker.media.matroska.segment import CHAPTERS, INFO, segment_parts

if TYPE_CHECKING:
    from collections.abc import Iterator

_EDITION: Final = 0x45B9
_ORDERED: Final = 0x45DD
_CHAPTER: Final = 0xB6
_OTHER_SEGMENT: Final = 0x6E67
_NEXT: Final = 0x3EB923
_PREVIOUS: Final = 0x3CB923


@dataclass(frozen=True, slots=True)
class Linking:
    """Things that a player does with a file beside playing it: it orders its chapters, or takes pieces of others."""

    is_ordered: bool = False
    has_links: bool = False

    def __str__(self) -> str:
        """Return `has ordered chapters and links to other files`."""
        said = ["ordered chapters"] * self.is_ordered + ["links to other files"] * self.has_links
        return f"has {' and '.join(said)}"

    def beyond(self, other: Linking) -> Linking:
        """Return what is here and not in `other`."""
        return Linking(self.is_ordered and not other.is_ordered, self.has_links and not other.has_links)


NOT_LINKED: Final = Linking()


def linking_of(file: BinaryIO) -> Linking:
    """Return what a player does with a Matroska file beside playing it; nothing where that is not found."""
    parts = segment_parts(file, frozenset({CHAPTERS, INFO}))
    editions = [dict(_flattened(content)) for name, content in children(parts.get(CHAPTERS, b"")) if name == _EDITION]
    ordered = any(int.from_bytes(edition.get(_ORDERED, b"")[:8]) for edition in editions)
    info = dict(children(parts.get(INFO, b"")))
    return Linking(
        ordered, any(_OTHER_SEGMENT in edition for edition in editions) or bool({_NEXT, _PREVIOUS} & set(info))
    )


def _flattened(edition: bytes) -> Iterator[tuple[int, bytes]]:
    """Yield the elements of an edition and those of its chapters."""
    for name, content in children(edition):
        yield name, content
        if name == _CHAPTER:
            yield from children(content)
