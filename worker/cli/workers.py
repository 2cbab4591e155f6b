"""The fleet: workers, and what people want of them."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Annotated

import typer

from worker.app.operations import operations
from worker.cli.arguments import Json  # noqa: TC001 - Typer reads it at run time
from worker.cli.render import SHORT_ID, say_json, worker_document
from worker.cli.tables import Column, say_table
from worker.cli.times import seconds_in
from worker.cli.words import say
from worker.control.fleet import problems_of
from worker.core.figures import age, size

if TYPE_CHECKING:
    from worker.core.record import Wanted, WorkerRecord

Name = Annotated[str | None, typer.Argument(metavar="WORKER", help="A worker's id.")]
Everyone = Annotated[bool, typer.Option("--all", help="All workers.")]
THEN = {("in_progress", "pause"): ", then paused", ("in_progress", "drain"): ", then gone"}
LONGEST_ID = 20
_COLUMNS = (
    Column("WORKER"),
    Column("HOST", rank=6),
    Column("STATUS"),
    Column("JOB", 16),
    Column("LANES", 13),
    Column("CPU", rank=2),
    Column("RAM", rank=3),
    Column("DISK FREE", rank=4),
    Column("SEEN", rank=1),
    Column("VERSION", rank=5),
)


def workers(as_json: Json = False) -> None:
    """Print the workers."""

    async def command() -> tuple[list[WorkerRecord], dict[str, int]]:
        async with operations() as known:
            return await known.list_workers(), await known.unserved_lanes()

    found, stuck = asyncio.run(command())
    if as_json:
        say_json([worker_document(worker) for worker in found])
    else:
        say_table(_COLUMNS, [_row(worker) for worker in found], "no worker has ever reported here")
        for lane, count in sorted(stuck.items()):
            jobs = "1 job waits" if count == 1 else f"{count} jobs wait"
            say(f"{jobs} in the lane {lane}, which no living worker serves")
        for line in problems_of(found):
            say(line)


def _row(worker: WorkerRecord) -> tuple[str, ...]:
    hardware = worker.hardware
    return (
        worker.worker_id,
        worker.hostname,
        worker.activity + THEN.get((worker.status, worker.wanted), ""),
        _job(worker) or worker.problem or "",
        ",".join(worker.lanes),
        f"{hardware.cpu_percent:.0f} %",
        f"{hardware.ram_percent:.0f} %",
        size(hardware.disk_free_bytes),
        f"{age((datetime.now(UTC) - worker.seen_at).total_seconds())} ago" if worker.seen_at else "",
        worker.version,
    )


def _job(worker: WorkerRecord) -> str:
    """Return the job's id, or the beginning that other commands take for a long one, and its title."""
    job_id = worker.job_id or ""
    name = job_id if len(job_id) <= LONGEST_ID else job_id[:SHORT_ID]
    title = worker.job_title or ""
    return name if title == job_id else f"{name} {title}".strip()


def pause(name: Name = None, everyone: Everyone = False, as_json: Json = False) -> None:
    """Ask for a pause."""
    _steer(name, "pause", everyone=everyone, as_json=as_json)


def resume(name: Name = None, everyone: Everyone = False, as_json: Json = False) -> None:
    """Ask for the end of a pause."""
    _steer(name, "run", everyone=everyone, as_json=as_json)


def drain(name: Name = None, everyone: Everyone = False, as_json: Json = False) -> None:
    """Ask for an orderly end."""
    _steer(name, "drain", everyone=everyone, as_json=as_json)


def _steer(name: str | None, wanted: Wanted, *, everyone: bool, as_json: bool) -> None:
    if (name is None) != everyone:
        raise typer.BadParameter("give a WORKER, or --all")

    async def command() -> list[str]:
        async with operations() as known:
            return await (known.steer_fleet(wanted) if name is None else known.steer_worker(name, wanted))

    asked = asyncio.run(command())
    if as_json:
        say_json({"wanted": wanted, "workers": asked})
        return
    for worker_id in asked:
        say(f"{worker_id} is asked to {wanted}")
    if not asked:
        say("no worker is running")


def forget(
    name: Name = None,
    silent: Annotated[
        str | None,
        typer.Option(
            "--silent", metavar="AGE", help="All workers that were silent for 90s, 5m, 2h or 3d.", show_default=False
        ),
    ] = None,
    as_json: Json = False,
) -> None:
    """Delete what is known of offline workers."""
    if (name is None) == (silent is None):
        raise typer.BadParameter("give a WORKER, or --silent AGE")
    seconds = seconds_in(silent) if silent is not None else 0.0

    async def command() -> list[str]:
        async with operations() as known:
            if name is not None:
                return await known.forget_worker(name)
            return await known.forget_silent_workers(seconds)

    forgotten = asyncio.run(command())
    if as_json:
        say_json({"forgotten": forgotten})
        return
    for worker_id in forgotten:
        say(f"{worker_id} is forgotten; it is listed again if it comes back")
    if not forgotten:
        say("no worker was silent for so long")
