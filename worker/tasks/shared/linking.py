"""Matroska files of which a player shows another film than lies in them: the record says so."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from worker.media.matroska.linking import NOT_LINKED, Linking, linking_of

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path

    from worker.core.task import TaskContext


async def warn_of_links(path: Path, name: str, context: TaskContext) -> None:
    """Warn where a source has ordered chapters, or links to other files."""
    if (linking := await asyncio.to_thread(_linking, path)) != NOT_LINKED:
        context.warn(f"{name} {linking}; the film is taken as it lies in this file, and a player may show another")


async def warn_of_lost_links(sources: Iterable[tuple[Path, str]], made: Path, context: TaskContext) -> None:
    """Warn of the ordered chapters and links of sources that the file `made` of them has not."""
    has = await asyncio.to_thread(_linking, made)
    for path, name in sources:
        lost = (await asyncio.to_thread(_linking, path)).beyond(has)
        if lost != NOT_LINKED:
            context.warn(f"{name} {lost}, which the new file has not: a player may show another film of it")


def _linking(path: Path) -> Linking:
    with path.open("rb") as file:
        return linking_of(file)
