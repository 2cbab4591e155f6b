"""Records as text: one JSON document for programs, words and tables for people."""

from __future__ import annotations

import json
import re
import sys
from pathlib import PurePosixPath
from typing import TYPE_CHECKING, Any, Final

from worker.cli.tables import Column, aligned, say_table
from worker.cli.words import say
from worker.core.figures import moment, size, span

if TYPE_CHECKING:
    from collections.abc import Mapping

    from worker.control.replay import Republished
    from worker.core.record import JobRecord, ProgressRecord, WorkerRecord

_JOB_KEYS: Final = (
    "job_id", "title", "state", "round", "lane", "priority", "dialect", "modules", "attempts", "progress",
    "parts", "artifacts", "manifest_url", "thumbnail_url", "error", "error_type", "retry_at", "callback",
    "callback_error", "refused_by", "waits", "facts", "created_at", "started_at", "finished_at", "metrics",
)  # fmt: skip
SHORT_ID: Final = 8
"""The number of first characters of an id that are printed; every command takes them in place of the id."""
_SLOWEST: Final = 0.01
"""Below it a speed is that of a tool that has hardly begun."""

_STEERING: Final = re.compile("[\x7f-\x9f\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069]")
"""DEL, C1 controls, and what turns the direction of a line (Unicode, bidirectional controls)."""


def say_json(document: Any) -> None:
    """Print the one document of a `--json` command; what would steer a terminal is escaped, and reads back the same."""
    text = json.dumps(document, ensure_ascii=False, indent=2, default=str)
    sys.stdout.write(_STEERING.sub(lambda found: f"\\u{ord(found[0]):04x}", text) + "\n")


def say_facts(facts: Mapping[str, str]) -> None:
    """Print names and what they are; facts that are empty are left out."""
    width = max(map(len, facts), default=0)
    for name, fact in facts.items():
        if fact:
            say(f"{name:<{width}}  {fact}")


def say_republished(item: Republished) -> None:
    """Print what became of a message that was published again."""
    if item.source == "delay queue":
        say(f"{item.name} no longer waits: it is in {item.queue}")
        return
    how = f"in round {item.round}" if item.round is not None else "as it came"
    if item.source == "document":
        how = f"in round {item.round}, with the new document" if item.round is not None else "with the new document"
    lost = ": from the database, which keeps no secrets (a token must be submitted anew)"
    say(f"{item.name} is published again {how}, to {item.queue}{lost if item.source == 'database' else ''}")


def progress_text(progress: ProgressRecord) -> str:
    """Return `41.5 % ffmpeg, 60 fps, 2.0x, 0:42 left`: what is known of it."""
    parts = [
        f"{progress.percent:.1f} %" if progress.percent is not None else "",
        f"{progress.fps:.0f} fps" if progress.fps else "",
        f"{progress.speed:.2g}x" if progress.speed and progress.speed >= _SLOWEST else "",
        f"{span(progress.eta_seconds)} left" if progress.eta_seconds is not None else "",
    ]
    return ", ".join(part for part in (" ".join(filter(None, (parts[0], progress.task))), *parts[1:]) if part)


def progress_of(record: JobRecord) -> str:
    """Return how far the job is; of one that nobody works on, how far it came, without speed and time left."""
    if record.state == "completed":
        return "100 %"
    if record.state not in {"running", "publishing", "waiting"}:
        return progress_text(record.progress.model_copy(update={"fps": None, "speed": None, "eta_seconds": None}))
    return progress_text(record.progress)


def part_cells(record: JobRecord) -> str:
    """Return a cell for each part: `#` made, `>` running, `.` waiting, `~` to be tried again, `x` dead or cancelled."""
    cells = {"completed": "#", "running": ">", "publishing": ">", "queued": ".", "retrying": "~"}
    return "".join(cells.get(part.state, "x") for part in record.parts)


def part_lines(record: JobRecord) -> list[str]:
    """Return a line for each part that is being made or has failed; the others are in the strip of cells."""
    lines = []
    for part in record.parts:
        if part.state in {"running", "publishing", "retrying", "dead"}:
            what = f"{part.frames} frames" if part.frames else "the rest"
            facts = [
                f"{part.percent:.0f} %" if part.percent is not None else "",
                f"{part.fps:.0f} fps" if part.fps else "",
            ]
            line = ", ".join(fact for fact in (what, part.state, part.worker or "", *facts, part.error or "") if fact)
            lines.append(f"  part {part.index + 1}: {line}")
    return lines


def job_document(record: JobRecord) -> dict[str, Any]:
    """Return the job as programs see it: the keys of contract.md, and more."""
    document = record.model_dump(mode="json")
    return {key: document[key] for key in _JOB_KEYS}


def worker_document(record: WorkerRecord) -> dict[str, Any]:
    """Return the worker as programs see it."""
    return record.model_dump(mode="json")


JOB_COLUMNS: Final = ("JOB", "TITLE", "STATE", "PROGRESS", "LANE", "PRIORITY", "CREATED", "ERROR")
JOB_LIST: Final = (
    Column("JOB"),
    Column("TITLE", 10),
    Column("STATE"),
    Column("LANE", rank=1),
    Column("PRIORITY", rank=2),
    Column("CREATED", rank=3),
    Column("PROGRESS", 18),
)
"""The columns of `JOB_COLUMNS` on a terminal: the error of a failed job takes the place of its progress."""
ATTEMPT_COLUMNS: Final = (
    Column("ROUND", rank=1),
    Column("ATTEMPT"),
    Column("WORKER"),
    Column("STARTED", rank=2),
    Column("ENDED", rank=3),
    Column("OUTCOME"),
    Column("ERROR", 25, folds=True),
)


def job_row(record: JobRecord) -> tuple[str, ...]:
    """Return the cells of a job in a list."""
    error = " ".join((record.error or "").split()) if record.state in {"dead", "retrying"} else ""
    where = (record.lane or "-", record.priority or "-")
    progress = progress_of(record) or "-"
    return record.job_id, _title(record), record.state, progress, *where, moment(record.created_at), error


def job_line(record: JobRecord) -> tuple[str, ...]:
    """Return the cells of a job in a list on a terminal."""
    where = (record.lane or "-", record.priority or "-")
    return record.job_id, _title(record), record.state, *where, moment(record.created_at), brief_progress(record)


def _callback(record: JobRecord) -> str:
    return f"failed: {record.callback_error}" if record.callback_error else record.callback or ""


def _title(record: JobRecord) -> str:
    return record.title[:60] if record.title != record.job_id else ""


def brief_progress(record: JobRecord) -> str:
    """Return `41 % 60 fps 0:42`, or why it failed: what fits into a few cells."""
    if record.state in {"dead", "retrying"}:
        return record.error or ""
    if record.state == "completed":
        return "100 %"
    progress = record.progress
    percent = "" if progress.percent is None else f"{progress.percent:.0f} %"
    if record.is_terminal or record.state == "queued":
        return percent
    fps = f"{progress.fps:.0f} fps" if progress.fps else ""
    return " ".join(filter(None, (percent, fps, span(progress.eta_seconds))))


def is_manifest(url: str | None) -> bool:
    """Return whether a job's main result is a playlist, and not the one file that it made."""
    return PurePosixPath(url or "").suffix.lower() in {".m3u8", ".mpd"}


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
            "parts": part_cells(record),
            "error": f"{record.error_type}: {record.error}" if record.error else "",
            "next try": moment(record.retry_at),
            "waits": record.waits or "",
            "created": moment(record.created_at),
            "started": moment(started),
            "finished": moment(record.finished_at),
            "took": span(took),
            "manifest" if is_manifest(record.manifest_url) else "file": record.manifest_url or "",
            "thumbnail": record.thumbnail_url or "",
            "callback": _callback(record),
        }
        | {f"fact {key}": json.dumps(value, ensure_ascii=False) for key, value in record.facts.items()}
    )
    for line in part_lines(record):
        say(line)
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
        say_table(ATTEMPT_COLUMNS, tries, "")
    if record.artifacts:
        say("")
        rows = [(a.role, size(a.bytes), span(a.duration), a.media_type, a.uri) for a in record.artifacts]
        # The terminal itself breaks what is too long: a URI that people copy is whole then.
        for line in aligned([("ARTIFACT", "SIZE", "DURATION", "TYPE", "WHERE"), *rows]):
            say(line)
