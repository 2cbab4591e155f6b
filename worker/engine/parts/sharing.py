"""Files that a plan makes for all parts of its job: they are parts themselves, whose rows say that they are made."""

from __future__ import annotations

import asyncio
import hashlib
from typing import TYPE_CHECKING

import structlog

from worker.core.attempt import Artifact
from worker.core.errors import LeveretError
from worker.core.media_types import media_type_of
from worker.core.parts import part_id

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from worker.engine.parts.work import Wait
    from worker.engine.resources import Resources

log = structlog.get_logger(__name__)


async def shared_files(job_id: str, wait: Wait, shares: Mapping[str, Path], folder: str) -> list[Artifact]:
    """Return the files that a plan shares and that are not in the `folder` of the parts yet."""
    wanted = [
        (part_id(job_id, part.index), shares[part.file])
        for part in wait.plan.parts
        if part.file in shares and part.index not in wait.made
    ]
    names = {part_id(job_id, part.index): part.file for part in wait.plan.parts}
    return [await asyncio.to_thread(_measured, path, own, f"{folder}{names[own]}") for own, path in wanted]


def _measured(path: Path, own: str, uri: str) -> Artifact:
    with path.open("rb") as file:
        digest = hashlib.file_digest(file, "sha256").hexdigest()
    return Artifact(
        role="part",
        path=path,
        uri=uri,
        media_type=media_type_of(uri),
        bytes=path.stat().st_size,
        sha256=digest,
        duration=None,
        immutable=False,
        job_id=own,
    )


async def publish_shared(resources: Resources, job_id: str, files: list[Artifact]) -> None:
    """Put the files there, after the rows that name them: whoever removes the parts of a job knows of them.

    A failure costs work alone: the parts do for themselves what the file would have saved.
    """
    try:
        await resources.storages.publish(files, _anytime)
        record = await resources.repository.job(job_id)
        if record is None or record.state in {"cancelled", "dead"}:
            # It was ended meanwhile, and perhaps cleaned up before this file was there.
            for file in files:
                await resources.storages.delete(file.uri)
    except LeveretError as error:
        log.warning("shared_part_not_published", job_id=job_id, error=str(error))


async def _anytime() -> None:
    """Return: the name of a part's file is the hash of what is in it."""
