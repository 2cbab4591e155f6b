"""Jobs that this worker cannot do: another worker takes them, or they die when nobody ever will."""

from __future__ import annotations

from collections import OrderedDict
from typing import TYPE_CHECKING, Final

import structlog

from worker.core.attempt import Dead, Defer, Standby, Surplus
from worker.core.errors import CannotServe, LeveretError, Unserved
from worker.core.policy import failure_of
from worker.core.record import serving
from worker.core.redaction import redact
from worker.engine.attempt.context import ToolLookup
from worker.engine.attempt.plan import prepared, requirements

if TYPE_CHECKING:
    from worker.core.job import Job
    from worker.engine.resources import Resources

REMEMBERED: Final = 1000
MAX_PAUSE: Final = 60.0
"""The seconds that a job waits at most between two looks; as long as it has waited in all, while that is less.

Hundreds of such jobs, each looked at every few seconds, would leave a worker no time for what it can do.
"""
_MAX_REASON: Final = 500
"""Characters of what a worker lacks that a job's record keeps."""

log = structlog.get_logger(__name__)


class EligibilityGate:
    """Judges jobs of this worker's own lanes by what its host has proved.

    `unserved_seconds` is how long every living worker of a lane may refuse a job before it is dead; a worker
    that is silent for `offline_seconds` is not living.
    """

    def __init__(self, resources: Resources, worker_id: str, unserved_seconds: float, offline_seconds: float) -> None:
        self._resources = resources
        self._worker_id = worker_id
        self._unserved_seconds = unserved_seconds
        self._offline_seconds = offline_seconds
        self._late: OrderedDict[str, None] = OrderedDict()

    async def missing_requirement(self, job: Job, digest: str, needed: frozenset[str]) -> str | None:
        """Return what this worker lacks for a job, None when it may try.

        What an option set requires is known only after it was looked up, which is done within an attempt; for a
        body that was declined so once it is done here, before the claim, which would forget who declined.
        A job that has ended is not judged: its message is settled by what the database knows.
        """
        resources = self._resources
        lacking = resources.capabilities.missing_requirement(needed)
        if lacking is None and digest in self._late:
            lacking = await self._looked_up(job)
            if lacking is None:
                self._late.pop(digest, None)
        if lacking is None:
            return None
        record = await resources.repository.job(job.job_id)
        return None if record is not None and record.is_terminal else lacking

    async def _looked_up(self, job: Job) -> str | None:
        resources = self._resources
        lookup = ToolLookup(resources.repository, resources.runner, resources.tools, resources.capabilities)
        try:
            return resources.capabilities.missing_requirement(
                requirements(await prepared(resources.registry, job, lookup))
            )
        except CannotServe as error:
            return str(error)
        except LeveretError:
            # Other errors are left to the attempt, which reports and counts them.
            return None

    def remember(self, digest: str) -> None:
        """Remember that only a look at the option sets showed that the job is not for us."""
        self._late[digest] = None
        while len(self._late) > REMEMBERED:
            self._late.popitem(last=False)

    async def decline(
        self, job: Job, digest: str, route: tuple[str, str], lacking: str, standby: str = ""
    ) -> Defer | Surplus | Dead:
        """Return how a job that we cannot do goes on: to another worker of its lane, or dead when all refused it.

        One copy of its message goes to the others: not a second one beside that which has the mark of waiting.
        """
        lane, priority = route
        repository = self._resources.repository
        said = redact(lacking, job.secrets)[:_MAX_REASON]
        declined = await repository.decline(job, digest, lane, priority, self._worker_id, standby, said)
        living = serving(await repository.workers(self._offline_seconds)).get(lane, [])
        if declined.seconds < self._unserved_seconds or not declined.workers.issuperset(living):
            log.warning("job_declined", job_id=job.job_id, lacking=lacking, declined_by=len(declined.workers))
            if declined.has_standby:
                return Surplus()
            reason, waits = f"{self._worker_id} cannot do it: {lacking}", Standby(declined.epoch, standby)
            pause = min(declined.seconds, MAX_PAUSE)
            return Defer(reason, refused_by=self._worker_id, seconds=pause, standby=waits)
        count = len(declined.workers)
        refusing = "the only living worker" if count == 1 else f"all {count} workers that were asked"
        error = Unserved(
            f"{refusing} of lane {lane} refused it for {declined.seconds:.0f} s; on {self._worker_id}: {lacking}"
        )
        failure = failure_of(error, self._worker_id, 0, job.secrets)
        await repository.bury_unclaimed(job, digest, lane, priority, failure)
        log.error("job_dead", job_id=job.job_id, error=failure.message, error_type=failure.error_type)
        return Dead(failure)
