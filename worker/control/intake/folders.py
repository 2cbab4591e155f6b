"""Watched folders: stored, shown, paused, and what was seen in them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from pydantic import ValidationError

from worker.control.errors import NotFound
from worker.control.intake.templates import blueprint_of
from worker.core.errors import InvalidJob, Problem
from worker.core.folder import Folder, FolderFile, StoredFolder
from worker.core.hints import nearest
from worker.core.message.wire import problems_of
from worker.core.names import require_name

if TYPE_CHECKING:
    from worker.control.resources import Control
    from worker.core.ports.folders import FolderFiles


async def list_folders(control: Control) -> list[StoredFolder]:
    """Return the folders by name."""
    return await control.stores.folders()


async def get_folder(control: Control, name: str) -> StoredFolder:
    """Return one folder with its counts; NotFound names the nearest."""
    found = await control.stores.folders()
    for one in found:
        if one.name == name:
            return one
    raise NotFound(f"there is no folder {name[:100]!r}{nearest(name, [one.name for one in found])}")


def checked_folder(name: str, document: Any) -> Folder:
    """Return the folder that a document says; InvalidJob with every problem."""
    require_name(name)
    try:
        return Folder.model_validate(document)
    except ValidationError as error:
        raise InvalidJob(problems_of(error, "", Folder)) from error


async def put_folder(control: Control, files: FolderFiles, name: str, document: Any) -> StoredFolder:
    """Store or replace a folder; InvalidJob, NotFound for a template that is none, RefusedPath outside the roots.

    The place need not be there: a mount may be away.
    """
    folder = checked_folder(name, document)
    blueprint = await blueprint_of(control, folder.template)
    known = blueprint.document.variables
    if strange := [one for one in folder.variables if one not in known]:
        raise InvalidJob(
            [
                Problem(f"variables.{one}", f"{folder.template} has no such variable{nearest(one, known)}")
                for one in strange
            ]
        )
    place = str(await files.admit(folder.place))
    changed = {"place": place}
    if folder.move_to:
        changed["move_to"] = str(await files.admit(folder.move_to))
    await control.stores.put_folder(name, folder.model_copy(update=changed))
    return await get_folder(control, name)


async def delete_folder(control: Control, name: str) -> None:
    """Delete a folder; its jobs and its files stay. NotFound when there is none."""
    if not await control.stores.delete_folder(name):
        raise NotFound(f"there is no folder {name[:100]!r}")


async def pause_folder(control: Control, name: str, *, paused: bool) -> StoredFolder:
    """Let nothing be taken from a folder, or let it be taken again."""
    if not await control.stores.pause_folder(name, paused=paused):
        raise NotFound(f"there is no folder {name[:100]!r}")
    return await get_folder(control, name)


async def list_files(control: Control, name: str, state: str | None = None, limit: int = 100) -> list[FolderFile]:
    """Return what was seen in a folder, the newest first."""
    await get_folder(control, name)
    return await control.stores.folder_files(name, state, limit)
