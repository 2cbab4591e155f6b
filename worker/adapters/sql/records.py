"""Records from the values of rows, whoever read them: no SQLAlchemy here."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final, Protocol

from worker.core.record import (
    ArtifactRecord,
    AttemptRecord,
    JobRecord,
    PartRecord,
    ProgressRecord,
    WorkerRecord,
    with_parts,
)

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

MODULES_SEPARATOR: Final = "\n"
"""Stands between the names in a job's column `modules`, and before the first and after the last."""

LISTED_COLUMNS: Final = (
    "job_id", "title", "state", "round", "lane", "priority", "dialect", "percent", "task", "fps", "speed",
    "eta_seconds", "manifest_url", "thumbnail_url", "error", "error_type", "facts", "metrics", "created_at",
    "started_at", "finished_at", "not_before", "callback_state", "callback_error", "modules",
)  # fmt: skip
"""The columns of a job in a list: all that people read, without the document, which may be a megabyte."""
WHOLE_COLUMNS: Final = (*LISTED_COLUMNS, "document", "plan", "refused_by")
"""The columns of a job that is looked at alone."""
PART_COLUMNS: Final = ("job_id", "part_index", "part_frames", "state", "owner", "percent", "fps", "error")

_PROGRESS: Final = ("percent", "task", "fps", "speed", "eta_seconds")
_RENAMED: Final = ("not_before", "callback_state", "callback_error", "modules")


class Values(Protocol):
    """The columns of a row by name, as SQLAlchemy and as Python's driver give them."""

    def __getitem__(self, column: str, /) -> Any:
        """Return the value of a column."""

    def __contains__(self, column: object, /) -> bool:
        """Return whether the row has it."""


def whole_record(
    job: Values,
    attempts: Iterable[Values],
    artifacts: Iterable[Values],
    parts: Sequence[PartRecord],
) -> JobRecord:
    """Return the record of a job that is looked at alone, from its `WHOLE_COLUMNS` and the rows of what it has."""
    record = job_record(job, attempts, artifacts, job["document"])
    record = record.model_copy(update={"refused_by": refusals_of(job["refused_by"])})
    if not job["plan"]:
        return record
    # An older plan may have had more parts, whose rows are there still.
    count = len((job["plan"].get("plan") or {}).get("parts", ()))
    return with_parts(record, [part for part in parts if part.index < count])


def job_record(
    job: Values,
    attempts: Iterable[Values] = (),
    artifacts: Iterable[Values] = (),
    document: Any = None,
) -> JobRecord:
    """Return the record of a job from its `LISTED_COLUMNS` and the rows of its attempts and artifacts."""
    return JobRecord(
        **{name: job[name] for name in LISTED_COLUMNS if name not in _PROGRESS + _RENAMED},
        modules=job["modules"].split(MODULES_SEPARATOR)[1:-1],
        retry_at=job["not_before"] if job["state"] == "retrying" else None,
        callback=job["callback_state"],
        callback_error=job["callback_error"],
        progress=ProgressRecord(**{name: job[name] for name in _PROGRESS}),
        attempts=[attempt_record(item) for item in attempts],
        artifacts=[artifact_record(item) for item in artifacts],
        document=document or {},
    )


def refusals_of(stored: Any) -> dict[str, str]:
    """Return who cannot do a job, with what each lacks; a worker of an older release stored a list of names."""
    refusing = stored if isinstance(stored, dict) else dict.fromkeys(stored or (), "")
    return {str(worker): str(lacking) for worker, lacking in refusing.items()}


def attempt_record(values: Values) -> AttemptRecord:
    """Return the record of an attempt."""
    return AttemptRecord.model_validate(_fields(values, AttemptRecord))


def artifact_record(values: Values) -> ArtifactRecord:
    """Return the record of an artifact."""
    return ArtifactRecord.model_validate(_fields(values, ArtifactRecord))


def worker_record(values: Values, *, offline: bool) -> WorkerRecord:
    """Return the record of a worker, `offline` when it has been silent for too long."""
    fields = _fields(values, WorkerRecord)
    return WorkerRecord.model_validate(fields | {"status": "offline"} if offline else fields)


def part_records(rows: Iterable[Values]) -> list[PartRecord]:
    """Return the parts of a job from their rows in order, each once: its copy where that is first or goes on alone."""
    chosen: dict[int, Values] = {}
    for row in rows:
        known = chosen.get(row["part_index"])
        if known is None or part_rank(row["state"]) < part_rank(known["state"]):
            chosen[row["part_index"]] = row
    return [
        PartRecord(
            job_id=row["job_id"],
            index=row["part_index"],
            frames=row["part_frames"] or 0,
            state=row["state"],
            worker=row["owner"],
            percent=100.0 if row["state"] == "completed" else row["percent"],
            fps=row["fps"],
            error=row["error"],
        )
        for row in chosen.values()
    ]


def part_rank(state: str) -> int:
    """Return which row of a part that is made twice stands for it: the one with the lowest rank, then the first."""
    return 0 if state == "completed" else 2 if state in {"dead", "cancelled"} else 1


def _fields(values: Values, model: type[AttemptRecord | ArtifactRecord | WorkerRecord]) -> dict[str, Any]:
    return {name: values[name] for name in model.model_fields if name in values}
