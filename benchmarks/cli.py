"""What a command costs before it does anything: CPU seconds of its process, the shortest and the median of many.

python -m benchmarks cli [RUNS]
"""

from __future__ import annotations

import asyncio
import hashlib
import os
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

from benchmarks.measure import host, wait
from infra.migrations import upgrade
from worker.adapters.sql import SqlRepository
from worker.core.message.dialects import decode

if TYPE_CHECKING:
    from collections.abc import Sequence

RUNS = 15
BODY = b'{"job_id": "a-job", "tasks": [{"module": "cleanup", "data": {"delete": ["a.mkv"]}}]}'
COMMANDS: dict[str, tuple[tuple[str, ...], float | None]] = {
    "python -c pass": (("-c", "pass"), None),
    "leveret --help": (("-m", "worker", "--help"), 0.25),
    "leveret --version": (("-m", "worker", "--version"), None),
    "leveret job ID": (("-m", "worker", "job", "a-job"), 0.45),
    "leveret jobs": (("-m", "worker", "jobs"), None),
    "leveret submit --help": (("-m", "worker", "submit", "--help"), None),
}


def main(options: Sequence[str] = ()) -> None:
    """Print the table; the goals are those of a machine on which `python -c pass` takes 0.01 s."""
    runs = int(options[0]) if options else RUNS
    print(f"{host()}; {runs} runs each")
    print("| command | shortest, s | median, s | goal |\n|---|---|---|---|")
    with tempfile.TemporaryDirectory() as folder:
        url = f"sqlite:///{folder}/rows.db"
        upgrade(url)
        asyncio.run(_one_job(url))
        # As installed programs are: compiled once. The first run of each is not counted.
        kept = {name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"}
        environment = kept | {"WORKER_DATABASE_URL": url, "PYTHONPYCACHEPREFIX": f"{folder}/compiled"}
        for name, (words, goal) in COMMANDS.items():
            _, *took = [_cpu(words, environment, Path(folder)) for _ in range(runs + 1)]
            seconds = f"{min(took):.2f} | {statistics.median(took):.2f}"
            print(f"| `{name}` | {seconds} | {'' if goal is None else goal} |", flush=True)


def _cpu(words: Sequence[str], environment: dict[str, str], folder: Path) -> float:
    here = {"PYTHONPATH": str(Path(__file__).resolve().parent.parent)}
    return wait(
        subprocess.Popen((sys.executable, *words), env=environment | here, cwd=folder, stdout=subprocess.DEVNULL)
    )


async def _one_job(url: str) -> None:
    rows = SqlRepository(url)
    try:
        await rows.submit(decode(BODY, "a-job"), hashlib.sha256(BODY).hexdigest(), "cpu", "normal")
    finally:
        await rows.close()
