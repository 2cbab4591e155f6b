"""The page's own questions in SQL."""

from __future__ import annotations

import hashlib
import json
import statistics
from typing import TYPE_CHECKING, Any, Final

from sqlalchemy import case, delete, func, insert, literal, select, union_all

from worker.adapters.sql.database import ANSWER_SECONDS, Database
from worker.adapters.sql.records import artifact_record, job_record, refusals_of
from worker.adapters.sql.rows import LISTED
from worker.adapters.sql.schema import WHOLE, artifacts, audit, jobs, moment, samples, workers
from worker.core.record import STATES, TERMINAL, ArtifactRecord
from worker.core.views import AuditEntry, Changes, Expectation, LaneDepth, ResultView, Sample, WaitingJob

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from sqlalchemy import Connection

    from worker.adapters.sql.records import Values
    from worker.core.record import JobRecord

ACTIVE: Final = ("running", "publishing", "retrying")
WAITING: Final = ("queued", "retrying")
OPEN: Final = tuple(state for state in STATES if state not in TERMINAL)
DONE: Final = (jobs.c.state == "completed") & WHOLE
"""Whole jobs: a part is no result, and says nothing of what a job takes."""
MAX_ACTIVE: Final = 500
MAX_WATCHED: Final = 500
SIMILAR: Final = 30
SHOWN_ROLES: Final = ("manifest", "poster", "video", "file", "log")
MAX_AUDIT: Final = 100_000


class SqlViews:
    """`worker.core.ports.views.Views`, each method one transaction over connections of its own."""

    def __init__(self, url: str, seconds: float = ANSWER_SECONDS) -> None:
        self._database = Database(url, seconds)

    async def changes(self, watched: Iterable[str]) -> Changes:
        """Return what shows whether the fleet, or one of the `watched` jobs, changed."""
        return await self._database.read(changes, sorted(set(watched))[:MAX_WATCHED])

    async def waiting(self, limit: int) -> list[WaitingJob]:
        """Return the jobs that wait, in the order in which a worker would take them."""
        return await self._database.read(waiting, limit)

    async def depths(self) -> list[LaneDepth]:
        """Return how many jobs, and how many parts of jobs, wait in each lane at each priority where some do."""
        return await self._database.read(depths)

    async def parts(self, job_ids: Iterable[str]) -> list[JobRecord]:
        """Return those of these jobs that are parts of others: no list has them."""
        return await self._database.read(parts, sorted(set(job_ids))[:MAX_WATCHED])

    async def results(self, limit: int) -> list[ResultView]:
        """Return the newest completed jobs with what a page shows of them."""
        return await self._database.read(results, limit)

    async def expectation(self, modules: Sequence[str]) -> Expectation | None:
        """Return what the newest completed jobs of these modules took; None when there are none."""
        return await self._database.read(expectation, list(modules))

    async def note(
        self, *, actor: str, role: str, client: str, action: str, target: str, detail: dict[str, Any], outcome: str
    ) -> None:
        """Write down who did what."""
        entry = {"actor": actor, "role": role, "client": client, "action": action, "target": target[:300]}
        await self._database.write(note, entry | {"detail": detail, "outcome": outcome[:500]})

    async def audit(self, limit: int, before: int | None = None, target: str | None = None) -> list[AuditEntry]:
        """Return the newest entries first, those below the number `before`, or of one target."""
        return await self._database.read(entries, limit, before, target)

    async def sample(self, keep_seconds: float) -> None:
        """Store what each worker measured last, and forget what is older than `keep_seconds`."""
        await self._database.write_relaxed(sample, keep_seconds)

    async def samples(self, worker_id: str, limit: int) -> list[Sample]:
        """Return a worker's newest samples, oldest first."""
        return await self._database.read(newest_samples, worker_id, limit)

    async def close(self) -> None:
        """Close every connection."""
        await self._database.close()


def changes(connection: Connection, watched: list[str]) -> Changes:
    """Return digests of the rows that a page shows; nothing of them is kept between two looks.

    Only jobs that have not ended are counted: of those that have, the last end says whether there is another one.
    """
    open_jobs = select(jobs.c.state, func.count()).where(jobs.c.state.in_(OPEN))
    counts = connection.execute(open_jobs.group_by(jobs.c.state).order_by(jobs.c.state))
    newest = connection.execute(select(func.max(jobs.c.created_at))).scalar_one()
    last = connection.execute(select(func.max(jobs.c.finished_at))).scalar_one()
    columns = (jobs.c.job_id, jobs.c.state, jobs.c.epoch, jobs.c.round, jobs.c.percent, jobs.c.task, jobs.c.error)
    # In the order of the index of states: by id SQLite would walk through every job there is.
    order = (jobs.c.state, jobs.c.created_at, jobs.c.job_id)
    active = select(*columns).where(jobs.c.state.in_(ACTIVE)).order_by(*order).limit(MAX_ACTIVE)
    live = connection.execute(active).all()
    beats = select(workers.c.worker_id, workers.c.status, workers.c.wanted, workers.c.job_id, workers.c.seen_at)
    fleet = connection.execute(beats.order_by(workers.c.worker_id)).all()
    looked = (*map(tuple, counts), newest, last, *map(tuple, live), *map(tuple, fleet))
    asked = connection.execute(select(*columns).where(jobs.c.job_id.in_(watched))) if watched else ()
    return Changes(fleet=_digest(looked), jobs={row.job_id: _digest(tuple(row)) for row in asked})


def _digest(values: tuple[object, ...]) -> str:
    return hashlib.sha256(repr(values).encode()).hexdigest()[:20]


def waiting(connection: Connection, limit: int) -> list[WaitingJob]:
    """Return the jobs that wait, high priority first, then the oldest: one index walk a priority; no parts of jobs."""
    order = case({"high": 0, "normal": 1, "low": 2}, value=jobs.c.priority, else_=3)
    walks = [
        select(jobs.c.job_id, order.label("rank"), jobs.c.created_at)
        .where((jobs.c.state == state) & (jobs.c.priority == priority) & WHOLE)
        .order_by(jobs.c.created_at)
        .limit(limit)
        .subquery()
        for state in WAITING
        for priority in ("high", "normal", "low")
    ]
    first = union_all(*(select(walk) for walk in walks)).subquery()
    ids = select(first.c.job_id).order_by(first.c.rank, first.c.created_at).limit(limit)
    wanted = list(connection.execute(ids).scalars())
    rows = select(*LISTED, jobs.c.not_before, jobs.c.refused_by, moment().label("now")).where(jobs.c.job_id.in_(wanted))
    found = {row["job_id"]: row for row in connection.execute(rows).mappings()}
    return [_waiting(found[job_id]) for job_id in wanted if job_id in found]


def _waiting(row: Values) -> WaitingJob:
    due = None
    if row["state"] == "retrying" and row["not_before"] is not None:
        due = max(0.0, (row["not_before"] - row["now"]).total_seconds())
    return WaitingJob(job=job_record(row), due_seconds=due, refused_by=refusals_of(row["refused_by"]))


def depths(connection: Connection) -> list[LaneDepth]:
    """Return how many jobs and parts wait by lane and priority.

    All are counted in an index that does not know which are parts; those are few, and found by their jobs.
    """
    waits, parent = jobs.c.state.in_(WAITING), jobs.alias("parent")
    route, route_of_parts = (jobs.c.lane, jobs.c.priority), (parent.c.lane, parent.c.priority)
    everything = select(*route, func.count()).where(waits).group_by(*route)
    counts = (func.count().label("parts"), func.count(parent.c.job_id.distinct()).label("divided"))
    of_parts = select(*route_of_parts, *counts).join(parent, parent.c.job_id == jobs.c.parent_id)
    divided = of_parts.where(waits & (parent.c.state == "waiting")).group_by(*route_of_parts)
    found = {(row.lane, row.priority): row for row in connection.execute(divided)}
    return [
        LaneDepth(lane=lane, priority=priority, waiting=count)
        if (ours := found.get((lane, priority))) is None
        else LaneDepth(lane=lane, priority=priority, waiting=count - ours.parts, parts=ours.parts, divided=ours.divided)
        for lane, priority, count in connection.execute(everything)
    ]


def parts(connection: Connection, wanted: list[str]) -> list[JobRecord]:
    """Return those of these jobs that are parts."""
    rows = select(*LISTED).where(jobs.c.job_id.in_(wanted) & jobs.c.parent_id.is_not(None))
    return [job_record(row) for row in connection.execute(rows).mappings()]


def results(connection: Connection, limit: int) -> list[ResultView]:
    """Return the newest completed jobs and those artifacts of theirs that a page shows."""
    newest = select(*LISTED).where(DONE).order_by(jobs.c.created_at.desc()).limit(limit)
    rows = connection.execute(newest).mappings().all()
    shown = select(artifacts).where(
        artifacts.c.job_id.in_([row["job_id"] for row in rows]) & artifacts.c.role.in_(SHOWN_ROLES)
    )
    made: dict[str, list[ArtifactRecord]] = {}
    for one in connection.execute(shown.order_by(artifacts.c.position)).mappings():
        made.setdefault(one["job_id"], []).append(artifact_record(one))
    return [ResultView(job=job_record(row), artifacts=made.get(row["job_id"], [])) for row in rows]


def expectation(connection: Connection, modules: list[str]) -> Expectation | None:
    """Return the middle of what the newest similar jobs took."""
    done = (
        select(jobs.c.job_id, jobs.c.metrics, jobs.c.document)
        .where(DONE)
        .order_by(jobs.c.created_at.desc())
        .limit(SIMILAR * 4)
    )
    ids, seconds = [], []
    for row in connection.execute(done):
        own = [str(task.get("module")) for task in (row.document or {}).get("tasks", ())]
        took = (row.metrics or {}).get("total_seconds")
        if own == modules and isinstance(took, (int, float)):
            ids.append(row.job_id)
            seconds.append(float(took))
    ids, seconds = ids[:SIMILAR], seconds[:SIMILAR]
    if not seconds:
        return None
    sizes = select(func.sum(artifacts.c.bytes)).where(artifacts.c.job_id.in_(ids)).group_by(artifacts.c.job_id)
    made = [float(size) for size in connection.execute(sizes).scalars()]
    middle = statistics.median(made) if made else None
    return Expectation(jobs=len(seconds), seconds=statistics.median(seconds), output_bytes=middle)


def note(connection: Connection, values: dict[str, Any]) -> None:
    """Write down who did what; the oldest of very many go."""
    number = connection.execute(insert(audit).values(**values, at=moment()).returning(audit.c.number)).scalar_one()
    if number % 1000 == 0:
        connection.execute(delete(audit).where(audit.c.number <= number - MAX_AUDIT))


def entries(connection: Connection, limit: int, before: int | None, target: str | None) -> list[AuditEntry]:
    """Return the newest entries first."""
    newest = select(audit).order_by(audit.c.number.desc()).limit(limit)
    if before is not None:
        newest = newest.where(audit.c.number < before)
    if target is not None:
        newest = newest.where(audit.c.target == target)
    return [AuditEntry.model_validate(row) for row in connection.execute(newest).mappings()]


def sample(connection: Connection, keep_seconds: float) -> None:
    """Store what each worker that lives measured last, once for each of its beats."""
    beats = select(workers.c.worker_id, workers.c.seen_at, workers.c.hardware)
    for row in connection.execute(beats.where(workers.c.seen_at > moment(-keep_seconds))).all():
        measured = row.hardware if isinstance(row.hardware, dict) else json.loads(row.hardware or "{}")
        known = select(literal(1)).where((samples.c.worker_id == row.worker_id) & (samples.c.at == row.seen_at))
        if connection.execute(known).first() is None:
            values = {name: measured.get(name, 0) for name in ("cpu_percent", "ram_percent", "disk_free_bytes")}
            connection.execute(insert(samples).values(worker_id=row.worker_id, at=row.seen_at, **values))
    connection.execute(delete(samples).where(samples.c.at < moment(-keep_seconds)))


def newest_samples(connection: Connection, worker_id: str, limit: int) -> list[Sample]:
    """Return a worker's newest samples, oldest first."""
    newest = select(samples).where(samples.c.worker_id == worker_id).order_by(samples.c.at.desc()).limit(limit)
    return [Sample.model_validate(row) for row in connection.execute(newest).mappings()][::-1]
