"""Rows to records and back."""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING, Any, Final

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
        "started_at", "finished_at", "not_before", "callback_state", "callback_error", "modules",
    )
)  # fmt: skip
"""The columns of a job in a list: all that people read, without the document, which may be a megabyte."""


_MODULES: Final = 400
_SEARCHED: Final = 300
"""Characters at most: an entry of PostgreSQL's indexes has 2,704 bytes."""
_BETWEEN: Final = "\n"


def within_modules(module: str) -> str:
    """Return how a job's `modules` hold the name of one."""
    return f"{_BETWEEN}{module}{_BETWEEN}"


def _modules(job: Job) -> str:
    """Return the names of the job's modules, each once, as one text that a filter can look into."""
    names = dict.fromkeys(" ".join(task.module.split()) for task in job.tasks)
    kept, room = [], _MODULES - 1
    for name in names:
        # A name that is no module's may be long, and in any script.
        room -= len(name.encode(errors="surrogatepass")) + 1
        if room >= 0:
            kept.append(name)
    return f"{_BETWEEN}{_BETWEEN.join(kept)}{_BETWEEN}"


def searched(title: str, job_id: str) -> str:
    """Return the text in which lists of jobs look for a part of a title or an id."""
    return f"{job_id}{_BETWEEN}{title}".casefold()[:_SEARCHED]


def uri_key(uri: str) -> str:
    """Return what an index holds of a URI, which may be longer than it takes."""
    return hashlib.sha256(uri.encode(errors="replace")).hexdigest()


def fresh_row(job: Job, digest: str, lane: str, priority: str) -> dict[str, Any]:
    """Return the values of a queued job of which the database knew nothing."""
    return {
        "job_id": job.job_id,
        "state": "queued",
        "round": 1,
        "epoch": 0,
        "failures": 0,
        "crashes": 0,
        "lane": lane,
        "priority": priority,
        "digest": digest,
        **of_document(job),
        **blank(),
    }


def of_document(job: Job) -> dict[str, Any]:
    """Return the columns that a job's document alone says."""
    document = job.document()
    return {
        "title": job.title,
        "dialect": job.dialect,
        "document": document,
        "callback_url": document.get("callback_url"),
        "facts": dict(job.facts),
        "modules": _modules(job),
        "searched": searched(job.title, job.job_id),
    }


def tombstone(job_id: str) -> dict[str, Any]:
    """Return the values of a job that was cancelled before any worker had it."""
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
        "modules": "",
        "searched": searched("", job_id),
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
    own = ("not_before", "callback_state", "callback_error", "modules")
    values = row._mapping  # noqa: SLF001 - SQLAlchemy's public name for a row as a mapping
    return JobRecord(
        **{column.name: values[column.name] for column in LISTED if column.name not in plain + own},
        modules=values["modules"].split(_BETWEEN)[1:-1],
        retry_at=values["not_before"] if values["state"] == "retrying" else None,
        callback=values["callback_state"],
        callback_error=values["callback_error"],
        progress=ProgressRecord(**{name: values[name] for name in plain}),
        attempts=[attempt_record(item) for item in attempts],
        artifacts=[artifact_record(item) for item in artifacts],
        document=document or {},
    )


def refusals_of(stored: Any) -> dict[str, str]:
    """Return who cannot do a job, with what each lacks; a worker of an older release stored a list of names."""
    said = stored if isinstance(stored, dict) else dict.fromkeys(stored or (), "")
    return {str(worker): str(lacking) for worker, lacking in said.items()}


def attempt_record(row: Row[*tuple[Any, ...]]) -> AttemptRecord:
    """Return the record of an attempt."""
    return AttemptRecord.model_validate(_known(row, AttemptRecord))


def artifact_record(row: Row[*tuple[Any, ...]]) -> ArtifactRecord:
    """Return the record of an artifact."""
    return ArtifactRecord.model_validate(_known(row, ArtifactRecord))


def worker_record(row: Row[*tuple[Any, ...]], *, offline: bool) -> WorkerRecord:
    """Return the record of a worker, `offline` when it has been silent for too long."""
    values = _known(row, WorkerRecord)
    return WorkerRecord.model_validate(values | {"status": "offline"} if offline else values)


def _known(row: Row[*tuple[Any, ...]], model: type[AttemptRecord | ArtifactRecord | WorkerRecord]) -> dict[str, Any]:
    values = row._mapping  # noqa: SLF001 - as above
    return {name: values[name] for name in model.model_fields if name in values}
