"""The fleet at a glance: queues, workers, and jobs with their progress, on one screen."""

from __future__ import annotations

import asyncio
from contextlib import ExitStack
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final, Self

from rich.console import Console, Group
from rich.live import Live
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from worker import app
from worker.cli.render import STYLES, printable, span
from worker.core.errors import LeveretError
from worker.core.routing import DEAD_QUEUE, LANES, PRIORITIES, queue_of

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from rich.console import RenderableType

    from worker.core.dead_letter import Broker
    from worker.core.ports import Repository
    from worker.core.record import JobRecord, WorkerRecord
    from worker.settings import Settings

POLL_SECONDS: Final = 1.0
MOST: Final = 200
SHOWN_STATES: Final = ("running", "publishing", "retrying", "queued", "dead", "completed", "cancelled")
BAR_WIDTH: Final = 12
STATE_WIDTH: Final = 10
DETAIL_WIDTH: Final = 21


@dataclass(frozen=True, slots=True)
class View:
    """What is on the screen; `waiting` is by queue, empty while the broker is away."""

    waiting: Mapping[str, int] = field(default_factory=dict)
    counts: Mapping[str, int] = field(default_factory=dict)
    workers: Sequence[WorkerRecord] = ()
    jobs: Sequence[JobRecord] = ()


async def watch_fleet(settings: Settings, repository: Repository) -> None:
    """Show the fleet until Ctrl-C."""
    console = Console()
    with Queues(settings) as queues, Live(console=console, screen=True, auto_refresh=False) as live:
        while True:
            view = await seen(settings, repository, await asyncio.to_thread(queues.waiting))
            live.update(picture(view, console.height), refresh=True)
            await asyncio.sleep(POLL_SECONDS)


async def seen(settings: Settings, repository: Repository, waiting: Mapping[str, int]) -> View:
    """Return what there is to show now: those jobs first at which something happens."""
    jobs = [job for state in SHOWN_STATES for job in await repository.jobs(state, MOST)]
    workers = await repository.workers(settings.offline_seconds)
    return View(waiting, await repository.counts(), workers, jobs)


class Queues:
    """The lengths of the queues, over one connection that is made anew when it is lost."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._stack = ExitStack()
        self._broker: Broker | None = None

    def __enter__(self) -> Self:
        """Connect later."""
        return self

    def __exit__(self, *_: object) -> None:
        """Disconnect."""
        self._stack.close()

    def waiting(self) -> dict[str, int]:
        """Return how many messages wait by queue, nothing while the broker is away; blocks for seconds at most."""
        names = [queue_of(lane, priority) for lane in LANES for priority in PRIORITIES]
        try:
            if self._broker is None:
                self._broker = self._stack.enter_context(app.publisher(self._settings))
            return {name: self._broker.waiting(name) for name in (*names, DEAD_QUEUE)}
        except LeveretError:
            self._stack.close()
            self._broker = None
            return {}


def picture(view: View, height: int) -> RenderableType:
    """Return the screen for a terminal of `height` lines: what does not fit is counted."""
    lines = [line for line in view.workers if line.status != "offline"]
    gone = len(view.workers) - len(lines)
    room = max(2, (height - len(LANES) - 6) // 3)
    shown = lines[:room]
    rest = len(lines) - len(shown)
    more = ", ".join(filter(None, (f"{rest} more" * bool(rest), f"{gone} offline" * bool(gone))))
    used = len(LANES) + 2 + len(shown) + 2 + bool(more) + 2
    fitting = max(3, height - used - 1)
    jobs = view.jobs[:fitting]
    hidden = sum(view.counts.values()) - len(jobs)
    totals = ", ".join(f"{count} {state}" for state in SHOWN_STATES if (count := view.counts.get(state)))
    parts: list[RenderableType] = [_queues(view), Text(), _workers(shown)]
    if more:
        parts.append(Text(more, style="dim"))
    parts += [Text(), _jobs(jobs)]
    if hidden > 0:
        parts.append(Text(f"… and {hidden} more jobs: {totals}", style="dim", no_wrap=True, overflow="ellipsis"))
    return Group(*parts)


def _table(*columns: tuple[str, int | None]) -> Table:
    """Return a table without lines; a column without a width takes what is left, and every cell is one line."""
    table = Table(box=None, pad_edge=False, header_style="bold", expand=True)
    for name, width in columns:
        table.add_column(name, width=width, ratio=None if width else 1, no_wrap=True, overflow="ellipsis")
    return table


def _queues(view: View) -> Table:
    table = _table(("QUEUE", 12), *((priority.upper(), 8) for priority in PRIORITIES), ("WORKERS", None))
    for lane in LANES:
        counts = [str(view.waiting.get(queue_of(lane, priority), "?")) for priority in PRIORITIES]
        alive = sum(lane in worker.lanes for worker in view.workers if worker.status not in {"offline", "draining"})
        stuck = not alive and any(view.waiting.get(queue_of(lane, priority)) for priority in PRIORITIES)
        table.add_row(lane, *counts, Text("nobody serves it" if stuck else str(alive), style="red" if stuck else ""))
    table.add_row("dead letters", str(view.waiting.get(DEAD_QUEUE, "?")), "", "", "")
    return table


def _workers(workers: Sequence[WorkerRecord]) -> Table:
    table = _table(("WORKER", 20), ("STATUS", 11), ("CPU", 5), ("RAM", 5), ("JOB", None))
    for worker in workers:
        table.add_row(
            Text(printable(worker.worker_id)),
            Text(worker.status, style=STYLES.get(worker.status, "")),
            f"{worker.hardware.cpu_percent:.0f} %",
            f"{worker.hardware.ram_percent:.0f} %",
            Text(_line(worker.job_title or worker.job_id or worker.problem or "")),
        )
    return table


def _jobs(jobs: Sequence[JobRecord]) -> Table:
    table = _table(("JOB", None), ("STATE", STATE_WIDTH), ("", BAR_WIDTH), ("PROGRESS", DETAIL_WIDTH))
    for job in jobs:
        table.add_row(
            Text(_line(job.title or job.job_id)),
            Text(job.state, style=STYLES.get(job.state, "")),
            _bar(job),
            Text(_line(_detail(job))),
        )
    return table


def _bar(job: JobRecord) -> RenderableType:
    percent = 100.0 if job.state == "completed" else job.progress.percent
    waits = job.state in {"queued", "retrying", "dead", "cancelled"}
    return Text() if waits or percent is None else ProgressBar(total=100, completed=percent, width=BAR_WIDTH)


def _detail(job: JobRecord) -> str:
    """Return `41 % 60 fps 0:42`, or why it failed: what fits into a few columns."""
    if job.state in {"dead", "retrying"}:
        return job.error or ""
    if job.is_terminal or job.state == "queued":
        return ""
    progress = job.progress
    percent = "" if progress.percent is None else f"{progress.percent:.0f} %"
    fps = f"{progress.fps:.0f} fps" if progress.fps else ""
    return " ".join(filter(None, (percent, fps, span(progress.eta_seconds))))


def _line(text: str) -> str:
    return " ".join(printable(text).split())
