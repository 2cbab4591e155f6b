"""The end of a job: the deletions it asked for, and the removal of files that are no part of its result."""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING, Final

import structlog

from worker.core.attempt import is_publish_folder
from worker.core.errors import LeveretError
from worker.engine.attempt.originals import keep_deleted

if TYPE_CHECKING:
    from collections.abc import Collection

    from worker.core.ports import Repository
    from worker.engine.storages import Storages

log = structlog.get_logger(__name__)

RECENT: Final = (20.0, 86400.0)
"""Seconds since the end of a job whose deletions a chore finishes; before that its own worker is at it."""


async def delete_requested(repository: Repository, storages: Storages, job_id: str, deletions: tuple[str, ...]) -> None:
    """Delete the external files that a completed job asked to delete, and note that it is done.

    What fails stays noted in the database: a redelivery, a chore, or `reconcile` tries again.
    """
    if not deletions:
        return
    failures = []
    for uri in deletions:
        try:
            await _delete(repository, storages, job_id, uri)
        except LeveretError as error:
            failures.append(error)
    try:
        if not failures:
            await repository.deleted(job_id)
    except LeveretError as error:
        failures.append(error)
    for failure in failures[:10]:
        log.warning("deletion_failed", job_id=job_id, failures=len(failures), error=str(failure))


async def finish_deletions(repository: Repository, storages: Storages) -> None:
    """Delete what completed jobs could not delete at their end: the database or a storage was away then.

    Only of jobs that ended within a day: later, somebody may have put another file at such a place.
    """
    for job_id, uris in (await repository.pending_deletions(RECENT)).items():
        await delete_requested(repository, storages, job_id, uris)


async def _delete(repository: Repository, storages: Storages, job_id: str, uri: str) -> None:
    """Delete a file, or hide it for a while where its storage can."""
    if not await keep_deleted(repository, storages, job_id, uri):
        await storages.delete(uri)


async def remove_leftovers(
    storages: Storages, job_id: str, announced: Collection[str], result: Collection[str] | None = None
) -> list[str]:
    """Remove what attempts of an ended job left: hidden files, and own folders outside `result`; return the URIs.

    A job without a result (`None`: dead, cancelled) keeps its own folders where a file is under one of its fixed
    names: an attempt may have revealed it and died before the record, and it may be a manifest that points there.
    """
    fixed = [uri for uri in announced if not is_of_an_attempt(uri)]
    keeps_all = result is None and await _any_is_there(storages, fixed)
    removed = []
    for uri in announced:
        with contextlib.suppress(LeveretError):
            await storages.sweep(uri, job_id)
            if is_of_an_attempt(uri) and not keeps_all and uri not in (result or ()):
                await storages.delete(uri)
                removed.append(uri)
    return removed


async def _any_is_there(storages: Storages, uris: Collection[str]) -> bool:
    """Return whether one of `uris` is there; a storage that does not say counts as yes."""
    try:
        for uri in uris:
            place = storages.place(uri)
            if await storages.serving(place).stat(place) is not None:
                return True
    except LeveretError:
        return True
    return False


def is_of_an_attempt(uri: str) -> bool:
    """Return whether a URI lies in some attempt's own folder (`…/e7-<job>/…`): only those are ours to remove."""
    return any(map(is_publish_folder, uri.split("/")[:-1]))
