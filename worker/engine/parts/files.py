"""The files of parts: where they are, whether they are still there, and their end."""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
from typing import TYPE_CHECKING, Final

from worker.core.errors import LeveretError
from worker.core.parts import PARTS_FOLDER

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    from worker.core.parts import Plan
    from worker.core.ports.parts import MadePart
    from worker.engine.resources import Resources

KEEP_DEAD_SECONDS: Final = 7 * 86400.0
_BLOCK: Final = 1 << 20


def parts_folder(resources: Resources, destination: str, job_id: str) -> str:
    """Return the folder that the parts of a job are in."""
    base = resources.parts_url or destination
    return f"{base.rstrip('/')}/{PARTS_FOLDER}/{job_id}/"


async def still_there(resources: Resources, plan: Plan, made: Sequence[MadePart]) -> dict[int, MadePart]:
    """Return the parts of a plan whose files are there, by index; only their sizes are looked at."""
    found = {}
    for file in made:
        if file.index in found or file.index >= len(plan.parts) or file.key != plan.parts[file.index].key:
            continue
        place = resources.storages.place(file.uri)
        stat = await resources.storages.serving(place).stat(place)
        if stat is not None and stat.bytes == file.bytes:
            found[file.index] = file
    return found


async def fetched(resources: Resources, parts: Mapping[int, MadePart], folder: Path) -> dict[int, Path]:
    """Return the local files of parts by index, those left out whose bytes are not what was proved."""
    found = {}
    await asyncio.to_thread(folder.mkdir, parents=True, exist_ok=True)
    for index, part in parts.items():
        place = resources.storages.place(part.uri)
        with contextlib.suppress(FileNotFoundError):
            path = await resources.storages.fetch(place, folder / place.name)
            if await asyncio.to_thread(_digest, path) == part.sha256:
                found[index] = path
    return found


def _digest(path: Path) -> str:
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while block := file.read(_BLOCK):
            digest.update(block)
    return digest.hexdigest()


async def remove_parts(resources: Resources, job_id: str) -> None:
    """Delete the files that parts of an ended job made, then what is recorded of them; what fails stays recorded."""
    failed = False
    for part_id, uri in await resources.repository.part_files(job_id):
        try:
            await resources.storages.sweep(uri, part_id)
            await resources.storages.delete(uri)
        except LeveretError:
            failed = True
    if not failed:
        await resources.repository.forget_part_files(job_id)


async def remove_ended_parts(resources: Resources) -> None:
    """Delete the files of parts whose jobs have ended, where whoever ended them did not."""
    for job_id in await resources.repository.ended_with_parts(KEEP_DEAD_SECONDS):
        await remove_parts(resources, job_id)
