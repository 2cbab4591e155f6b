"""Lists of jobs by cursor: each page reads one narrow index, however many jobs there are.

`ix_jobs_listing` holds all that a filter looks at, so that a page of a filter that matches hardly anything costs one
walk through the index and never a look at the rows, which may be a megabyte each.
"""

from __future__ import annotations

import base64
import binascii
import json
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any, Final

from sqlalchemy import Float, case, exists, func, literal, select, tuple_, type_coerce, union_all

from worker.adapters.sql.records import artifact_record, attempt_record, job_record, part_rank
from worker.adapters.sql.rows import LISTED, within_modules
from worker.adapters.sql.schema import WHOLE, artifacts, attempts, jobs, moment
from worker.core.listing import InvalidCursor, JobFilter, Page
from worker.core.record import STATES, progress_of_parts

if TYPE_CHECKING:
    from collections.abc import Sequence

    from sqlalchemy import ColumnElement, Connection, Select

    from worker.core.record import ArtifactRecord, AttemptRecord, JobRecord

_NOT_COMPLETED: Final = tuple(state for state in STATES if state != "completed")
_MANY_ATTEMPTS: Final = 20_000
"""The number of attempts from which a worker's jobs are found by looking at jobs rather than at its attempts."""
_SOME_ATTEMPTS: Final = 500
"""Up to so many each job is looked up by its id; beyond, the jobs are walked through from the newest on."""
_LAST: Final = "\x7f"
"""Sorts after every letter that an id may have."""
MAX_SUMMED: Final = 8
"""The most divided jobs of a page of a list whose parts are added up."""
_CHUNK: Final = 500
"""SQLite takes at least 999 parameters a statement."""


def page(connection: Connection, chosen: JobFilter, limit: int, cursor: str | None) -> Page:
    """Return the newest jobs that match, after those that `cursor` ended with: their ids first, then their rows."""
    created = _created(connection)
    wanted = select(jobs.c.job_id).where(*_conditions(connection, chosen))
    if cursor is not None:
        wanted = wanted.where(tuple_(created, jobs.c.job_id) < tuple_(*_after(connection, cursor)))
    wanted = wanted.order_by(created.desc(), jobs.c.job_id.desc()).limit(limit + 1)
    ids = list(connection.execute(wanted).scalars())
    more, ids = len(ids) > limit, ids[:limit]
    rows = {
        row["job_id"]: row
        for start in range(0, len(ids), _CHUNK)
        for row in connection.execute(_rows(created).where(jobs.c.job_id.in_(ids[start : start + _CHUNK]))).mappings()
    }
    found = [rows[job_id] for job_id in ids if job_id in rows]
    records = _with_progress_of_parts(connection, [job_record(row) for row in found])
    return Page(tuple(records), _cursor(found[-1]["position"], found[-1]["job_id"]) if more and found else None)


def _with_progress_of_parts(connection: Connection, records: Sequence[JobRecord]) -> list[JobRecord]:
    """Return the same jobs, the first few of those that wait for their parts with the progress of these."""
    waiting = [record.job_id for record in records if record.state == "waiting"][:MAX_SUMMED]
    if not waiting:
        return list(records)
    found = {row.parent_id: row for row in connection.execute(_sums_of_parts(waiting))}
    return [
        record.model_copy(update={"progress": progress_of_parts(row.frames, row.done, row.fps, row.made)})
        if (row := found.get(record.job_id))
        else record
        for record in records
    ]


def _sums_of_parts(parents: Sequence[str]) -> Select[Any]:
    """Return how to ask for the sums over the parts of these jobs, each counted once, as in `part_records`.

    Their rows may be hundreds, so the database adds them up. Those that are cancelled while their job waits are of an
    older plan, or copies.
    """
    own = jobs.c.parent_id, jobs.c.part_index
    rank = case({state: part_rank(state) for state in STATES}, value=jobs.c.state)
    place = func.row_number().over(partition_by=own, order_by=(rank, jobs.c.job_id)).label("place")
    columns = (jobs.c.part_frames, jobs.c.state, jobs.c.percent, jobs.c.fps)
    rows = select(*own, *columns, place).where(jobs.c.parent_id.in_(parents) & (jobs.c.state != "cancelled")).subquery()
    frames, made = func.coalesce(rows.c.part_frames, 0), rows.c.state == "completed"
    percent = case((made, 100.0), else_=func.coalesce(rows.c.percent, 0.0))
    fps = case((rows.c.state == "running", func.coalesce(rows.c.fps, 0.0)), else_=0.0)
    return (
        select(
            rows.c.parent_id,
            func.sum(frames).label("frames"),
            (func.sum(frames * percent) / 100.0).label("done"),
            func.sum(fps).label("fps"),
            func.sum(case((made & (frames > 0), 1), else_=0)).label("made"),
        )
        .where(rows.c.place == 1)
        .group_by(rows.c.parent_id)
    )


def _rows(created: ColumnElement[Any]) -> Select[Any]:
    return select(*LISTED, created.label("position"))


def _created(connection: Connection) -> ColumnElement[Any]:
    """Return when a job was created, exactly as it is stored: SQLite's float has more digits than a datetime."""
    return type_coerce(jobs.c.created_at, Float()) if connection.dialect.name == "sqlite" else jobs.c.created_at


def _conditions(connection: Connection, chosen: JobFilter) -> list[ColumnElement[bool]]:
    # A part is shown with its job.
    found: list[ColumnElement[bool]] = [WHOLE]
    if chosen.state is not None:
        found.append(_state(connection, chosen) == chosen.state)
    if chosen.lane is not None:
        found.append(jobs.c.lane == chosen.lane)
    if chosen.module is not None:
        found.append(jobs.c.modules.contains(within_modules(chosen.module), autoescape=True))
    if chosen.text is not None:
        found.append(jobs.c.searched.contains(chosen.text.casefold(), autoescape=True))
    if chosen.worker is not None:
        found.append(_had_it(connection, chosen.worker))
    if chosen.since is not None:
        found.append(jobs.c.created_at >= _at(chosen.since))
    if chosen.until is not None:
        found.append(jobs.c.created_at <= _at(chosen.until))
    return found


def _state(connection: Connection, chosen: JobFilter) -> ColumnElement[str]:
    """Return the state; as an expression where the index of states would be the wrong one to walk through.

    SQLite takes an index with an equal column whatever the cost of the rows that the other conditions need.
    """
    others = chosen.worker is None and (chosen.module is not None or chosen.text is not None)
    return jobs.c.state.concat("") if others and connection.dialect.name == "sqlite" else jobs.c.state


def _had_it(connection: Connection, worker: str) -> ColumnElement[bool]:
    """Return whether `worker` had the job: of few attempts their jobs are collected, of many each job is asked."""
    few = select(attempts.c.job_id).where(attempts.c.worker == worker)
    counted = connection.execute(select(func.count()).select_from(few.limit(_MANY_ATTEMPTS).subquery())).scalar_one()
    if counted >= _MANY_ATTEMPTS:
        return exists().where((attempts.c.job_id == jobs.c.job_id) & (attempts.c.worker == worker))
    # SQLite would look up every one of them before it sorts: as an expression the id has no index.
    walks = connection.dialect.name == "sqlite" and counted > _SOME_ATTEMPTS
    return (jobs.c.job_id.concat("") if walks else jobs.c.job_id).in_(few)


def _at(time: datetime | timedelta) -> Any:
    return moment(-time.total_seconds()) if isinstance(time, timedelta) else time


def _cursor(position: Any, job_id: str) -> str:
    place = position if isinstance(position, float) else position.isoformat()
    return base64.urlsafe_b64encode(json.dumps([place, job_id]).encode()).decode().rstrip("=")


def _after(connection: Connection, cursor: str) -> tuple[ColumnElement[Any], ColumnElement[str]]:
    """Return the position that a cursor names; InvalidCursor for a cursor of another database or of nobody."""
    try:
        position, job_id = json.loads(base64.b64decode(cursor + "=" * (-len(cursor) % 4), b"-_", validate=True))
        if not isinstance(job_id, str):
            raise InvalidCursor
        if connection.dialect.name == "sqlite":
            return literal(float(position), Float()), literal(job_id, jobs.c.job_id.type)
        return literal(datetime.fromisoformat(position), jobs.c.created_at.type), literal(job_id, jobs.c.job_id.type)
    except (ValueError, TypeError, binascii.Error, RecursionError) as error:
        raise InvalidCursor from error


def with_details(connection: Connection, records: Sequence[JobRecord]) -> list[JobRecord]:
    """Return the same jobs with their attempts and artifacts, two statements for each 500."""
    tries: dict[str, list[AttemptRecord]] = {}
    made: dict[str, list[ArtifactRecord]] = {}
    for start in range(0, len(records), _CHUNK):
        ids = [record.job_id for record in records[start : start + _CHUNK]]
        tried = select(attempts).where(attempts.c.job_id.in_(ids)).order_by(attempts.c.epoch)
        for row in connection.execute(tried).mappings():
            tries.setdefault(row["job_id"], []).append(attempt_record(row))
        outputs = select(artifacts).where(artifacts.c.job_id.in_(ids)).order_by(artifacts.c.position)
        for row in connection.execute(outputs).mappings():
            made.setdefault(row["job_id"], []).append(artifact_record(row))
    return [
        record.model_copy(update={"attempts": tries.get(record.job_id, []), "artifacts": made.get(record.job_id, [])})
        for record in records
    ]


def ids(connection: Connection, prefix: str, limit: int) -> list[str]:
    """Return ids that begin with `prefix`, by name.

    SQLite's LIKE takes no case for another and so no index; PostgreSQL sorts by a language's rules, under which ids
    with one beginning are no range.
    """
    found = select(jobs.c.job_id).order_by(jobs.c.job_id).limit(limit)
    if connection.dialect.name == "sqlite":
        found = found.where((jobs.c.job_id >= prefix) & (jobs.c.job_id < prefix + _LAST))
    else:
        found = found.where(jobs.c.job_id.startswith(prefix, autoescape=True))
    return list(connection.execute(found).scalars())


def counts(connection: Connection) -> dict[str, int]:
    """Return how many jobs are in each state that has one.

    Nearly every job is completed, and to look at the state of each takes most of what Now takes: the completed ones
    are those that are left when the others, and the parts, are taken from all.
    """
    everything = select(func.count()).select_from(jobs).scalar_subquery()
    parts = select(func.count()).where(jobs.c.parent_id.is_not(None)).scalar_subquery()
    others = select(jobs.c.state, func.count()).where(jobs.c.state.in_(_NOT_COMPLETED), WHOLE)
    # One statement, so that no job ends between two of them.
    left = select(literal("completed"), everything - parts)
    rows = connection.execute(union_all(others.group_by(jobs.c.state), left))
    found = {state: number for state, number in rows}  # noqa: C416 - dict() of rows is untyped
    found["completed"] -= sum(number for state, number in found.items() if state != "completed")
    return {state: number for state, number in found.items() if number}


def waiting_by_lane(connection: Connection) -> dict[str, int]:
    """Return how many queued and retrying jobs there are in each lane that has some."""
    waiting = select(jobs.c.lane, func.count()).where(jobs.c.state.in_(("queued", "retrying"))).group_by(jobs.c.lane)
    return {lane: number for lane, number in connection.execute(waiting)}  # noqa: C416 - as above
