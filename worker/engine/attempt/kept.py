"""Encoded files that outlive a failed upload, so that the next attempt on this host only uploads."""

from __future__ import annotations

import json
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import structlog

from worker.core.attempt import Artifact, Result
from worker.core.errors import LeveretError

if TYPE_CHECKING:
    from worker.core.attempt import Attempt
    from worker.core.ports import Kept, Repository

KEEP_SECONDS: Final = 6 * 3600.0

log = structlog.get_logger(__name__)


async def keep_files(repository: Repository, attempt: Attempt, folder: Path, result: Result) -> bool:
    """Keep the encoded files; return whether they are kept."""
    document = json.loads(json.dumps(asdict(result), default=str))
    try:
        await repository.keep(attempt, str(folder), [document], KEEP_SECONDS)
    except LeveretError:
        return False
    return True


async def kept_files(repository: Repository, attempt: Attempt) -> Kept | None:
    """Return what an earlier attempt of this worker left for us."""
    if attempt.epoch == 1:
        return None
    return await repository.kept(attempt.job.job_id, attempt.worker)


def kept_result(kept: Kept | None, job_id: str) -> Result | None:
    """Return the result that `kept` describes, if every file of it is still there in full."""
    if kept is None:
        return None
    result = _result_of(dict(kept.artifacts[0]))
    for artifact in result.artifacts:
        if not artifact.path.is_file() or artifact.path.stat().st_size != artifact.bytes:
            return None
    log.info("kept_files_used", job_id=job_id, folder=kept.folder)
    return result


def _result_of(document: dict[str, Any]) -> Result:
    artifacts = tuple(Artifact(**(item | {"path": Path(item["path"])})) for item in document.pop("artifacts"))
    pairs = tuple((name, seconds) for name, seconds in document.pop("task_seconds"))
    return Result(
        **(document | {"artifacts": artifacts, "task_seconds": pairs, "deletions": tuple(document["deletions"])})
    )
