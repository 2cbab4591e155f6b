"""The screen of `watch`: 80 columns, 50 jobs, and what does not fit is counted."""

from __future__ import annotations

import io
from datetime import UTC, datetime

import pytest
from rich.console import Console

from worker.cli.fleet import picture
from worker.control.fleet import FleetSnapshot
from worker.core.record import Hardware, JobRecord, ProgressRecord, WorkerRecord
from worker.core.routing import LANES, PRIORITIES, queue_of

NOW = datetime.now(UTC)


def a_job(number, state="running", **values):
    facts = {
        "job_id": f"job-{number:04d}-0000-4000",
        "title": f"Title {number}",
        "round": 1,
        "lane": "cpu",
        "priority": "normal",
    }
    progress = ProgressRecord(percent=float(number), task="ffmpeg", fps=59.6, speed=2.0, eta_seconds=42.0)
    return JobRecord(**(facts | {"state": state, "dialect": "flat", "progress": progress, "created_at": NOW} | values))


def a_worker(number, status="in_progress", **values):
    facts = {"worker_id": f"render-{number}", "hostname": "h", "pid": 1, "version": "1", "lanes": ["cpu"]}
    hardware = Hardware(cpu_percent=97.4, ram_percent=41.0)
    return WorkerRecord(**(facts | {"status": status, "job_title": f"Title {number}", "hardware": hardware} | values))


def rendered(view, width=80, height=40):
    console = Console(file=io.StringIO(), width=width, height=height, force_terminal=False, color_system=None)
    console.print(picture(view, height))
    return [line.rstrip() for line in console.file.getvalue().splitlines()]


def busy(jobs=50, workers=4):
    waiting = {queue_of(lane, priority): 0 for lane in LANES for priority in PRIORITIES}
    return FleetSnapshot(
        waiting=waiting | {"media.cpu.low": 7, "media.nvenc.high": 2, "media.dlq": 3},
        counts={"running": jobs},
        workers=[a_worker(number) for number in range(workers)],
        jobs=[a_job(number) for number in range(jobs)],
    )


@pytest.mark.parametrize("height", [24, 40, 80])
def test_fifty_jobs_fit_a_terminal_of_80_columns_and_any_height(height):
    lines = rendered(busy(), height=height)
    assert len(lines) <= height
    assert max(map(len, lines)) <= 80
    shown = [line for line in lines if line.startswith("job-")]
    assert len(shown) >= 3
    (more,) = [line for line in lines if "more jobs" in line] or [f"and {50 - len(shown)} more jobs"]
    assert f"and {50 - len(shown)} more jobs" in more


def test_a_line_states_title_state_bar_percent_frames_and_the_time_that_is_left():
    (line,) = [line for line in rendered(busy()) if line.startswith("job-0007 ")]
    assert "╸" in line  # the beginning of a bar
    assert line.split()[:4] == ["job-0007", "Title", "7", "running"]
    assert line.endswith("7 % 60 fps 0:42")


def test_queues_state_what_waits_and_which_lane_has_no_worker():
    lines = {line.split()[0]: line for line in rendered(busy())[:7]}
    assert lines["cpu"].split() == ["cpu", "0", "0", "7", "4"]
    assert lines["nvenc"].split() == ["nvenc", "2", "0", "0", "no", "worker"]
    assert lines["dead"].split() == ["dead", "letters", "3"]


def test_a_broker_that_is_away_is_a_question_mark_and_all_else_is_shown():
    view = FleetSnapshot(counts={}, workers=[a_worker(1)], jobs=[])
    lines = rendered(view)
    assert lines[1].split() == ["cpu", "?", "?", "?", "1"]


def test_foreign_titles_neither_break_a_line_nor_steer_the_terminal():
    jobs = [a_job(1, title="x" * 300), a_job(2, title="two\nlines \x1b[2J"), a_job(3, title="[red]markup[/]")]
    lines = rendered(FleetSnapshot(jobs=jobs, counts={"running": 3}))
    assert max(map(len, lines)) <= 80
    text = "\n".join(lines)
    assert "\x1b" not in text
    assert "[red]markup[/]" in text
    assert any(line.startswith("job-0002  two") and "running" in line for line in lines)


def test_workers_that_are_offline_or_too_many_are_counted():
    workers = [a_worker(number) for number in range(50)] + [a_worker(99, "offline")]
    lines = rendered(FleetSnapshot(workers=workers), height=30)
    assert len(lines) <= 30
    (more,) = [line for line in lines if "offline" in line]
    shown = sum(line.startswith("render-") for line in lines)
    assert more == f"{50 - shown} more, 1 offline"


def test_a_failed_job_states_why_and_has_no_bar():
    lines = rendered(FleetSnapshot(jobs=[a_job(1, "dead", error="ffmpeg exited 1")], counts={"dead": 1}))
    (line,) = [line for line in lines if line.startswith("job-0001 ")]
    assert line.endswith("ffmpeg exited 1")
    assert "━" not in line


def test_the_reason_why_a_worker_takes_no_jobs_is_printed_above_everything():
    view = FleetSnapshot(workers=[a_worker(1, "paused", job_title=None, problem="/srv/media is not there: mount it")])
    assert rendered(view)[0] == "render-1: /srv/media is not there: mount it"
