"""The store of the files that were seen in watched folders."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from sqlalchemy import delete, func, select, update

from worker.adapters.sql.database.statements import upsert
from worker.adapters.sql.rows import uri_key
from worker.adapters.sql.schema import artifacts, attempts, jobs, moment
from worker.adapters.sql.schema.intake import folder_files
from worker.core.folder import FolderFile, Sighting, belongs_to, group_of, is_sidecar
from worker.core.record import TERMINAL

if TYPE_CHECKING:
    from collections.abc import Sequence

    from sqlalchemy import ColumnElement, Connection, Row

    from worker.adapters.sql.database import Database
    from worker.core.folder import FileState

_AT_ONCE: Final = 500
_MAX_SIDECARS: Final = 200
_WAITING: Final = ("queued", "waiting", "retrying")


class SqlFolderFiles:
    """The files of `worker.core.ports.folders.FolderStore`, each method one transaction."""

    _database: Database

    async def note_sightings(self, name: str, sightings: Sequence[Sighting]) -> int:
        """Note files; one that is new or has changed begins to settle. Return how many did."""
        known = await self._database.read(_known_versions, name, sightings)
        fresh = [one for one in sightings if known.get(one.path) != (one.bytes, one.version)]
        if fresh:
            # Most looks find nothing new, and write nothing.
            await self._database.write_many(len(fresh), lambda connection: _store_sightings(connection, name, fresh))
        return len(fresh)

    async def settled(self, name: str, settle_seconds: float, limit: int) -> list[FolderFile]:
        """Return files that have kept their size and version for so long, the longest first."""
        return await self._database.read(_settled_files, name, settle_seconds, limit)

    async def seconds_to_settle(self, name: str, settle_seconds: float) -> float | None:
        """Return when the next file will have settled; None when none is settling."""
        return await self._database.read(_seconds_to_settle, name, settle_seconds)

    async def sidecars(self, name: str, path: str, settle_seconds: float) -> tuple[list[Sighting], bool]:
        """Return the sidecars of a film, and whether all of them have settled."""
        return await self._database.read(_sidecars, name, path, settle_seconds)

    async def decide(
        self,
        name: str,
        file: FolderFile,
        state: FileState,
        *,
        job_id: str | None = None,
        reason: str | None = None,
        sidecars: Sequence[Sighting] = (),
    ) -> bool:
        """Return whether the file was still as it was, and its state is set; `settling` begins anew."""
        values: dict[str, Any] = {
            "state": state,
            "job_id": job_id,
            "reason": reason,
            "sidecars": [one.model_dump() for one in sidecars],
        } | ({"still_since": moment()} if state == "settling" else {})
        return await self._database.write(_decide, name, file, values)

    async def forget_file(self, name: str, path: str) -> None:
        """Forget a file; should it be seen again, it is new."""
        await self._database.write(lambda c: c.execute(delete(folder_files).where(_here(name, path))))

    async def waiting_jobs(self, name: str) -> int:
        """Return how many jobs of the folder are waiting."""
        return await self._database.read(count_waiting, name)

    async def finished_files(self, name: str, limit: int) -> list[FolderFile]:
        """Return submitted files whose jobs are completed."""
        return await self._database.read(_finished_files, name, limit)

    async def folder_files(self, name: str, state: str | None, limit: int) -> list[FolderFile]:
        """Return files, those that changed last first."""
        return await self._database.read(_files, name, state, limit)

    async def maker_of(self, uri: str, size: int) -> str | None:
        """Return the job that made, or is about to publish, this very file; None when none did."""
        return await self._database.read(_maker_of, uri, size)


def _here(name: str, path: str) -> ColumnElement[bool]:
    return (folder_files.c.folder == name) & (folder_files.c.path_key == uri_key(path))


def _known_versions(connection: Connection, name: str, sightings: Sequence[Sighting]) -> dict[str, tuple[int, str]]:
    found: dict[str, tuple[int, str]] = {}
    for first in range(0, len(sightings), _AT_ONCE):
        keys = [uri_key(one.path) for one in sightings[first : first + _AT_ONCE]]
        rows = connection.execute(
            select(folder_files.c.path, folder_files.c.bytes, folder_files.c.version).where(
                (folder_files.c.folder == name) & folder_files.c.path_key.in_(keys)
            )
        )
        found |= {row.path: (row.bytes, row.version) for row in rows}
    return found


def _store_sightings(connection: Connection, name: str, fresh: Sequence[Sighting]) -> None:
    insert = upsert(connection, folder_files).values(still_since=moment())
    kept = {column: insert.excluded[column] for column in ("bytes", "version", "state")}
    # One statement for all of them: building it takes longer than running it.
    statement = insert.on_conflict_do_update(
        index_elements=[folder_files.c.folder, folder_files.c.path_key],
        set_=kept | {"still_since": moment(), "job_id": None, "reason": None, "sidecars": []},
    )
    rows: list[dict[str, Any]] = [
        {
            "folder": name,
            "path_key": uri_key(one.path),
            "path": one.path,
            "group_key": uri_key(group_of(one.path)),
            "bytes": one.bytes,
            "version": one.version,
            "state": "sidecar" if is_sidecar(one.path) else "settling",
            "job_id": None,
            "reason": None,
            "sidecars": [],
        }
        for one in fresh
    ]
    connection.execute(statement, rows)


def _in_state(name: str, state: str) -> ColumnElement[bool]:
    return (folder_files.c.folder == name) & (folder_files.c.state == state)


def _settled_files(connection: Connection, name: str, seconds: float, limit: int) -> list[FolderFile]:
    still = _in_state(name, "settling") & (folder_files.c.still_since <= moment(-seconds))
    found = select(folder_files).where(still).order_by(folder_files.c.still_since, folder_files.c.path).limit(limit)
    return [_file(row) for row in connection.execute(found)]


def _seconds_to_settle(connection: Connection, name: str, seconds: float) -> float | None:
    oldest = select(func.min(folder_files.c.still_since), moment()).where(_in_state(name, "settling"))
    since, now = connection.execute(oldest).one()
    return None if since is None else max(0.0, seconds - (now - since).total_seconds())


def _sidecars(connection: Connection, name: str, path: str, seconds: float) -> tuple[list[Sighting], bool]:
    here = _in_state(name, "sidecar") & (folder_files.c.group_key == uri_key(group_of(path)))
    found = select(folder_files, moment(-seconds).label("before")).where(here).limit(_MAX_SIDECARS)
    rows = [row for row in connection.execute(found) if belongs_to(row.path, path)]
    rows.sort(key=lambda row: row.path)
    sidecars = [Sighting(path=row.path, bytes=row.bytes, version=row.version) for row in rows]
    return sidecars, all(row.still_since <= row.before for row in rows)


def _decide(connection: Connection, name: str, file: FolderFile, values: dict[str, Any]) -> bool:
    same = (folder_files.c.version == file.version) & (folder_files.c.bytes == file.bytes)
    return connection.execute(update(folder_files).where(_here(name, file.path) & same).values(**values)).rowcount > 0


def count_waiting(connection: Connection, name: str) -> int:
    """Return how many jobs of the folder are waiting."""
    waiting = (
        select(func.count())
        .select_from(folder_files.join(jobs, jobs.c.job_id == folder_files.c.job_id))
        .where(_in_state(name, "submitted") & jobs.c.state.in_(_WAITING))
    )
    return int(connection.execute(waiting).scalar_one())


def _finished_files(connection: Connection, name: str, limit: int) -> list[FolderFile]:
    found = (
        select(folder_files)
        .join(jobs, jobs.c.job_id == folder_files.c.job_id)
        .where(_in_state(name, "submitted") & (jobs.c.state == "completed"))
        .order_by(folder_files.c.still_since, folder_files.c.path)
        .limit(limit)
    )
    return [_file(row) for row in connection.execute(found)]


def _files(connection: Connection, name: str, state: str | None, limit: int) -> list[FolderFile]:
    found = select(folder_files).where(folder_files.c.folder == name)
    if state is not None:
        found = found.where(folder_files.c.state == state)
    newest = found.order_by(folder_files.c.still_since.desc(), folder_files.c.path).limit(limit)
    return [_file(row) for row in connection.execute(newest)]


def _maker_of(connection: Connection, uri: str, size: int) -> str | None:
    made = (artifacts.c.uri_key == uri_key(uri)) & (artifacts.c.bytes == size)
    job_id: str | None = connection.execute(select(artifacts.c.job_id).where(made).limit(1)).scalar()
    if job_id is not None:
        return job_id
    # One that is published, and not recorded yet.
    open_ = select(attempts.c.job_id, attempts.c.announced).join(jobs, jobs.c.job_id == attempts.c.job_id)
    for row in connection.execute(open_.where(jobs.c.state.not_in(TERMINAL))):
        if uri in row.announced:
            return str(row.job_id)
    return None


def _file(row: Row[Any]) -> FolderFile:
    return FolderFile(
        path=row.path,
        bytes=row.bytes,
        version=row.version,
        state=row.state,
        still_since=row.still_since,
        job_id=row.job_id,
        reason=row.reason,
        sidecars=tuple(Sighting.model_validate(one) for one in row.sidecars),
    )
