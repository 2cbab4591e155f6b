"""Two statements in one, for PostgreSQL: a round trip costs there what a statement costs.

SQLite changes no row within a WITH, and needs no round trip.
"""

from __future__ import annotations

from functools import lru_cache
from typing import TYPE_CHECKING, Any

from sqlalchemy import ColumnElement, bindparam, insert, select, update

from worker.adapters.sql.database.statements import OneStatement, insert_of
from worker.adapters.sql.schema import attempts, jobs

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from sqlalchemy import Insert, Select, Table

    Shape = tuple[tuple[str, ColumnElement[Any] | None], ...]
    """The columns of a row and their expressions, None for a constant: what a compiled statement depends on."""

_JOB = "job_value_"
_ATTEMPT = "attempt_value_"


def job_and_attempt(
    job: Mapping[str, Any], attempt: Mapping[str, Any], returned: tuple[ColumnElement[Any], ...]
) -> OneStatement:
    """Return what inserts a job that has no row yet, and its first attempt, of which `returned` is its row.

    It has no row where the job has one.
    """
    statement = _insertion(_shape(job), _shape(attempt), returned)
    return OneStatement(statement, _constants(job, _JOB) | _constants(attempt, _ATTEMPT))


def change_of_job_and_attempt(
    conditions: tuple[ColumnElement[bool], ColumnElement[bool]],
    names: Mapping[str, Any],
    job: Mapping[str, Any],
    attempt: Mapping[str, Any],
) -> OneStatement:
    """Return what sets the values of a job, and of its attempt if there is such a job; no row if there is none.

    `conditions` choose the job and the attempt, by the parameters `names`.
    """
    statement = _change(_shape(job), _shape(attempt), conditions)
    return OneStatement(statement, dict(names) | _constants(job, _JOB) | _constants(attempt, _ATTEMPT))


@lru_cache(maxsize=256)
def _insertion(job: Shape, attempt: Shape, returned: Sequence[ColumnElement[Any]]) -> Insert:
    inserted = (
        insert_of("postgresql", jobs)
        .values(_bound(jobs, job, _JOB))
        .on_conflict_do_nothing()
        .returning(jobs.c.job_id)
        .cte("inserted")
    )
    values = _bound(attempts, attempt, _ATTEMPT) | {"job_id": inserted.c.job_id}
    chosen: Any = select(*values.values())
    return insert(attempts).from_select(list(values), chosen).returning(*returned)


@lru_cache(maxsize=256)
def _change(
    job: Shape, attempt: Shape, conditions: tuple[ColumnElement[bool], ColumnElement[bool]]
) -> Select[tuple[str]]:
    ours, opened = conditions
    changed = update(jobs).where(ours).values(_bound(jobs, job, _JOB)).returning(jobs.c.job_id).cte("changed")
    closed = (
        update(attempts)
        .where(opened, attempts.c.job_id == changed.c.job_id)
        .values(_bound(attempts, attempt, _ATTEMPT))
        .returning(attempts.c.epoch)
        .cte("closed")
    )
    return select(changed.c.job_id).add_cte(closed)


def _shape(values: Mapping[str, Any]) -> Shape:
    return tuple((name, value if isinstance(value, ColumnElement) else None) for name, value in values.items())


def _constants(values: Mapping[str, Any], prefix: str) -> dict[str, Any]:
    return {f"{prefix}{name}": value for name, value in values.items() if not isinstance(value, ColumnElement)}


def _bound(table: Table, shape: Shape, prefix: str) -> dict[str, Any]:
    return {
        name: bindparam(f"{prefix}{name}", type_=table.c[name].type) if expression is None else expression
        for name, expression in shape
    }
