"""How records look: one JSON document for programs, tables for people on a terminal, aligned text elsewhere."""

from __future__ import annotations

import json
import re
import sys
from typing import TYPE_CHECKING, Any, Final

from rich.cells import cell_len
from rich.console import Console
from rich.table import Table
from rich.text import Text

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from datetime import datetime

    from worker.core.record import JobRecord, ProgressRecord, WorkerRecord

_CONTROL: Final = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069]")
STYLES: Final = {
    "completed": "green",
    "ok": "green",
    "running": "cyan",
    "publishing": "cyan",
    "in_progress": "cyan",
    "retrying": "yellow",
    "paused": "yellow",
    "draining": "yellow",
    "warning": "yellow",
    "dead": "red",
    "error": "red",
    "offline": "red",
    "cancelled": "dim",
}
_JOB_KEYS: Final = (
    "job_id", "title", "state", "round", "lane", "priority", "dialect", "attempts", "progress", "artifacts",
    "manifest_url", "thumbnail_url", "error", "error_type", "facts", "created_at", "started_at", "finished_at",
    "metrics",
)  # fmt: skip
WIDTH: Final = 100
LEAST_CUT: Final = 12
_KIB: Final = 1024
_MINUTE: Final = 60


def on_terminal() -> bool:
    """Return whether a person looks at standard output."""
    return sys.stdout.isatty()


def say(line: str) -> None:
    """Print one line for people."""
    sys.stdout.write(printable(line) + "\n")


def warn(line: str) -> None:
    """Print one line on standard error."""
    sys.stdout.flush()
    sys.stderr.write(f"leveret: {printable(' '.join(line.split()))}\n")


def say_json(document: Any) -> None:
    """Print the one document of a `--json` command."""
    sys.stdout.write(json.dumps(document, ensure_ascii=False, indent=2, default=str) + "\n")


def printable(text: str) -> str:
    """Return `text` without what would steer a terminal: titles and errors come from foreign messages."""
    return _CONTROL.sub(lambda match: repr(match.group())[1:-1], text)


def say_table(columns: Sequence[str], rows: Sequence[Sequence[str]], nothing: str, *, cut_last: bool = False) -> None:
    """Print rows under their columns, or `nothing` where there is none.

    With `cut_last` the last cell ends with … at the terminal's edge, elsewhere after 100 characters.
    """
    if not rows:
        say(nothing)
    elif on_terminal():
        console = Console()
        room = room_for_last([columns, *rows], console.width) if cut_last else None
        console.print(rich_table(columns, rows, room))
    else:
        shown = [(*row[:-1], cut(row[-1], WIDTH)) for row in rows] if cut_last else rows
        for line in aligned([columns, *shown]):
            sys.stdout.write(line + "\n")


def room_for_last(rows: Sequence[Sequence[str]], width: int) -> int:
    """Return how wide the last column may be where the others keep what they need, if they leave anything."""
    needed = [max(cell_len(printable(row[column])) for row in rows) for column in range(len(rows[0]))]
    left = width - sum(needed[:-1]) - 2 * (len(needed) - 1)
    return min(needed[-1], max(LEAST_CUT, left))


def cut(text: str, width: int) -> str:
    """Return `text` on one line of at most `width` characters; … says that there was more."""
    line = " ".join(text.split())
    return line if len(line) <= width else line[: width - 1] + "…"


def rich_table(columns: Sequence[str], rows: Sequence[Sequence[str]], room: int | None = None) -> Table:
    """Return a table for a terminal, the last column cut to `room` characters."""
    table = Table(box=None, pad_edge=False, header_style="bold")
    for position, column in enumerate(columns):
        if room is not None and position == len(columns) - 1:
            table.add_column(column, overflow="ellipsis", no_wrap=True, width=room)
            continue
        # The first cell is a name that people copy into the next command.
        table.add_column(column, overflow="fold", no_wrap=position == 0)
    for row in rows:
        table.add_row(*(Text(printable(cell), style=STYLES.get(cell.partition(", then ")[0], "")) for cell in row))
    return table


def aligned(rows: Sequence[Sequence[str]]) -> list[str]:
    """Return one line a row, its cells aligned; a cell is never cut and never spans lines."""
    cells = [[" ".join(printable(cell).split()) or "-" for cell in row] for row in rows]
    widths = [max(cell_len(row[column]) for row in cells) for column in range(len(cells[0]))]
    return [
        "  ".join(cell + " " * (width - cell_len(cell)) for cell, width in zip(row, widths, strict=True)).rstrip()
        for row in cells
    ]


def say_facts(facts: Mapping[str, str]) -> None:
    """Print names and what they are; facts that are empty are left out."""
    width = max(map(len, facts), default=0)
    for name, fact in facts.items():
        if fact:
            say(f"{name:<{width}}  {fact}")


def moment(time: datetime | None) -> str:
    """Return a time on this host's clock, in whole seconds."""
    return time.astimezone().strftime("%Y-%m-%d %H:%M:%S") if time else ""


def span(seconds: float | None) -> str:
    """Return `1:02:03` or `0:42`."""
    if seconds is None:
        return ""
    minutes, rest = divmod(round(seconds), _MINUTE)
    hours, minutes = divmod(minutes, _MINUTE)
    return f"{hours}:{minutes:02}:{rest:02}" if hours else f"{minutes}:{rest:02}"


def age(seconds: float) -> str:
    """Return `42 s`, `5 min`, `3 h` or `2 d`, rounded down."""
    for unit, length in (("d", 86400), ("h", 3600), ("min", _MINUTE)):
        if seconds >= length:
            return f"{seconds // length:.0f} {unit}"
    return f"{max(0, int(seconds))} s"


def size(count: int) -> str:
    """Return a number of bytes in binary units, three digits at the most."""
    value, unit = float(count), "B"
    for larger in ("KiB", "MiB", "GiB", "TiB"):
        if value < _KIB:
            break
        value, unit = value / _KIB, larger
    return f"{value:.0f} {unit}" if unit == "B" or value >= 100 else f"{value:.1f} {unit}"  # noqa: PLR2004 - three digits


def progress_text(progress: ProgressRecord) -> str:
    """Return `41.5 % ffmpeg, 60 fps, 2.0x, 0:42 left`: what is known of it."""
    parts = [
        f"{progress.percent:.1f} %" if progress.percent is not None else "",
        f"{progress.fps:.0f} fps" if progress.fps else "",
        f"{progress.speed:.2g}x" if progress.speed else "",
        f"{span(progress.eta_seconds)} left" if progress.eta_seconds is not None else "",
    ]
    return ", ".join(part for part in (" ".join(filter(None, (parts[0], progress.task))), *parts[1:]) if part)


def progress_of(record: JobRecord) -> str:
    """Return how far the job is; of one that has ended, how far it came, without what it did at the end."""
    if record.state == "completed":
        return "100 %"
    if record.is_terminal:
        return progress_text(record.progress.model_copy(update={"fps": None, "speed": None, "eta_seconds": None}))
    return progress_text(record.progress)


def job_document(record: JobRecord) -> dict[str, Any]:
    """Return the job as programs see it: the keys of contract.md, and more."""
    document = record.model_dump(mode="json")
    return {key: document[key] for key in _JOB_KEYS}


def worker_document(record: WorkerRecord) -> dict[str, Any]:
    """Return the worker as programs see it."""
    return record.model_dump(mode="json")


JOB_COLUMNS: Final = ("JOB", "TITLE", "STATE", "PROGRESS", "LANE", "PRIORITY", "CREATED", "ERROR")


def job_row(record: JobRecord) -> tuple[str, ...]:
    """Return the cells of a job in a list."""
    error = " ".join((record.error or "").split()) if record.state in {"dead", "retrying"} else ""
    title = record.title[:60] if record.title != record.job_id else ""
    created = moment(record.created_at)
    where = (record.lane or "-", record.priority or "-")
    return record.job_id, title, record.state, progress_of(record) or "-", *where, created, error


def say_job(record: JobRecord) -> None:
    """Print all of a job for people."""
    started = min((item.started_at for item in record.attempts if item.round == record.round), default=None)
    took = (record.finished_at - started).total_seconds() if started and record.finished_at else None
    say_facts(
        {
            "job": record.job_id,
            "title": record.title,
            "state": record.state + (f" (round {record.round})" if record.round > 1 else ""),
            "lane": f"{record.lane}.{record.priority}" if record.lane else "-",
            "progress": progress_of(record) or "-",
            "error": f"{record.error_type}: {record.error}" if record.error else "",
            "created": moment(record.created_at),
            "started": moment(started),
            "finished": moment(record.finished_at),
            "took": span(took),
            "manifest": record.manifest_url or "",
            "thumbnail": record.thumbnail_url or "",
        }
        | {f"fact {key}": json.dumps(value, ensure_ascii=False) for key, value in record.facts.items()}
    )
    if record.attempts:
        say("")
        tries: list[tuple[str, ...]] = [
            (
                str(a.round),
                str(a.number),
                a.worker,
                moment(a.started_at),
                moment(a.ended_at),
                a.outcome or "open",
                a.error or "",
            )
            for a in record.attempts
        ]
        say_table(("ROUND", "ATTEMPT", "WORKER", "STARTED", "ENDED", "OUTCOME", "ERROR"), tries, "")
    if record.artifacts:
        say("")
        rows = [(a.role, a.uri, a.media_type, size(a.bytes), span(a.duration)) for a in record.artifacts]
        say_table(("ARTIFACT", "WHERE", "TYPE", "SIZE", "DURATION"), rows, "")
