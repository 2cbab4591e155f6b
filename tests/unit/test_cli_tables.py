"""How the command line fits names, numbers and errors into the width of a terminal."""

from __future__ import annotations

import io

import pytest
from rich.cells import cell_len
from rich.console import Console

from worker.cli.dead import DEAD_LIST
from worker.cli.fitted import cut_middle, fitted_table, fitted_widths
from worker.cli.render import JOB_LIST
from worker.cli.tables import Column, aligned
from worker.cli.words import printable
from worker.core.figures import size, span


@pytest.mark.parametrize("width", [60, 80, 140])
def test_on_a_terminal_a_long_error_takes_no_room_from_the_id_and_no_second_line(width):
    job_id = "3f2a9c01-0000-4000-8000-000000000000"
    row = (job_id, "映画の題名はとても長いです", "dead", "cpu", "normal", "2026-11-21 23:00:00", "broken " * 30)
    console = Console(file=io.StringIO(), width=width, force_terminal=False, color_system=None)
    console.print(fitted_table(JOB_LIST, [row], width))
    head, line = console.file.getvalue().splitlines()
    assert max(cell_len(head), cell_len(line)) <= width
    assert line.startswith(job_id if width > 60 else job_id[:19])
    assert line.rstrip().endswith("…")
    assert ("CREATED" in head) == (width == 140)


def test_a_list_of_dead_messages_keeps_the_time_and_the_whole_reason_in_80_columns():
    reason = "ffmpeg exited 1 after 0 s: x264 [error]: invalid profile: nope"
    job_id = "3f2a9c01-0000-4000-8000-000000000000"
    console = Console(file=io.StringIO(), width=80, force_terminal=False, color_system=None)
    row = ("2026-11-28 08:34:36", job_id, "049f8b12c1f2", "InvalidJob", reason)
    console.print(fitted_table(DEAD_LIST, [row], 80))
    head, *lines = console.file.getvalue().splitlines()
    assert head.split() == ["DIED", "JOB", "REASON"]
    assert lines[0].startswith(f"2026-11-28 08:34:36  {job_id}  ")
    assert "".join("".join(line[59:].split()) for line in lines) == "".join(reason.split())


def test_columns_give_way_by_their_rank_and_share_what_is_left():
    columns = (Column("A"), Column("B", 4), Column("C", rank=2), Column("D", rank=1), Column("E", 4))
    assert fitted_widths(columns, (6, 20, 8, 8, 20), 100) == {0: 6, 1: 20, 2: 8, 3: 8, 4: 20}
    assert fitted_widths(columns, (6, 20, 8, 8, 20), 40) == {0: 6, 1: 5, 2: 8, 3: 8, 4: 5}
    assert fitted_widths(columns, (6, 20, 8, 8, 20), 30) == {0: 6, 1: 5, 3: 8, 4: 5}
    assert fitted_widths(columns, (6, 20, 8, 8, 20), 20) == {0: 6, 1: 5, 4: 5}
    assert fitted_widths(columns, (60, 20, 8, 8, 20), 40) == {0: 28, 1: 4, 4: 4}


def test_names_of_one_family_stay_different_when_they_are_cut():
    assert cut_middle("render-1", 8) == "render-1"
    assert cut_middle("render-of-the-second-floor-1", 12) == "rende…loor-1"


def test_sizes_spans_and_cells_are_readable():
    assert [size(0), size(1023), size(1536), size(123 << 20), size(5 << 50)] == [
        "0 B", "1023 B", "1.5 KiB", "123 MiB", "5120 TiB",
    ]  # fmt: skip
    assert [span(None), span(0), span(59.6), span(3723)] == ["", "0:00", "1:00", "1:02:03"]
    assert printable("a\x07\u202eb") == "a\\x07\\u202eb"
    assert aligned([("A", "B"), ("日本", "x\ny"), ("", "z")]) == ["A     B", "日本  x y", "-     z"]
