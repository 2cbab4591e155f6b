"""Templates and their versions, and which job was made of which."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from sqlalchemy import func, insert, select

from worker.adapters.sql.database.statements import upsert
from worker.adapters.sql.schema import artifacts, jobs, moment
from worker.adapters.sql.schema.intake import origins, templates
from worker.core.template import Origin, OriginState, StoredTemplate

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping, Sequence

    from sqlalchemy import Connection, Row

    from worker.adapters.sql.database import Database

GONE = "gone"
"""The state of a job whose row is not there (any more)."""


class SqlTemplates:
    """`worker.core.ports.TemplateStore`, each method one transaction."""

    _database: Database

    async def templates(self) -> list[StoredTemplate]:
        """Return the newest version of each template by name; deleted ones are left out."""
        return await self._database.read(newest)

    async def template(self, name: str, version: int | None = None) -> StoredTemplate | None:
        """Return the newest version of a template, or that one; None when it is deleted or never was."""
        return await self._database.read(template, name, version)

    async def put_template(self, name: str, document: Mapping[str, Any]) -> StoredTemplate:
        """Store a document as the next version; the newest one where that says the same."""
        return await self._database.write(put, name, dict(document))

    async def delete_template(self, name: str) -> bool:
        """Delete a template, its versions staying for the jobs that were made of them; return whether there was one."""
        return await self._database.write(remove, name)

    async def note_origins(self, origins: Sequence[Origin]) -> None:
        """Write down where jobs came from; what is known of a job stays."""
        if origins:
            await self._database.write_many(len(origins), lambda connection: note(connection, origins))

    async def origins(self, template: str, fingerprints: Collection[str]) -> list[OriginState]:
        """Return the jobs that were made of these sources with a template, the newest first."""
        return await self._database.read(made_of, template, list(fingerprints)) if fingerprints else []

    async def origin(self, job_id: str) -> Origin | None:
        """Return where a job came from; None where nobody wrote it down."""
        return await self._database.read(origin, job_id)

    async def savings(self, template: str, limit: int) -> list[OriginState]:
        """Return the newest completed jobs of a template, with the bytes that they published."""
        return await self._database.read(completed, template, limit)


def newest(connection: Connection) -> list[StoredTemplate]:
    """Return the newest version of each template that is not deleted, by name."""
    last = select(templates.c.name, func.max(templates.c.version).label("version")).group_by(templates.c.name)
    found = last.subquery()
    rows = select(templates).join(found, (templates.c.name == found.c.name) & (templates.c.version == found.c.version))
    stored = connection.execute(rows.order_by(templates.c.name))
    return [_stored_template(row) for row in stored if row.document is not None]


def template(connection: Connection, name: str, version: int | None) -> StoredTemplate | None:
    """Return one version of a template, the newest by default."""
    rows = select(templates).where(templates.c.name == name).order_by(templates.c.version.desc()).limit(1)
    if version is not None:
        rows = rows.where(templates.c.version == version)
    row = connection.execute(rows).one_or_none()
    return None if row is None or row.document is None else _stored_template(row)


def put(connection: Connection, name: str, document: dict[str, Any]) -> StoredTemplate:
    """Store the next version. Two who store at once get two versions: the loser of a version's key tries the next."""
    while True:
        rows = select(templates).where(templates.c.name == name).order_by(templates.c.version.desc()).limit(1)
        last = connection.execute(rows).one_or_none()
        if last is not None and last.document == document:
            return _stored_template(last)
        version = 1 if last is None else last.version + 1
        values = {"name": name, "version": version, "document": document, "stored_at": moment()}
        kept = upsert(connection, templates).values(**values).on_conflict_do_nothing().returning(templates)
        row = connection.execute(kept).one_or_none()
        if row is not None:
            return _stored_template(row)


def remove(connection: Connection, name: str) -> bool:
    """Let the next version be none; return whether there was one."""
    last = template(connection, name, None)
    if last is None:
        return False
    values = {"name": name, "version": last.version + 1, "document": None, "stored_at": moment()}
    connection.execute(insert(templates).values(**values))
    return True


def note(connection: Connection, made: Sequence[Origin]) -> None:
    """Write down where jobs came from."""
    statement = upsert(connection, origins).values(made_at=moment()).on_conflict_do_nothing()
    connection.execute(statement, [one.model_dump(exclude={"made_at"}) for one in made])


def made_of(connection: Connection, template: str, fingerprints: list[str]) -> list[OriginState]:
    """Return the jobs that were made of sources with a template."""
    chosen = (origins.c.template == template) & origins.c.fingerprint.in_(fingerprints)
    rows = (
        select(origins, jobs.c.state)
        .join(jobs, jobs.c.job_id == origins.c.job_id, isouter=True)
        .where(chosen)
        .order_by(origins.c.made_at.desc(), origins.c.job_id)
    )
    return [OriginState(origin=_origin(row), state=row.state or GONE) for row in connection.execute(rows)]


def origin(connection: Connection, job_id: str) -> Origin | None:
    """Return where a job came from."""
    row = connection.execute(select(origins).where(origins.c.job_id == job_id)).one_or_none()
    return None if row is None else _origin(row)


def completed(connection: Connection, template: str, limit: int) -> list[OriginState]:
    """Return the newest completed jobs of a template and the bytes that each published."""
    ended = (
        select(origins, jobs.c.state)
        .join(jobs, jobs.c.job_id == origins.c.job_id)
        .where((origins.c.template == template) & (jobs.c.state == "completed"))
        .order_by(origins.c.made_at.desc(), origins.c.job_id)
        .limit(limit)
    )
    rows = connection.execute(ended).all()
    sizes = (
        select(artifacts.c.job_id, func.sum(artifacts.c.bytes).label("bytes"))
        .where(artifacts.c.job_id.in_([row.job_id for row in rows]))
        .group_by(artifacts.c.job_id)
    )
    made = {row.job_id: int(row.bytes) for row in connection.execute(sizes)}
    return [OriginState(origin=_origin(row), state=row.state, bytes=made.get(row.job_id, 0)) for row in rows]


def _stored_template(row: Row[*tuple[Any, ...]]) -> StoredTemplate:
    return StoredTemplate(name=row.name, version=row.version, document=row.document, stored_at=row.stored_at)


def _origin(row: Row[*tuple[Any, ...]]) -> Origin:
    return Origin.model_validate({name: row._mapping[name] for name in Origin.model_fields})  # noqa: SLF001 - SQLAlchemy's public name
