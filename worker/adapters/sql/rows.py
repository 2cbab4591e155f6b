"""Rows to records and back."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from worker.adapters.sql.schema import jobs, moment
from worker.core.record import ArtifactRecord, AttemptRecord, JobRecord, ProgressRecord, WorkerRecord

if TYPE_CHECKING:
    from collections.abc import Iterable

    from sqlalchemy import Row

    from worker.core.job import Job

LISTED = tuple(
    jobs.c[name]
    for name in (
        "job_id", "title", "state", "round", "lane", "priority", "dialect", "percent", "task", "fps", "speed",
        "eta_seconds", "manifest_url", "thumbnail_url", "error", "error_type", "facts", "metrics", "created_at",
        "started_at", "finished_at",
    )
)  # fmt: skip
"""The columns of a job in a list: all that people read, without the document, which may be a megabyte."""


def fresh_row(job: Job, digest: str, lane: str, priority: str) -> dict[str, Any]:
    """Return the values of a queued job of which the database knew nothing."""
    document = job.document()
    return {
        "job_id": job.job_id,
        "title": job.title,
        "state": "queued",
        "round": 1,
        "epoch": 0,
        "failures": 0,
        "crashes": 0,
        "lane": lane,
        "priority": priority,
        "dialect": job.dialect,
        "digest": digest,
        "document": document,
        "callback_url": document.get("callback_url"),
        "facts": dict(job.facts),
        **blank(),
    }


def tombstone(job_id: str) -> dict[str, Any]:
    """Return the values of a job that was cancelled before anybody heard of it."""
    return {
        "job_id": job_id,
        "title": "",
        "state": "cancelled",
        "round": 1,
        "epoch": 0,
        "failures": 0,
        "crashes": 0,
        "lane": "",
        "priority": "",
        "dialect": "",
        "digest": "",
        "document": {},
        "facts": {},
        "finished_at": moment(),
        **blank(),
    }


def blank() -> dict[str, Any]:
    """Return the values that every new row begins with."""
    return {
        "cancel_requested": False,
        "metrics": {},
        "pending_deletions": [],
        "refused_by": [],
        "created_at": moment(),
    }


def job_record(
    row: Row[*tuple[Any, ...]],
    attempts: Iterable[Row[*tuple[Any, ...]]] = (),
    artifacts: Iterable[Row[*tuple[Any, ...]]] = (),
    document: Any = None,
) -> JobRecord:
    """Return the record of a job from its row and those of its attempts and artifacts."""
    plain = ("percent", "task", "fps", "speed", "eta_seconds")
    values = row._mapping  # noqa: SLF001 - SQLAlchemy's public name for a row as a mapping
    return JobRecord(
        **{column.name: values[column.name] for column in LISTED if column.name not in plain},
        progress=ProgressRecord(**{name: values[name] for name in plain}),
        attempts=[AttemptRecord.model_validate(_known(item, AttemptRecord)) for item in attempts],
        artifacts=[ArtifactRecord.model_validate(_known(item, ArtifactRecord)) for item in artifacts],
        document=document or {},
    )


def worker_record(row: Row[*tuple[Any, ...]], *, offline: bool) -> WorkerRecord:
    """Return the record of a worker, `offline` when it has been silent for too long."""
    values = _known(row, WorkerRecord)
    return WorkerRecord.model_validate(values | {"status": "offline"} if offline else values)


def _known(row: Row[*tuple[Any, ...]], model: type[AttemptRecord | ArtifactRecord | WorkerRecord]) -> dict[str, Any]:
    values = row._mapping  # noqa: SLF001 - as above
    return {name: values[name] for name in model.model_fields if name in values}
