"""A second copy of a part that one worker makes far too slowly: the first to be completed counts."""

from __future__ import annotations

import json
from hashlib import sha256
from typing import TYPE_CHECKING, Final

import structlog

from worker.core.errors import LeveretError
from worker.core.message.dialects import decode
from worker.core.parts import Plan, copy_id
from worker.core.ports.parts import PlannedPart
from worker.engine.parts.outbox import publish_outbox

if TYPE_CHECKING:
    from collections.abc import Collection

    from worker.core.ports.parts import SlowPart
    from worker.engine.resources import Resources

SLOW_SECONDS: Final = 20.0
"""A part that runs for less is left alone: the copy would hardly be first."""
_FOLDER: Final = "2/"
"""Below the folder of the parts: the files of two copies are not the same bytes, and must not replace each other."""

log = structlog.get_logger(__name__)


async def copy_slow_parts(
    resources: Resources, worker: str, lanes: Collection[str], seconds: float = SLOW_SECONDS
) -> str | None:
    """Return the id of a part that is now queued a second time; to be called by a worker that has nothing to do.

    One at most, for one worker has become free.
    """
    for slow in await resources.repository.slow_parts(worker, lanes, seconds):
        planned = await _copy(resources, slow)
        if planned is not None and await resources.repository.copy_part(slow, planned):
            log.info("slow_part_copied", job_id=slow.parent_id, part=slow.index)
            resources.observer.parts("copied", 1)
            await publish_outbox(resources)
            return slow.job_id
    return None


async def _copy(resources: Resources, slow: SlowPart) -> PlannedPart | None:
    """Return the copy as the job that it is; None where the plan has no such part any more."""
    known = await resources.repository.known_plan(slow.parent_id)
    if not known.plan or slow.index >= len((plan := Plan.of(known.plan)).parts):
        return None
    own = copy_id(slow.job_id)
    document = dict(slow.document) | {"job_id": own, "destination": f"{slow.document['destination']}{_FOLDER}"}
    body = json.dumps(document).encode()
    try:
        return PlannedPart(plan.parts[slow.index], decode(body, own), body, sha256(body).hexdigest())
    except LeveretError as error:
        log.warning("slow_part_not_copied", job_id=slow.parent_id, part=slow.index, error=str(error))
        return None
