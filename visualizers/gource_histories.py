"""The histories that a film is of: one repository's, or several in one, each in a folder of its own."""

from __future__ import annotations

import asyncio
import hashlib
import heapq
from dataclasses import dataclass, replace
from itertools import count
from typing import TYPE_CHECKING, Final

from visualizers import Repository
from visualizers.gitlog import MAX_CHANGES, log_command, log_lines, read_log
from visualizers.gource_params import TYPES
from worker.core.errors import BadInput

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from visualizers import Stage
    from visualizers.gitlog import Commit
    from visualizers.gource_params import GourceParams

COLOURS: Final = (
    "4477AA", "EE6677", "228833", "CCBB44", "66CCEE", "AA3377", "EE7733", "009988", "BB5566", "DDAA33",
)  # fmt: skip
"""Of repositories that have none: colours that people who see few of them can tell apart (Paul Tol's, TU Delft)."""


@dataclass(frozen=True, slots=True)
class Source:
    """A repository of a film: what is cloned, the folder that its files are in, and the colour of all its files."""

    repository: Repository
    folder: str = ""
    colour: str = ""


def sources_of(params: GourceParams) -> tuple[Source, ...]:
    """Return the repositories of a film, in the order of the data."""
    if params.repo_url is not None:
        return (Source(Repository(params.repo_url, params.token, params.mailmap)),)
    colours = (colour for _ in count() for colour in COLOURS)
    return tuple(
        Source(
            Repository(one.repo_url, one.token, params.mailmap, one.top),
            one.top,
            "" if one.colour == TYPES else one.colour or colour,
        )
        for one, colour in zip(params.repositories, colours, strict=False)
    )


async def read_histories(sources: Sequence[Source], stage: Stage) -> tuple[Commit, ...]:
    """Return the commits of all repositories, the oldest first; BadInput for what is too much together.

    They are cloned one after another, and a clone is gone before the next begins: what several need of disk and memory
    is bounded as for one. What nobody changed in is left out with a warning.
    """
    histories: list[tuple[Commit, ...]] = []
    left = MAX_CHANGES
    for source in sources:
        *head, commit, end = log_command("{repository}", mailmap=source.repository.mailmap)
        log = await stage.history(source.repository, (*head, "--output={output}", commit, end))
        found = await asyncio.to_thread(_read, log, source, left)
        left -= sum(len(commit.changes) for commit in found)
        if not found and len(sources) > 1:
            stage.warn(f"{source.folder}: the repository has no commit that changes a file")
        histories.append(found)
    return await asyncio.to_thread(merged, histories)


def _read(log: Path, source: Source, left: int) -> tuple[Commit, ...]:
    """Return one history, its files below the folder of its repository; the log is gone then."""
    try:
        with log.open("rb") as file:
            found = read_log(file, most=left)
    except BadInput as error:
        if not source.folder:
            raise
        raise type(error)(f"{source.folder}: {error}") from error
    finally:
        log.unlink()
    if not source.folder:
        return found
    return tuple(replace(commit, folder=source.folder, colour=source.colour) for commit in found)


def merged(histories: Sequence[Sequence[Commit]]) -> tuple[Commit, ...]:
    """Return the commits of histories, each of them in order, in one; of one second, those of the first come first."""
    if len(histories) == 1:
        return tuple(histories[0])
    return tuple(heapq.merge(*histories, key=lambda commit: commit.time))


def write_log(log: Path, commits: Sequence[Commit]) -> str:
    """Return the SHA-256 of the log that is written, line by line: it is never in memory as a whole."""
    digest = hashlib.sha256()
    with log.open("wb") as file:
        for line in log_lines(commits):
            encoded = line.encode()
            digest.update(encoded)
            file.write(encoded)
    return digest.hexdigest()
