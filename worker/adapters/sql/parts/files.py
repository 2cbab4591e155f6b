"""The files of parts, as the database knows them: which nobody needs any more, and where they are."""

from __future__ import annotations

from typing import TYPE_CHECKING

from sqlalchemy import delete, select, update

from worker.adapters.sql.schema import artifacts, attempts, jobs, moment

if TYPE_CHECKING:
    from sqlalchemy import ColumnElement, Connection


def ended_with_parts(connection: Connection, dead_seconds: float) -> list[str]:
    """Return the ended jobs whose parts have files that nobody needs any more."""
    parent = jobs.alias("parent")
    over: ColumnElement[bool] = parent.c.state.in_(("completed", "cancelled"))
    over |= (parent.c.state == "dead") & (parent.c.finished_at <= moment(-dead_seconds))
    made = select(jobs.c.parent_id).join(artifacts, artifacts.c.job_id == jobs.c.job_id)
    rows = connection.execute(select(parent.c.job_id).where(over & parent.c.job_id.in_(made)))
    return list(rows.scalars())


def part_files(connection: Connection, job_id: str) -> list[tuple[str, str]]:
    """Return every file that parts of a job made or announced."""
    of = jobs.c.parent_id == job_id
    made = connection.execute(
        select(artifacts.c.job_id, artifacts.c.uri).join(jobs, jobs.c.job_id == artifacts.c.job_id).where(of)
    )
    rows = connection.execute(
        select(attempts.c.job_id, attempts.c.announced).join(jobs, jobs.c.job_id == attempts.c.job_id).where(of)
    )
    every = [(row.job_id, row.uri) for row in made]
    every += [(row.job_id, uri) for row in rows for uri in row.announced]
    return list(dict.fromkeys(every))


def forget_part_files(connection: Connection, job_id: str) -> None:
    """Delete what is recorded of the files of a job's parts."""
    ids = select(jobs.c.job_id).where(jobs.c.parent_id == job_id).scalar_subquery()
    connection.execute(delete(artifacts).where(artifacts.c.job_id.in_(ids)))
    connection.execute(update(attempts).where(attempts.c.job_id.in_(ids)).values(announced=[]))
