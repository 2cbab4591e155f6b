"""Bytes of remote sources that parts need, fetched once a host into one sparse copy of each source."""

from __future__ import annotations

import asyncio
import json
import os
from contextlib import suppress
from typing import TYPE_CHECKING, Final

from worker.core.spans import missing, total, union
from worker.engine.attempt.locks import held, is_held

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Sequence
    from pathlib import Path

    from worker.core.spans import Span
    from worker.engine.attempt.sources import SharedSources

    FetchSpans = Callable[[Path, Sequence[Span]], Awaitable[None]]

_SUFFIX: Final = "-excerpt"
_PRESENT: Final = ".json"


class Excerpts:
    """The sparse copies beside the whole ones of `SharedSources`: spans are added, and none is fetched twice.

    A file beside each says which spans are in it, written after them. What a kill or a crash of the host leaves is
    fetched again or seen by the proof of who reads it.
    """

    def __init__(self, sources: SharedSources) -> None:
        self._sources = sources

    async def fetched(
        self, place: str, version: str, size: int, spans: Sequence[Span], into: Path, fetch: FetchSpans
    ) -> int | None:
        """Return how many bytes came so that `into`, a link to the sparse copy of a source, has `spans`.

        None where the whole source is here, or is being fetched, or the file system has no links.
        """
        whole = self._sources.path(place, version)
        if await asyncio.to_thread(whole.exists) or await asyncio.to_thread(is_held, whole):
            return None
        path = whole.with_name(whole.name + _SUFFIX)
        async with held(path):
            present = await asyncio.to_thread(_opened, path, size)
            lacking = missing(spans, present)
            if lacking:
                await fetch(path, lacking)
                await asyncio.to_thread(_note, path, union([*present, *lacking]))
            return total(lacking) if await asyncio.to_thread(_link, path, into) else None


def _opened(path: Path, size: int) -> tuple[Span, ...]:
    """Return the spans that are in a sparse copy, which is made anew where there is none."""
    noted = path.with_suffix(_PRESENT)
    with suppress(OSError, ValueError, TypeError):
        if path.stat().st_size == size:
            return union((int(first), int(last)) for first, last in json.loads(noted.read_text()))
    # In this order: the note must never list more than the file holds.
    noted.unlink(missing_ok=True)
    path.unlink(missing_ok=True)
    with path.open("xb") as file:
        file.truncate(size)
    return ()


def _note(path: Path, spans: Sequence[Span]) -> None:
    fresh = path.with_suffix(".new")
    fresh.write_text(json.dumps(spans))
    fresh.replace(path.with_suffix(_PRESENT))


def _link(path: Path, into: Path) -> bool:
    try:
        into.parent.mkdir(parents=True, exist_ok=True)
        os.link(path, into)
        os.utime(path)
        os.utime(path.with_suffix(_PRESENT))
    except OSError:
        return into.exists()
    return True
