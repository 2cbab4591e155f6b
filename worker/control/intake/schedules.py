"""Schedules: stored, shown, and run by whichever server is first."""

from __future__ import annotations

from contextlib import suppress
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any, Final

import structlog
from pydantic import ValidationError

from worker.control.errors import Conflict, NotFound
from worker.control.intake.batches import Report, expand, submit_all
from worker.control.intake.leases import run_renewing
from worker.control.intake.scan import BROKEN, FAILS, pattern_of, scan
from worker.control.intake.templates import Made, Route, blueprint_of, submit_template
from worker.core.errors import InvalidJob, LeveretError, Problem
from worker.core.hints import nearest
from worker.core.message.wire import problems_of
from worker.core.names import require_name
from worker.core.schedule import ScheduleDocument, ScheduleRecord

if TYPE_CHECKING:
    from collections.abc import Awaitable

    from worker.control.resources import Control

log = structlog.get_logger(__name__)

LEASE_SECONDS: Final = 30.0
MAX_OUTCOME: Final = 500


async def list_schedules(control: Control) -> list[ScheduleRecord]:
    """Return all schedules by name."""
    return await control.stores.schedules()


async def get_schedule(control: Control, name: str) -> ScheduleRecord:
    """Return a schedule; NotFound names the nearest."""
    known = {one.name: one for one in await control.stores.schedules()}
    if name not in known:
        raise NotFound(f"there is no schedule {name[:100]!r}{nearest(name, known)}")
    return known[name]


async def put_schedule(control: Control, name: str, document: Any) -> ScheduleRecord:
    """Store or replace a schedule; InvalidJob with every problem, NotFound for a template that there is not."""
    require_name(name)
    try:
        read = ScheduleDocument.model_validate(document)
    except ValidationError as error:
        raise InvalidJob(problems_of(error, "", ScheduleDocument)) from error
    blueprint = await blueprint_of(control, read.template)
    unknown = [one for one in read.variables if one not in blueprint.document.variables]
    if unknown:
        raise InvalidJob(Problem(f"variables.{one}", f"{read.template} has no such variable") for one in unknown)
    if not read.sources and (read.action == "scan" or blueprint.needs_source):
        raise InvalidJob([Problem("sources", "name at least one source or pattern")])
    stored = read.model_dump(mode="json", exclude_defaults=True)
    return await control.stores.put_schedule(name, stored, read.due_after(await _now(control)))


async def pause_schedule(control: Control, name: str, *, paused: bool) -> ScheduleRecord:
    """Return a schedule that runs by itself no more, or again; NotFound when there is none."""
    stored = await get_schedule(control, name)
    return await put_schedule(control, name, stored.document | {"enabled": not paused})


async def delete_schedule(control: Control, name: str) -> None:
    """Delete a schedule; NotFound when there is none."""
    if not await control.stores.delete_schedule(name):
        raise NotFound(f"there is no schedule {name[:100]!r}")


async def run_schedule(control: Control, name: str, owner: str) -> str:
    """Return how a run of a schedule went that somebody asked for now; Conflict when it runs already."""
    await get_schedule(control, name)
    claimed = await control.stores.claim_schedule(owner, LEASE_SECONDS, name)
    if claimed is None:
        raise Conflict(f"the schedule {name} runs already")
    return await _run_claimed(control, claimed, owner)


async def run_due(control: Control, owner: str) -> int:
    """Run every schedule that is due and that no other server runs; return how many.

    However many times were missed, a schedule runs once, and is due next at its first time after now.
    """
    ran = 0
    while (claimed := await control.stores.claim_schedule(owner, LEASE_SECONDS)) is not None:
        await _run_claimed(control, claimed, owner)
        ran += 1
    return ran


async def _run_claimed(control: Control, record: ScheduleRecord, owner: str) -> str:
    """Return how the run went; it ends at once when the lease is lost, for then another server runs it."""
    try:
        outcome = await _run_under_lease(control, record.name, owner, _work(control, record))
    except LeveretError as error:
        outcome = f"failed: {error}"
    except ValidationError:
        outcome = "failed: what is stored is no schedule"
    outcome = outcome[:MAX_OUTCOME]
    with suppress(ValidationError, ValueError):
        next_at = record.schedule.due_after(await _now(control))
        await control.stores.finish_schedule(record.name, owner, next_at, outcome)
        log.info("schedule_ran", schedule=record.name, outcome=outcome, next_at=next_at)
        return outcome
    await control.stores.finish_schedule(record.name, owner, None, outcome)
    return outcome


async def _run_under_lease(control: Control, name: str, owner: str, work: Awaitable[str]) -> str:
    outcome = await run_renewing(
        work, lambda: control.stores.renew_schedule(name, owner, LEASE_SECONDS), LEASE_SECONDS / 3
    )
    return "was changed or taken over while it ran" if outcome is None else outcome


async def _work(control: Control, record: ScheduleRecord) -> str:
    asked = record.schedule
    blueprint = await blueprint_of(control, asked.template)
    if asked.action == "scan":
        reasons = []
        for source in asked.sources:
            found = await scan(control, blueprint, pattern_of(source), asked.variables, health=asked.health)
            needs = found.kinds.get(FAILS, 0)
            reasons.append(
                f"{source}: {found.media} looked at, {needs} do not conform, {found.kinds.get(BROKEN, 0)} broken"
            )
        return "; ".join(reasons)
    asked_by = f"schedule {record.name}"
    report = Report()
    if not asked.sources:
        route = Route(asked.lane, asked.priority)
        report.add(
            await submit_template(
                control, blueprint, None, asked.variables, asked_by=asked_by, again=asked.again, route=route
            )
        )
    else:
        named = await expand(control, asked.sources)
        async for outcome in submit_all(
            control, blueprint, named, asked.variables, asked_by=asked_by, again=asked.again, limit=asked.limit,
            lane=asked.lane, priority=asked.priority,
        ):  # fmt: skip
            report.add(outcome)
            if isinstance(outcome, Made):
                log.info("schedule_submitted", schedule=record.name, job_id=outcome.job_id, source=outcome.source)
    return f"{report.submitted} submitted, {report.skipped} skipped, {report.failed} failed"


async def _now(control: Control) -> datetime:
    """Return the time by the database's clock, by which schedules are due."""
    return datetime.now(UTC) + timedelta(seconds=(await control.stores.facts()).ahead_seconds)
