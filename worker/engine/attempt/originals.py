"""Files that a job replaces or deletes: noted before it happens, kept meanwhile, put back after an interruption."""

from __future__ import annotations

import contextlib
import hashlib
from typing import TYPE_CHECKING

import structlog

from worker.core.attempt import job_mark
from worker.core.errors import LeveretError
from worker.core.ports.originals import Original

if TYPE_CHECKING:
    from collections.abc import Sequence

    from worker.core.attempt import Artifact, Attempt
    from worker.core.ports import Confirm, Repository
    from worker.core.ports.originals import OriginalKeeper
    from worker.engine.storages import Storages

log = structlog.get_logger(__name__)


def token_of(job_id: str, uri: str) -> str:
    """Return the mark that a job's original has among those of others in one folder."""
    return f"{job_mark(job_id)}-{hashlib.sha256(uri.encode(errors='replace')).hexdigest()[:12]}"


async def plan_replaced(
    repository: Repository, storages: Storages, attempt: Attempt, artifacts: Sequence[Artifact]
) -> list[Original]:
    """Return what this job is about to replace, noted in the database.

    It is asked before the outputs are announced: what an earlier attempt announced, and noted no original of, was
    not there then, so that what is there is the job's own.
    """
    job_id = attempt.job.job_id
    fixed = [one for one in artifacts if not one.immutable and storages.place(one.uri).scheme in storages.keepers]
    if not fixed or attempt.job.part is not None:
        return []
    ours = await repository.planned(job_id) if attempt.epoch > 1 else frozenset()
    fresh = []
    for artifact in fixed:
        place = storages.place(artifact.uri)
        found = None if artifact.uri in ours else await storages.serving(place).stat(place)
        if found is not None:
            new = (artifact.bytes, artifact.sha256)
            fresh.append(Original(job_id, artifact.uri, found.bytes, found.version, *new))
    await repository.plan_originals(fresh)
    known = await repository.originals(job_id) if attempt.epoch > 1 else fresh
    uris = {artifact.uri for artifact in fixed}
    return [one for one in known if one.uri in uris and one.state == "planned"]


async def keep_replaced(storages: Storages, planned: Sequence[Original]) -> None:
    """Keep what is about to be replaced: nothing that a reader sees changes."""
    for original in planned:
        place = storages.place(original.uri)
        await storages.keepers[place.scheme].keep(place, token_of(original.job_id, original.uri), move=False)


async def note_kept(repository: Repository, planned: Sequence[Original]) -> None:
    """Note that the originals of a recorded job are kept; what cannot be noted now, a chore notes later."""
    try:
        for original in planned:
            await repository.set_original(original.job_id, original.uri, "kept")
    except LeveretError as error:
        log.warning("original_not_noted", error=str(error))


async def keep_deleted(repository: Repository, storages: Storages, job_id: str, uri: str) -> bool:
    """Return whether the file is kept instead of deleted; a redelivery finds that it was, and touches nothing."""
    place = storages.place(uri)
    keeper = storages.keepers.get(place.scheme)
    if keeper is None:
        return False
    noted = next((one for one in await repository.originals(job_id) if one.uri == uri and one.is_deletion), None)
    if noted is not None and noted.state != "planned":
        return True
    if noted is None:
        found = await storages.serving(place).stat(place)
        if found is None:
            return True
        await repository.plan_originals([Original(job_id, uri, found.bytes, found.version)])
    await keeper.keep(place, token_of(job_id, uri), move=True)
    await repository.set_original(job_id, uri, "kept")
    return True


async def restore_interrupted(repository: Repository, storages: Storages, attempt: Attempt, confirm: Confirm) -> None:
    """Put back what an earlier attempt replaced and never recorded: this one begins with what that one began with.

    `confirm` is awaited before each: a worker that was stopped here meanwhile may have a successor that has published.
    """
    if attempt.epoch == 1 or not storages.keepers or attempt.job.part is not None:
        return
    for original in await repository.originals(attempt.job.job_id):
        place = storages.place(original.uri)
        keeper = storages.keepers.get(place.scheme)
        if original.state != "planned" or original.is_deletion or keeper is None:
            continue
        token = token_of(original.job_id, original.uri)
        if await keeper.kept(place, token) is None:
            continue
        found = await storages.serving(place).stat(place)
        # Another file than ours has been put there since: it is not ours to replace.
        if found is None or found.bytes == original.new_bytes:
            await confirm()
            await keeper.put_back(place, token, replace=True)
            log.warning("original_restored", job_id=original.job_id, uri=original.uri)


async def drop_useless(keeper: OriginalKeeper, storages: Storages, original: Original) -> bool:
    """Return whether a planned original needs no keeping: it was never kept, or it is still at its place."""
    place = storages.place(original.uri)
    token = token_of(original.job_id, original.uri)
    kept = await keeper.kept(place, token)
    if kept is None:
        return True
    with contextlib.suppress(LeveretError):
        found = await storages.serving(place).stat(place)
        if found is not None and found.version == original.version:
            await keeper.drop(place, token)
            return True
    return False
