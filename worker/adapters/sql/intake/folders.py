"""The store of watched folders."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from sqlalchemy import delete, func, or_, select, update

from worker.adapters.sql.database.statements import upsert
from worker.adapters.sql.intake.folder_files import SqlFolderFiles, count_waiting
from worker.adapters.sql.schema import moment
from worker.adapters.sql.schema.intake import folder_files, folders
from worker.core.folder import StoredFolder

if TYPE_CHECKING:
    from sqlalchemy import Connection, Row

    from worker.core.folder import Folder


class SqlFolders(SqlFolderFiles):
    """`worker.core.ports.folders.FolderStore`, each method one transaction."""

    async def folders(self) -> list[StoredFolder]:
        """Return all of them by name, with how many files are in each state."""
        return await self._database.read(_list)

    async def folder(self, name: str) -> StoredFolder | None:
        """Return one, without its counts."""
        return await self._database.read(_one, name)

    async def put_folder(self, name: str, folder: Folder) -> None:
        """Store or replace one; what was seen in it stays known, unless the place is another one."""
        await self._database.write(_put, name, folder)

    async def delete_folder(self, name: str) -> bool:
        """Return whether there was one; what was seen in it is forgotten."""
        return await self._database.write(_delete, name)

    async def pause_folder(self, name: str, *, paused: bool) -> bool:
        """Return whether there is one; a paused folder is not looked at."""
        return await self._database.write(_pause, name, paused=paused)

    async def claim_folder(self, name: str, owner: str, lease_seconds: float) -> bool:
        """Return whether `owner` may look at it now: nobody else has it, and it is not paused."""
        return await self._database.write_relaxed(_claim, name, owner, lease_seconds)

    async def folder_scanned(
        self, name: str, owner: str, files: int | None, problem: str | None, *, done: bool = True
    ) -> None:
        """Note how many files a look found, so far where it is not `done`, and what was wrong."""
        await self._database.write_relaxed(_note_scan, name, owner, files, problem, done=done)


def _list(connection: Connection) -> list[StoredFolder]:
    counted = select(folder_files.c.folder, folder_files.c.state, func.count())
    counts: dict[str, dict[str, int]] = {}
    for folder, state, count in connection.execute(counted.group_by(folder_files.c.folder, folder_files.c.state)):
        counts.setdefault(folder, {})[state] = count
    return [
        _stored_folder(row).model_copy(
            update={"counts": counts.get(row.name, {}), "waiting": count_waiting(connection, row.name)}
        )
        for row in connection.execute(select(folders).order_by(folders.c.name))
    ]


def _one(connection: Connection, name: str) -> StoredFolder | None:
    row = connection.execute(select(folders).where(folders.c.name == name)).one_or_none()
    return None if row is None else _stored_folder(row)


def _stored_folder(row: Row[Any]) -> StoredFolder:
    return StoredFolder(
        name=row.name,
        document=row.document,
        paused=row.paused,
        owner=row.owner,
        scanned_at=row.scanned_at,
        files=row.files,
        problem=row.problem,
    )


def _put(connection: Connection, name: str, folder: Folder) -> None:
    document = folder.model_dump(mode="json")
    known = connection.execute(select(folders.c.document).where(folders.c.name == name)).scalar()
    if known is not None and known.get("place") != folder.place:
        connection.execute(delete(folder_files).where(folder_files.c.folder == name))
    values = {"document": document, "problem": None}
    connection.execute(
        upsert(connection, folders)
        .values(name=name, paused=False, files=0, **values)
        .on_conflict_do_update(index_elements=[folders.c.name], set_=values)
    )
    # What failed may succeed with another template or another value; what the old one did not want, the new one may.
    again = (folder_files.c.folder == name) & folder_files.c.state.in_(("failed", "skipped"))
    if known is not None and known != document:
        connection.execute(update(folder_files).where(again).values(state="settling", reason=None))


def _delete(connection: Connection, name: str) -> bool:
    connection.execute(delete(folder_files).where(folder_files.c.folder == name))
    return connection.execute(delete(folders).where(folders.c.name == name)).rowcount > 0


def _pause(connection: Connection, name: str, *, paused: bool) -> bool:
    return connection.execute(update(folders).where(folders.c.name == name).values(paused=paused)).rowcount > 0


def _claim(connection: Connection, name: str, owner: str, lease_seconds: float) -> bool:
    free = or_(folders.c.lease_until.is_(None), folders.c.lease_until <= moment(), folders.c.owner == owner)
    here = (folders.c.name == name) & ~folders.c.paused & free
    claimed = update(folders).where(here).values(owner=owner, lease_until=moment(lease_seconds))
    return connection.execute(claimed).rowcount > 0


def _note_scan(
    connection: Connection, name: str, owner: str, files: int | None, problem: str | None, *, done: bool
) -> None:
    values: dict[str, Any] = {"problem": problem}
    if files is not None:
        values["files"] = files
    if done and files is not None:
        values["scanned_at"] = moment()
    connection.execute(update(folders).where((folders.c.name == name) & (folders.c.owner == owner)).values(**values))
