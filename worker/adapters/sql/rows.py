"""The values of rows that describe jobs."""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING, Any, Final

from worker.adapters.sql.records import LISTED_COLUMNS, MODULES_SEPARATOR
from worker.adapters.sql.schema import jobs, moment

if TYPE_CHECKING:
    from worker.core.job import Job

LISTED: Final = tuple(jobs.c[name] for name in LISTED_COLUMNS)


_MODULES: Final = 400
_SEARCHED: Final = 300
"""Characters at most: an entry of PostgreSQL's indexes has 2,704 bytes."""


def within_modules(module: str) -> str:
    """Return how a job's `modules` hold the name of one."""
    return f"{MODULES_SEPARATOR}{module}{MODULES_SEPARATOR}"


def _modules(job: Job) -> str:
    """Return the names of the job's modules, each once, as one text that a filter can look into."""
    names = dict.fromkeys(" ".join(task.module.split()) for task in job.tasks)
    kept, room = [], _MODULES - 1
    for name in names:
        # A name that is no module's may be long, and in any script.
        room -= len(name.encode(errors="surrogatepass")) + 1
        if room >= 0:
            kept.append(name)
    return f"{MODULES_SEPARATOR}{MODULES_SEPARATOR.join(kept)}{MODULES_SEPARATOR}"


def searched(title: str, job_id: str) -> str:
    """Return the text in which lists of jobs look for a part of a title or an id."""
    return f"{job_id}{MODULES_SEPARATOR}{title}".casefold()[:_SEARCHED]


def uri_key(uri: str) -> str:
    """Return what an index holds of a URI or a path, which may be longer than it takes."""
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
