"""Second copies of parts that are slow: which parts, and their rows."""

from __future__ import annotations

from statistics import median
from typing import TYPE_CHECKING, Final

from sqlalchemy import delete, select, update

from worker.adapters.sql.attempts.fence import close_attempt, ended
from worker.adapters.sql.database.statements import upsert
from worker.adapters.sql.parts.outbox import write_message
from worker.adapters.sql.rows import fresh_row
from worker.adapters.sql.schema import artifacts, attempts, jobs, moment
from worker.core.ports.parts import SlowPart

if TYPE_CHECKING:
    from collections.abc import Collection, Sequence

    from sqlalchemy import Connection

    from worker.core.ports.parts import PlannedPart

SLOWER: Final = 2.0
"""The factor by which a part runs longer than its neighbours before it is made twice."""
_FEWEST: Final = 2
"""The number of neighbours that must be made before anybody can say what is slow."""


def slow_parts(connection: Connection, worker: str, lanes: Collection[str], seconds: float) -> list[SlowPart]:
    """Return the parts that others make for over `seconds`, twice as long a frame as their neighbours took.

    None while anything waits in these lanes, or where a part is made twice already.
    """
    here = jobs.c.lane.in_(list(lanes))
    if connection.execute(select(jobs.c.job_id).where((jobs.c.state == "queued") & here)).first():
        return []
    parent, other = jobs.alias("parent"), jobs.alias("other")
    twice = select(other.c.job_id).where(
        (other.c.parent_id == jobs.c.parent_id)
        & (other.c.part_index == jobs.c.part_index)
        & (other.c.job_id != jobs.c.job_id)
    )
    ours = (jobs.c.state == "running") & here & (jobs.c.owner != worker) & (jobs.c.part_frames > 0)
    found = connection.execute(
        select(
            jobs.c.job_id, jobs.c.parent_id, jobs.c.part_index, jobs.c.part_frames, jobs.c.document,
            attempts.c.started_at, moment().label("now"),
        )
        .join(attempts, (attempts.c.job_id == jobs.c.job_id) & (attempts.c.epoch == jobs.c.epoch))
        .join(parent, parent.c.job_id == jobs.c.parent_id)
        .where(ours & (parent.c.state == "waiting") & (attempts.c.started_at <= moment(-seconds)) & ~twice.exists())
        .order_by(attempts.c.started_at)
    )  # fmt: skip
    return [
        SlowPart(row.job_id, row.parent_id, row.part_index, dict(row.document))
        for row in found
        if _is_slow((row.now - row.started_at).total_seconds() / row.part_frames, _paces(connection, row.parent_id))
    ]


def _is_slow(pace: float, paces: Sequence[float]) -> bool:
    return len(paces) >= _FEWEST and pace > SLOWER * median(paces)


def _paces(connection: Connection, parent_id: str) -> list[float]:
    """Return the seconds that each frame of the parts that are made took."""
    made = (jobs.c.parent_id == parent_id) & (jobs.c.state == "completed") & (jobs.c.part_frames > 0)
    found = connection.execute(
        select(attempts.c.started_at, attempts.c.ended_at, jobs.c.part_frames)
        .join(jobs, (attempts.c.job_id == jobs.c.job_id) & (attempts.c.epoch == jobs.c.epoch))
        .where(made & (attempts.c.outcome == "completed"))
    )
    return [(row.ended_at - row.started_at).total_seconds() / row.part_frames for row in found]


def copy_part(connection: Connection, slow: SlowPart, planned: PlannedPart) -> bool:
    """Insert the row of a part's copy, and write its message; False where it is not made any more, or made twice."""
    locked = select(jobs.c.state, jobs.c.lane, jobs.c.priority).where(jobs.c.job_id == slow.parent_id)
    parent = connection.execute(locked.with_for_update()).one_or_none()
    part = connection.execute(select(jobs.c.state, jobs.c.part_key).where(jobs.c.job_id == slow.job_id)).one_or_none()
    if parent is None or parent.state != "waiting" or part is None or part.state != "running":
        return False
    if part.part_key != planned.part.key:
        return False
    own = {"parent_id": slow.parent_id, "part_index": slow.index, "part_key": part.part_key}
    values = fresh_row(planned.job, planned.digest, parent.lane, parent.priority) | own
    frames = select(jobs.c.part_frames).where(jobs.c.job_id == slow.job_id).scalar_subquery()
    added = connection.execute(
        upsert(connection, jobs).values(**values, part_frames=frames).on_conflict_do_nothing().returning(jobs.c.job_id)
    )
    if added.one_or_none() is None:
        return False
    write_message(connection, planned.job.job_id, planned.body, "queued")
    return True


def end_copies(connection: Connection, ids: Collection[str]) -> None:
    """End copies whose parts are planned anew: no attempt of them counts any more."""
    for job_id in ids:
        epoch = connection.execute(select(jobs.c.epoch).where(jobs.c.job_id == job_id)).scalar_one()
        connection.execute(update(jobs).where(jobs.c.job_id == job_id).values(**ended("cancelled")))
        connection.execute(delete(artifacts).where(artifacts.c.job_id == job_id))
        close_attempt(connection, job_id, epoch, "interrupted", "its job was planned again")
