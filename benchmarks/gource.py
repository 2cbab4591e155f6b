"""Gource as the worker draws it against `gource … | ffmpeg …` in a shell under Xvfb, on the same log, in the same run.

    python -m benchmarks gource [--repository PATH] [--commits 2000] [--film 30] [--repeats 1] [--case 1280x720@30 …]

Prints a table in Markdown. Ratios are ours divided by the shell's, of the best of the repeats. On a busy host both
sides suffer, but not alike: the real clock mostly sleeps, so that noise speaks against us.
"""

from __future__ import annotations

import argparse
import asyncio
import hashlib
import os
import random
import shlex
import subprocess
import tempfile
import time
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from benchmarks.measure import Cost, wait
from visualizers.clock_proof import AGREEING
from visualizers.gitlog import Action, Change, Commit, custom_log, log_command, read_log
from visualizers.virtual_clock import (
    HEADLESS,
    SOURCE,
    ClockReport,
    FrameRange,
    build_command,
    count_environment,
    library_name,
    read_report,
    render_environment,
    shared_environments,
)
from worker.core.command import Command, Pipeline
from worker.process.runner import ProcessRunner

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

CASES = ("1280x720@30", "1280x720@25", "426x240@30")
PIPE_BYTES = 1 << 20


@dataclass(frozen=True, slots=True)
class Case:
    """One film: what is drawn, how large and how fast."""

    log: Path
    size: str
    framerate: int
    seconds_per_day: float

    def gource(self) -> tuple[str, ...]:
        """Return the command that both sides run."""
        return (
            *("gource", "--log-format", "custom", f"-{self.size}", "--output-framerate", str(self.framerate)),
            *("--seconds-per-day", f"{self.seconds_per_day:.6f}", "--auto-skip-seconds", "0.5", "--stop-at-end"),
            *("--disable-input", "--hide", "mouse", "--max-files", "0", "--key", "--title", "benchmark"),
            *("--output-ppm-stream", "-", "--path", str(self.log)),
        )

    def ffmpeg(self, output: Path) -> tuple[str, ...]:
        """Return the encoder that both sides run."""
        return (
            *("ffmpeg", "-nostdin", "-v", "error", "-y", "-f", "image2pipe", "-c:v", "ppm"),
            *("-framerate", str(self.framerate), "-i", "pipe:0", "-vf", "format=yuv420p", "-c:v", "libx264"),
            *("-preset", "veryfast", "-crf", "20", "-g", "60", str(output)),
        )


def made_log(commits: int) -> str:
    """Return the history of a project that never was: eight people, eight folders that grow, one seed.

    2,000 commits leave some 550 files, as a project of that age has.
    """
    chance = random.Random(2000)  # noqa: S311  # the same film every time
    people = ("ada", "Grace Hopper", "Łukasz", "王芳", "bob", "Zoë", "eve", "linus")
    folders = ("src", "src/core", "src/core/io", "docs", "tests/unit", "tests/system", "web/css", "tools")
    endings = ("py", "c", "md")
    history = []
    for number in range(commits):
        changes = tuple(
            Change(
                chance.choice((Action.ADDED, Action.ADDED, Action.MODIFIED, Action.MODIFIED, Action.DELETED)),
                f"{chance.choice(folders)}/part{chance.randint(0, 10 + number // 100)}.{chance.choice(endings)}",
            )
            for _ in range(chance.randint(1, 5))
        )
        history.append(Commit(1_600_000_000 + 3600 * number, chance.choice(people), changes))
    return custom_log(history)


def own_log(repository: Path) -> str:
    """Return the history of a real repository."""
    directory = repository / ".git" if (repository / ".git").is_dir() else repository
    raw = subprocess.run(("git", *log_command(str(directory))), check=True, capture_output=True).stdout
    return custom_log(read_log(raw))


def speed(log: str, film: float) -> float:
    """Return the seconds per day with which this log becomes a film of `film` seconds, and its end."""
    times = [int(line.split("|", 1)[0]) for line in log.splitlines()]
    days = max((times[-1] - times[0]) / 86400, 1 / 24)
    return film / days


@contextmanager
def x_server() -> Iterator[str]:
    """Yield the name of a display that lasts as long as the block."""
    reading, writing = os.pipe()
    command = ("Xvfb", "-displayfd", str(writing), "-screen", "0", "1920x1080x24", "-nolisten", "tcp")
    with subprocess.Popen(command, pass_fds=(writing,), stderr=subprocess.DEVNULL) as server:
        os.close(writing)
        with os.fdopen(reading) as number:
            display = f":{number.readline().strip()}"
        try:
            yield display
        finally:
            server.terminate()


def shell(case: Case, output: Path, display: str) -> Cost:
    """Return the cost of the plain pipe under Xvfb."""
    line = f"{shlex.join(case.gource())} | {shlex.join(case.ffmpeg(output))}"
    environment = {**os.environ, "DISPLAY": display, "LIBGL_ALWAYS_SOFTWARE": "1", "SDL_VIDEODRIVER": "x11"}
    begun = time.perf_counter()
    process = subprocess.Popen(("sh", "-c", line), env=environment, stderr=subprocess.DEVNULL)
    return Cost(cpu=wait(process), wall=time.perf_counter() - begun)


def ours(case: Case, output: Path, library: Path) -> tuple[Cost, float]:
    """Return the cost of the film on virtual clocks, one for each core, under the worker's runner, and Python's own.

    Python's seconds are those of this process while the film is made: reading the progress, watching for a stall.
    """
    environments = shared_environments(library, case.framerate, len(os.sched_getaffinity(0)))
    gources = (Command(case.gource(), environment) for environment in environments)
    ffmpeg = Command((*case.ffmpeg(output), "-progress", "pipe:1"))
    runner = ProcessRunner(dict(os.environ))
    begun, own = time.perf_counter(), time.process_time()
    exits = asyncio.run(runner.run(Pipeline((*gources, ffmpeg)), lambda _: None, stall=60.0))
    wall, own = time.perf_counter() - begun, time.process_time() - own
    if failed := [str(one) for one in exits if not one.ok]:
        raise SystemExit("; ".join(failed))
    return Cost(cpu=sum(one.cpu_seconds for one in exits), wall=wall), own


def stream(case: Case, environment: dict[str, str]) -> tuple[str, Cost]:
    """Return the SHA-256 of every byte that gource writes, and what gource alone took."""
    begun = time.perf_counter()
    digest = hashlib.sha256()
    process = subprocess.Popen(
        case.gource(),
        env={**os.environ, **environment},
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
    )
    assert process.stdout is not None
    while block := process.stdout.read(PIPE_BYTES):
        digest.update(block)
    return digest.hexdigest(), Cost(cpu=wait(process), wall=time.perf_counter() - begun)


def together(case: Case, environments: Sequence[dict[str, str]]) -> str:
    """Return the SHA-256 of every byte that comes out of gources that share a film."""
    hashing = Command(("sha256sum",))
    gources = (Command(case.gource(), environment) for environment in environments)
    exits = asyncio.run(ProcessRunner(dict(os.environ)).run(Pipeline((*gources, hashing))))
    return exits[-1].output.split()[0] if all(one.ok for one in exits) else ""


def count(case: Case, library: Path) -> tuple[int, Cost]:
    """Return the number of frames by a dry run, and what that took."""
    begun = time.perf_counter()
    before = os.times()
    environment = {**os.environ, **count_environment(library, case.framerate)}
    ended = subprocess.run(case.gource(), env=environment, capture_output=True, check=True)
    after = os.times()
    report = read_report(ended.stderr) or ClockReport(0, 0)
    cpu = after.children_user - before.children_user + after.children_system - before.children_system
    return report.exported, Cost(cpu=cpu, wall=time.perf_counter() - begun)


def row(case: Case, library: Path, folder: Path, display: str, repeats: int) -> str:
    """Return one line of the table."""
    plain = min((shell(case, folder / "shell.mp4", display) for _ in range(repeats)), key=lambda cost: cost.wall)
    films = (ours(case, folder / "ours.mp4", library) for _ in range(repeats))
    fast, own = min(films, key=lambda film: film[0].wall)
    frames, dry = count(case, library)
    # The halves directly after the whole: a shared machine is not as fast in each minute.
    virtual, whole = stream(case, render_environment(library, case.framerate))
    halves = (FrameRange(0, frames // 2), FrameRange(frames // 2, frames))
    parts = [stream(case, render_environment(library, case.framerate, half))[1].cpu for half in halves]
    shared = together(case, shared_environments(library, case.framerate, len(os.sched_getaffinity(0))))
    # The real clock's frames hang on the moment at which its log is open; a busy host shifts them now and then.
    same = shared == virtual and any(stream(case, dict(HEADLESS))[0] == virtual for _ in range(AGREEING))
    cells = (
        f"{case.size} @ {case.framerate}",
        str(frames),
        f"{plain.wall:.1f}",
        f"{fast.wall:.1f}",
        f"**{fast.wall / plain.wall:.2f}**",
        f"{plain.cpu:.1f}",
        f"{fast.cpu:.1f}",
        f"{100 * own / (fast.cpu + own):.2f} %",
        f"{dry.wall:.2f}",
        "yes" if same else "NO",
        f"{sum(parts) / whole.cpu:.2f}",
    )
    return f"| {' | '.join(cells)} |"


def main(arguments: Sequence[str] | None = None) -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(
        prog="gource", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--repository", type=Path, help="draw this repository, not a made one")
    parser.add_argument("--commits", type=int, default=2000, help="of the made repository")
    parser.add_argument("--film", type=float, default=30.0, help="seconds of film before the last commit")
    parser.add_argument("--repeats", type=int, default=1)
    parser.add_argument("--case", action="append", help=f"size@fps; default: {' '.join(CASES)}")
    chosen = parser.parse_args(arguments)
    text = own_log(chosen.repository) if chosen.repository else made_log(chosen.commits)
    with tempfile.TemporaryDirectory(prefix="gource-") as name, x_server() as display:
        folder = Path(name)
        library = folder / library_name(SOURCE.read_bytes())
        subprocess.run(build_command(library), check=True)
        log = folder / "history.log"
        log.write_text(text, encoding="utf-8")
        source = (
            chosen.repository.resolve().name if chosen.repository else f"a made repository, {chosen.commits} commits"
        )
        print(f"Source: {source}; load at start: {os.getloadavg()[0]:.1f}; {os.cpu_count()} processors\n")
        print(
            "| film | frames | shell, wall s | ours, wall s | ratio | shell, CPU s | ours, CPU s "
            "| of it Python | dry run, s | identical | halves / whole, CPU |"
        )
        print("|---|---|---|---|---|---|---|---|---|---|---|")
        for spelling in chosen.case or CASES:
            size, framerate = spelling.split("@")
            case = Case(log, size, int(framerate), speed(text, chosen.film))
            print(row(case, library, folder, display, chosen.repeats), flush=True)


if __name__ == "__main__":
    main()
