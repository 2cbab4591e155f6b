"""What people see on a terminal, 80 columns wide: a pseudo-terminal, whose size changes under the program.

A container may have none. There a pipe takes its place, and nobody can type or pull at the window.
"""

from __future__ import annotations

import fcntl
import os
import pty
import re
import select
import signal
import sqlite3
import struct
import subprocess
import sys
import termios
import time
from contextlib import closing
from typing import TYPE_CHECKING

import pytest
from rich.cells import cell_len

from tests.support.command_line import message
from worker.core.attempt import Failure, Progress
from worker.core.message.dialects import decode
from worker.core.policy import Policy
from worker.core.ports import ClaimRequest, Granted
from worker.core.record import WorkerRecord

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from tests.support.command_line import CommandLine
    from worker.adapters.sql import SqlRepository

pytestmark = pytest.mark.xdist_group("rabbitmq")

ESCAPES = re.compile(r"\x1b\[[0-?]*[ -/]*[@-~]|\x1b[()][A-Z0-9]")
HOME = "\x1b[H"
JOBS = 50
WHY = "ffmpeg exited 1 after 62 s: Error opening input: No such file or directory"


PRETENDS = """
import sys
from worker.cli import doctor, follow, jobs, main, tables, watch
for module in (doctor, follow, jobs, tables, watch):
    module.on_terminal = lambda: True
main()
"""


def pseudo_terminal() -> tuple[int, int] | None:
    """Return both ends of one, None where this machine has none."""
    try:
        return pty.openpty()
    except OSError:
        return None


class Terminal:
    """A command on a pseudo-terminal: what it wrote, and a way to type and to change its size."""

    def __init__(self, cli: CommandLine, *words: str, columns: int = 80, lines: int = 24) -> None:
        pair = pseudo_terminal()
        self.is_real = pair is not None
        self._ours, self._its = pair or os.pipe()
        hidden = {"COLUMNS", "LINES", "NO_COLOR", "FORCE_COLOR", "TERM"}
        environment = {name: value for name, value in cli.environment().items() if name not in hidden}
        environment["TERM"] = "xterm-256color"
        program: tuple[str, ...] = ("-m", "worker")
        # Whoever runs the tests may ignore Ctrl-C, and setsid makes this terminal the one that sends it.
        leader: tuple[str, ...] = ("setsid", "--ctty", "--wait")
        if self.is_real:
            self.pull(columns, lines)
            self._before = termios.tcgetattr(self._its)
        else:
            program, leader = ("-c", PRETENDS), ()
            environment |= {"COLUMNS": str(columns), "LINES": str(lines), "FORCE_COLOR": "1", "TTY_COMPATIBLE": "1"}
        self.process = subprocess.Popen(
            ("env", "--default-signal=INT", *leader, sys.executable, *program, *words),
            stdin=self._its if self.is_real else subprocess.DEVNULL, stdout=self._its, stderr=self._its,
            env=environment,
        )  # fmt: skip
        self.text = ""

    def pull(self, columns: int, lines: int) -> None:
        """Give the window another size, of which the kernel tells the program."""
        fcntl.ioctl(self._ours, termios.TIOCSWINSZ, struct.pack("HHHH", lines, columns, 0, 0))

    def interrupt(self) -> None:
        """Type Ctrl-C."""
        if self.is_real:
            self.type("\x03")
        else:
            self.process.send_signal(signal.SIGINT)

    def type(self, keys: str) -> None:
        os.write(self._ours, keys.encode())

    def read(self, seconds: float = 0.05) -> None:
        while select.select([self._ours], [], [], seconds)[0]:
            self.text += os.read(self._ours, 65536).decode()

    @property
    def screen(self) -> list[str]:
        """Return the lines of the last whole picture."""
        pictures = self.text.split(HOME)
        last = pictures[-1] if len(pictures) < 3 or len(pictures[-1]) >= len(pictures[-2]) / 2 else pictures[-2]
        return [line.rstrip() for line in ESCAPES.sub("", last).replace("\r", "").split("\n")]

    def until(self, look: Callable[[list[str]], bool], what: str, seconds: float = 30) -> list[str]:
        """Return the screen as soon as it looks like this."""
        deadline = time.monotonic() + seconds
        while not look(self.screen):
            assert time.monotonic() < deadline, f"{what}; there is:\n" + "\n".join(self.screen)
            self.read()
        return self.screen

    def ended(self, seconds: float = 30) -> int:
        """Return the exit code, once the terminal is as it was."""
        deadline = time.monotonic() + seconds
        while self.process.poll() is None:
            assert time.monotonic() < deadline, "it does not end"
            self.read()
        self.read()
        if self.is_real:
            assert termios.tcgetattr(self._its) == self._before
        assert "Traceback" not in self.text
        return self.process.returncode

    def close(self) -> None:
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGKILL)
            self.process.wait()
        os.close(self._ours)
        os.close(self._its)


async def fill(rows: SqlRepository) -> None:
    """Make 50 jobs, and three workers whose names differ at their end."""
    for number in range(JOBS):
        job_id = f"{number:08d}-0000-4000-8000-000000000000"
        job = decode(message(job_id), job_id)
        await rows.submit(job, str(number), "cpu", "low")
        if number in {3, 4}:
            claim = await rows.claim(ClaimRequest(job, str(number), "a-worker", 300.0, "cpu", "low"), Policy())
            assert isinstance(claim, Granted)
            await rows.report(claim.attempt, Progress(41.5, "ffmpeg", 60.0, 2.0, 42.0))
            if number == 4:
                await rows.bury(claim.attempt, Failure(WHY, "ToolFailed", "a-worker", 1))
    for number in range(3):
        record = WorkerRecord(
            worker_id=f"render-of-the-second-floor-{number}", hostname="render-of-the-second-floor", pid=1,
            version="1.0.0", status="in_progress", job_id="00000003-0000-4000-8000-000000000000",
            job_title="Holiday in Norway, the director's cut", lanes=["cpu", "visualize"],
        )  # fmt: skip
        await rows.beat(record)


@pytest.fixture
def busy(cli: CommandLine) -> CommandLine:
    cli.ask(fill)
    return cli


@pytest.fixture
def open_terminal(busy: CommandLine) -> Iterator[Callable[..., Terminal]]:
    opened: list[Terminal] = []

    def begin(*words: str, **size: int) -> Terminal:
        opened.append(Terminal(busy, *words, **size))
        return opened[-1]

    yield begin
    for terminal in opened:
        terminal.close()


def rows_of_jobs(screen: list[str]) -> list[str]:
    return [line for line in screen if re.match(r"000000\d\d  ", line)]


def test_the_live_view_fits_its_terminal_follows_its_size_and_ends_on_q(open_terminal, broker_url, monkeypatch):
    monkeypatch.setenv("WORKER_BROKER_URL", broker_url)
    terminal = open_terminal("watch")
    shown = terminal.until(lambda lines: any("dead letters  0" in line for line in lines), "the queues")
    shown = terminal.until(lambda lines: bool(rows_of_jobs(lines)), "jobs")
    assert max(map(cell_len, shown)) <= 80
    assert len(shown) <= 24
    few = rows_of_jobs(shown)
    assert re.search(r"00000003  Title of .*running +━.*42 % 60 fps 0:42", few[0])
    assert any(f"{JOBS - len(few)} more jobs: 1 running, 48 queued, 1 dead" in line for line in shown)
    assert [line.split()[0][-2:] for line in shown if line.startswith("render-of")] == ["-0", "-1", "-2"]
    if not terminal.is_real:
        terminal.interrupt()
        assert terminal.ended() == 130
        return
    terminal.pull(100, 70)
    tall = terminal.until(lambda lines: len(rows_of_jobs(lines)) == JOBS, "all jobs")
    assert 80 < max(map(cell_len, tall)) <= 100
    terminal.type("q")
    assert terminal.ended() == 0


def test_the_live_view_reports_an_absent_service_and_goes_on_until_ctrl_c(open_terminal, busy):
    terminal = open_terminal("watch")
    terminal.until(lambda lines: any("the broker at 127.0.0.1:1 does not answer" in line for line in lines), "it")
    terminal.until(lambda lines: any(line.split() == ["cpu", "?", "?", "?", "3"] for line in lines), "the workers")
    terminal.until(lambda lines: bool(rows_of_jobs(lines)), "jobs")
    with closing(sqlite3.connect(busy.folder / "jobs.db")) as rows:
        rows.execute("ALTER TABLE jobs RENAME TO jobs_that_are_away")
    shown = terminal.until(
        lambda lines: any(line.startswith("these figures are out of date: ") for line in lines), "the database"
    )
    assert rows_of_jobs(shown)
    with closing(sqlite3.connect(busy.folder / "jobs.db")) as rows:
        rows.execute("ALTER TABLE jobs_that_are_away RENAME TO jobs")
    terminal.until(lambda lines: not any("is old" in line for line in lines), "the database again")
    terminal.interrupt()
    assert terminal.ended() == 130


@pytest.mark.parametrize("columns", [80, 132])
def test_lists_have_one_line_a_row_and_whole_ids(open_terminal, columns):
    terminal = open_terminal("jobs", columns=columns)
    assert terminal.ended() == 0
    head, *lines = [line for line in terminal.screen if line]
    assert len(lines) == JOBS
    assert max(map(cell_len, [head, *lines])) <= columns
    assert all(re.match(r"\d{8}-0000-4000-8000-000000000000  Title", line) for line in lines)
    assert ("PRIORITY" in head, "CREATED" in head) == (columns > 80, columns > 80)
    (dead,) = [line for line in lines if " dead " in line]
    assert "ffmpeg exited 1" in dead
    assert dead.endswith("…")
    terminal = open_terminal("workers", columns=columns)
    assert terminal.ended() == 0
    head, *lines = [line for line in terminal.screen if line]
    assert [line.split()[0] for line in lines[:3]] == [f"render-of-the-second-floor-{number}" for number in range(3)]
    assert max(map(cell_len, lines)) <= columns
    assert "cpu,visualize" in lines[0]
    # A lane without a worker is worth a line only while jobs wait in it.
    assert len(lines) == 3
    terminal = open_terminal("dead", "list", columns=columns)
    assert terminal.ended() == 1
    assert "127.0.0.1:1 does not answer" in terminal.screen[0]


def test_the_title_gives_way_first_where_a_job_is_followed(open_terminal):
    terminal = open_terminal("watch", "00000003")
    # the line is drawn again and again in its place
    line = re.compile(r"Title …0+ [━╺╸ ]+ running 41.5 % ffmpeg, 60 fps, 2x, 0:42 left")
    shown = terminal.until(lambda lines: any(map(line.search, lines)), "the job")
    (found,) = {drawn[0] for drawn in map(line.search, shown) if drawn is not None}
    assert cell_len(found) <= 80
    terminal.interrupt()
    assert terminal.ended() == 130


def test_the_doctor_breaks_its_lines_between_words(open_terminal):
    terminal = open_terminal("doctor")
    assert terminal.ended(seconds=60) == 1
    lines = [line for line in terminal.screen if line]
    # A path is one word, however long.
    assert max(cell_len(line) for line in lines if "/" not in line) <= 80
    assert any(line.startswith("error    broker  ") for line in lines)
    assert any(line.startswith("ok       database  ") for line in lines)
