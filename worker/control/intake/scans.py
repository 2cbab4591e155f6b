"""Scans that a server runs: asked for, followed, and run by whichever server is first."""

from __future__ import annotations

import secrets
from contextlib import suppress
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final

import structlog
from pydantic import ValidationError

from worker.control.errors import NotFound, Refused
from worker.control.intake.batches import Report, submit_all
from worker.control.intake.leases import run_renewing
from worker.control.intake.scan import Scan, pattern_of, saving_so_far, scan, scan_document, scan_numbers
from worker.control.intake.templates import blueprint_of
from worker.core.errors import DatabaseUnavailable, InvalidJob, LeveretError, Problem
from worker.core.message.wire import problems_of
from worker.core.scanning import ScanRecord, ScanRequest

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from worker.control.resources import Control
    from worker.core.pattern import Pattern

log = structlog.get_logger(__name__)

LEASE_SECONDS: Final = 30.0
RENEW_SECONDS: Final = 2.0
MAX_WAITING: Final = 100
KEPT: Final = 100
MAX_RUNS: Final = 3
MAX_PROBLEM: Final = 2000


async def scan_now(
    control: Control, document: Any, on_progress: Callable[[Mapping[str, Any]], object]
) -> dict[str, Any]:
    """Return what a scan finds that is run here and now, and that is not stored."""
    asked, _ = await _parse_request(control, document)
    return await _work(control, asked, _Progress(on_progress))


async def start_scan(control: Control, document: Any) -> ScanRecord:
    """Return a scan that a server runs soon; InvalidJob with every problem, NotFound, Refused where too many wait."""
    asked, pattern = await _parse_request(control, document)
    library = control.library()
    library.reader(library.place(pattern.folder))
    stored = asked.model_dump(mode="json", exclude_defaults=True)
    added = await control.stores.add_scan(secrets.token_hex(8), stored, MAX_WAITING)
    if added is None:
        raise Refused(f"{MAX_WAITING} scans wait or run already: let them end, or delete some")
    return added


async def _parse_request(control: Control, document: Any) -> tuple[ScanRequest, Pattern]:
    try:
        asked = ScanRequest.model_validate(document)
        pattern = pattern_of(asked.source)
    except ValidationError as error:
        raise InvalidJob(problems_of(error, "", ScanRequest)) from error
    blueprint = await blueprint_of(control, asked.template)
    if unknown := [one for one in asked.variables if one not in blueprint.document.variables]:
        raise InvalidJob(Problem(f"variables.{one}", f"{asked.template} has no such variable") for one in unknown)
    return asked, pattern


async def list_scans(control: Control, limit: int = KEPT) -> list[ScanRecord]:
    """Return the newest scans first, without what they found."""
    return await control.stores.scans(limit)


async def get_scan(control: Control, scan_id: str) -> ScanRecord:
    """Return a scan with what it found; NotFound when there is none."""
    found = await control.stores.scan(scan_id) if scan_id.isprintable() else None
    if found is None:
        raise NotFound(f"there is no scan {scan_id[:100]!r}")
    return found


async def delete_scan(control: Control, scan_id: str) -> None:
    """Delete a scan, which ends where it runs; NotFound when there is none."""
    if not scan_id.isprintable() or not await control.stores.delete_scan(scan_id):
        raise NotFound(f"there is no scan {scan_id[:100]!r}")


async def run_waiting(control: Control, owner: str) -> int:
    """Run every scan that waits and that no other server runs; return how many."""
    ran = 0
    while (claimed := await control.stores.claim_scan(owner, LEASE_SECONDS)) is not None:
        await _run_claimed(control, claimed, owner)
        ran += 1
    return ran


@dataclass(slots=True)
class _Progress:
    """The numbers of a scan, as they are now."""

    show: Callable[[Mapping[str, Any]], object] = field(default=lambda _: None)
    found: Scan = field(default_factory=Scan)
    report: Report | None = None

    @property
    def document(self) -> dict[str, Any]:
        jobs = {} if self.report is None else {"submitted": self.report.submitted}
        return scan_numbers(self.found) | jobs


async def _run_claimed(control: Control, record: ScanRecord, owner: str) -> None:
    result, problem = None, None
    if record.runs > MAX_RUNS:
        problem = f"the server that ran it ended {MAX_RUNS} times before the scan did"
    else:
        try:
            result = await _run_under_lease(control, record, owner)
        except LeveretError as error:
            problem = str(error)
        except ValidationError:
            problem = "what is stored is no scan"
    if result is None and problem is None:
        log.info("scan_lease_lost", scan=record.scan_id)
        return
    await control.stores.finish_scan(record.scan_id, owner, result, problem and problem[:MAX_PROBLEM], KEPT)
    log.info("scan_ended", scan=record.scan_id, problem=problem)


async def _run_under_lease(control: Control, record: ScanRecord, owner: str) -> dict[str, Any] | None:
    """Return what was found; None where the scan was deleted or taken over meanwhile, and it ends here at once."""
    progress = _Progress()

    async def renew() -> bool:
        return await control.stores.renew_scan(record.scan_id, owner, LEASE_SECONDS, progress.document)

    result = await run_renewing(_work(control, record.request, progress), renew, RENEW_SECONDS)
    if result is not None:
        with suppress(DatabaseUnavailable):
            await renew()
    return result


async def _work(control: Control, asked: ScanRequest, progress: _Progress) -> dict[str, Any]:
    blueprint = await blueprint_of(control, asked.template)
    pattern = pattern_of(asked.source)
    progress.found = await scan(
        control, blueprint, pattern, asked.variables, health=asked.health, on_progress=_shown_by(progress)
    )
    if asked.submit:
        progress.report = Report()
        if progress.found.media:
            outcomes = submit_all(control, blueprint, [pattern], asked.variables, asked_by="scan", limit=asked.limit)
            async for outcome in outcomes:
                progress.report.add(outcome)
    return scan_document(asked.template, progress.found, await saving_so_far(control, asked.template), progress.report)


def _shown_by(progress: _Progress) -> Callable[[Scan], None]:
    def show(found: Scan) -> None:
        progress.found = found
        progress.show(scan_numbers(found))

    return show
