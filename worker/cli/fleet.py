"""The fleet at a glance: queues, workers, and jobs with their progress, on one screen."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from rich.console import Group
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from worker.cli.fitted import STYLES, cut_middle
from worker.cli.render import SHORT_ID, brief_progress
from worker.cli.tables import one_line
from worker.control.fleet import SHOWN_STATES, problems_of
from worker.core.routing import DEAD_QUEUE, LANES, PRIORITIES, queue_of

if TYPE_CHECKING:
    from collections.abc import Sequence

    from rich.console import RenderableType

    from worker.control.fleet import FleetSnapshot
    from worker.core.record import JobRecord, WorkerRecord

BAR_WIDTH: Final = 12
STATE_WIDTH: Final = 10
DETAIL_WIDTH: Final = 21
NAME_WIDTH: Final = 20
MAX_PROBLEMS: Final = 4
HINT: Final = "q quits; the first characters of an id are enough for every command"


def picture(view: FleetSnapshot, height: int) -> RenderableType:
    """Return the screen for a terminal of `height` lines: what does not fit is counted."""
    lines = [line for line in view.workers if line.status != "offline"]
    gone = len(view.workers) - len(lines)
    room = max(2, (height - len(LANES) - 6) // 3)
    shown = lines[:room]
    rest = len(lines) - len(shown)
    more = ", ".join(filter(None, (f"{rest} more" * bool(rest), f"{gone} offline" * bool(gone))))
    problems = [*view.problems, *problems_of(lines)[:MAX_PROBLEMS]]
    used = len(problems) + len(LANES) + 2 + len(shown) + 2 + bool(more) + 2
    fitting = max(3, height - used - 2)
    jobs = view.jobs[:fitting]
    hidden = sum(view.counts.values()) - len(jobs)
    totals = ", ".join(f"{count} {state}" for state in SHOWN_STATES if (count := view.counts.get(state)))
    parts: list[RenderableType] = [_one_line(one_line(problem), "bold red") for problem in problems]
    parts += [_queues(view), Text(), _workers(shown)]
    if more:
        parts.append(_one_line(more))
    parts += [Text(), _jobs(jobs)]
    if hidden > 0:
        parts.append(_one_line(f"… and {hidden} more jobs: {totals}"))
    return Group(*parts, _one_line(HINT))


def _one_line(line: str, style: str = "dim") -> Text:
    return Text(line, style=style, no_wrap=True, overflow="ellipsis")


def _table(*columns: tuple[str, int | None]) -> Table:
    """Return a table without lines; a column without a width takes what is left, and every cell is one line."""
    table = Table(box=None, pad_edge=False, header_style="bold", expand=True)
    for name, width in columns:
        table.add_column(name, width=width, ratio=None if width else 1, no_wrap=True, overflow="ellipsis")
    return table


def _queues(view: FleetSnapshot) -> Table:
    table = _table(("QUEUE", 12), *((priority.upper(), 8) for priority in PRIORITIES), ("WORKERS", None))
    for lane in LANES:
        counts = [str(view.waiting.get(queue_of(lane, priority), "?")) for priority in PRIORITIES]
        alive = sum(lane in worker.lanes for worker in view.workers if worker.status not in {"offline", "draining"})
        stuck = not alive and any(view.waiting.get(queue_of(lane, priority)) for priority in PRIORITIES)
        table.add_row(lane, *counts, Text("no worker" if stuck else str(alive), style="red" if stuck else ""))
    table.add_row("dead letters", str(view.waiting.get(DEAD_QUEUE, "?")), "", "", "")
    return table


def _workers(workers: Sequence[WorkerRecord]) -> Table:
    table = _table(("WORKER", NAME_WIDTH), ("STATUS", 11), ("CPU", 5), ("RAM", 5), ("JOB", None))
    for worker in workers:
        table.add_row(
            Text(cut_middle(one_line(worker.worker_id), NAME_WIDTH)),
            Text(worker.activity, style=STYLES.get(worker.activity, "")),
            f"{worker.hardware.cpu_percent:.0f} %",
            f"{worker.hardware.ram_percent:.0f} %",
            Text(one_line(worker.job_title or worker.job_id or worker.problem or "")),
        )
    return table


def _jobs(jobs: Sequence[JobRecord]) -> Table:
    table = _table(("JOB", SHORT_ID), ("TITLE", None), ("STATE", STATE_WIDTH), ("", BAR_WIDTH), ("", DETAIL_WIDTH))
    for job in jobs:
        table.add_row(
            Text(one_line(job.job_id)[:SHORT_ID]),
            Text(one_line(job.title or job.job_id)),
            Text(job.state, style=STYLES.get(job.state, "")),
            _bar(job),
            Text(one_line(_detail(job))),
        )
    return table


def _bar(job: JobRecord) -> RenderableType:
    percent = 100.0 if job.state == "completed" else job.progress.percent
    waits = job.state in {"queued", "retrying", "dead", "cancelled"}
    return Text() if waits or percent is None else ProgressBar(total=100, completed=percent, width=BAR_WIDTH)


def _detail(job: JobRecord) -> str:
    """Return how far a job is or why it failed; nothing of one whose state says all."""
    return "" if job.state in {"queued", "completed", "cancelled"} else brief_progress(job)
