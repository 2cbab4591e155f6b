"""The check of a message on this host: what its worker would find before the first command."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

from worker.app.components import capabilities, runner, tools
from worker.app.control import refuse_missing_sqlite, repository
from worker.app.places import storages
from worker.control.errors import Refused
from worker.core.errors import InvalidJob, LeveretError, Problem
from worker.core.location import External, parse_location
from worker.engine.attempt.context import ToolLookup
from worker.engine.attempt.plan import Resolver, requirements

if TYPE_CHECKING:
    from collections.abc import Mapping

    from worker.control.validate import Validation
    from worker.core.job import Job
    from worker.registry import Registry
    from worker.settings import Settings


class _HereLookup(ToolLookup):
    """Looks option sets up in the database, where there is one: none is made."""

    def __init__(self, settings: Settings, *parts: Any) -> None:
        super().__init__(*parts)
        self._settings = settings

    async def option_set(self, module: str, name: str) -> Mapping[str, Any]:
        """Return a stored option set; Misconfigured where there is no database."""
        refuse_missing_sqlite(self._settings)
        return await super().option_set(module, name)


async def validated_here(settings: Settings, registry: Registry, found: Validation) -> Validation:
    """Return the validation of a message with what this host, as a worker, would say of it before it runs."""
    if found.job is None or not found.valid:
        return found
    try:
        await _resolve(settings, registry, found.job)
    except InvalidJob as error:
        problems = error.problems
    except LeveretError as error:
        problems = (Problem("tasks", str(error)),)
    else:
        problems = ()
    return replace(found, problems=problems, unchecked=())


async def _resolve(settings: Settings, registry: Registry, job: Job) -> None:
    """Return if a worker of this host would begin; raises what it would raise."""
    proved = await capabilities(settings)
    rows = repository(settings)
    lookup = _HereLookup(settings, rows, runner(settings), tools(settings), proved)
    places = storages(settings)
    destination = parse_location(job.destination or f"{settings.storage_url}{job.job_id}/", places.path_map)
    if not isinstance(destination, External):
        raise Refused(f"destination: {job.destination!r} is no folder")

    async def own() -> frozenset[str]:
        return frozenset()

    try:
        resolved = await Resolver(registry, places, lookup).resolve(job, destination, own)
    finally:
        await rows.close()
    if lacking := proved.missing_requirement(requirements(resolved.steps)):
        raise Refused(f"this host lacks {lacking}")
