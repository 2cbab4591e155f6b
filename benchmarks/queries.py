"""How long lists of jobs take with 100,000 jobs, by filter, on SQLite and PostgreSQL.

python -m benchmarks queries [JOBS] [--sqlite-only]
"""

from __future__ import annotations

import asyncio
import random
import statistics
import tempfile
import time
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any

from sqlalchemy import create_engine, insert, make_url, text

from infra.local import LocalServices
from infra.migrations import upgrade
from worker.adapters.sql import SqlRepository
from worker.adapters.sql.rows import fresh_row
from worker.adapters.sql.schema import attempts, jobs
from worker.core.job import Job, TaskSpec
from worker.core.listing import JobFilter

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Iterator

    from sqlalchemy import Connection

JOBS = 100_000
PAGE = 50
ROUNDS = 20
GOAL_MS = 50.0
BATCH = 2000
STATES = ("completed",) * 90 + ("dead",) * 5 + ("cancelled",) * 3 + ("queued", "retrying")
FILTERS: dict[str, JobFilter] = {
    "no filter": JobFilter(),
    "state completed": JobFilter("completed"),
    "state running, of which there is none": JobFilter("running"),
    "lane": JobFilter(lane="nvenc"),
    "a busy worker": JobFilter(worker="w0"),
    "a worker of five old jobs": JobFilter(worker="rare"),
    "a worker of ten thousand old jobs": JobFilter(worker="old"),
    "module": JobFilter(module="hls"),
    "module of no job": JobFilter(module="nobody"),
    "text of one old job": JobFilter(text="needle"),
    "text of no job": JobFilter(text="no such film"),
    "state and text of no job": JobFilter("completed", text="no such film"),
    "state, lane, module, worker and age": JobFilter(
        "dead", "cpu", "w1", "ffmpeg", "film", timedelta(days=60), timedelta(days=1)
    ),
    "all of it and no job": JobFilter("dead", "nvenc", "w0", "gource", "no such film"),
}


def main(options: list[str]) -> None:
    count = next((int(word) for word in options if word.isdigit()), JOBS)
    with tempfile.TemporaryDirectory() as folder:
        urls = {"SQLite": f"sqlite:///{folder}/leveret.db"}
        services = LocalServices(Path(folder) / "services")
        try:
            if "--sqlite-only" not in options:
                services.up(("postgres",))
                urls["PostgreSQL"] = services.environment("postgres")["WORKER_DATABASE_URL"]
            figures = {name: asyncio.run(measured(url, count)) for name, url in urls.items()}
        finally:
            services.down(purge=True)
    print(f"{count} jobs, pages of {PAGE}, {ROUNDS} rounds; p95 in ms (goal: below {GOAL_MS:.0f})\n")
    print(f"| query | {' | '.join(urls)} |\n|---|{'---:|' * len(urls)}")
    for query in next(iter(figures.values())):
        print(f"| {query} | {' | '.join(f'{figures[name][query]:.1f}' for name in urls)} |")


async def measured(url: str, count: int) -> dict[str, float]:
    """Return the p95 in ms by query."""
    upgrade(url)
    fill(url, count)
    stores = SqlRepository(url, answer_seconds=30.0)
    try:
        return {name: await p95(query) for name, query in queries(stores, count)}
    finally:
        await stores.close()


def queries(stores: SqlRepository, count: int) -> Iterator[tuple[str, Callable[[], Awaitable[Any]]]]:
    for name, chosen in FILTERS.items():
        yield name, lambda chosen=chosen: stores.page(chosen, PAGE)

    async def deep() -> None:
        page = await stores.page(JobFilter("completed"), 1000)
        for _ in range(3):
            page = await stores.page(JobFilter("completed"), PAGE, page.next_cursor)

    yield "four pages by cursor, the first of 1000", deep
    yield "a job by its id", lambda: stores.job(name_of(count // 2))
    yield "ids by their beginning", lambda: stores.ids(name_of(count // 2)[:8], 6)
    yield "counts by state", stores.counts
    yield "waiting jobs by lane", stores.waiting_by_lane


async def p95(query: Callable[[], Awaitable[Any]]) -> float:
    await query()
    taken = []
    for _ in range(ROUNDS):
        started = time.perf_counter()
        await query()
        taken.append((time.perf_counter() - started) * 1000)
    return statistics.quantiles(taken, n=20)[-1]


def name_of(number: int) -> str:
    return f"{random.Random(number).getrandbits(64):016x}-{number:06d}"  # noqa: S311 - names, not secrets


def fill(url: str, count: int) -> None:
    """Insert `count` jobs of the last 100 days, each with an attempt."""
    scheme, _, rest = url.partition(":")
    engine = create_engine(make_url(url if scheme == "sqlite" else f"postgresql+psycopg:{rest}"))
    draw = random.Random(1)  # noqa: S311 - the same jobs at each run
    now = datetime.now(UTC)
    with engine.begin() as connection:
        for start in range(0, count, BATCH):
            numbers = range(start, min(start + BATCH, count))
            insert_jobs(connection, numbers, draw, now, count)
        if scheme != "sqlite":
            connection.execute(text("ANALYZE"))
    if scheme != "sqlite":
        with engine.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
            connection.execute(text("VACUUM ANALYZE"))
    engine.dispose()


def insert_jobs(connection: Connection, numbers: range, draw: random.Random, now: datetime, count: int) -> None:
    rows, tries = [], []
    for number in numbers:
        lane = draw.choice(("cpu",) * 8 + ("nvenc", "visualize"))
        modules = ("gource",) if lane == "visualize" else draw.choice((("ffmpeg",), ("hls", "cleanup")))
        tasks = tuple(TaskSpec(one, {"sources": ["nas://films/a.mkv"], "note": "x" * 400}, "") for one in modules)
        title = "a needle in the hay" if number == 7 else f"Film number {number} of a long shelf"
        row = fresh_row(Job(name_of(number), title, tasks, "canonical"), "d" * 64, lane, "normal")
        created = now - timedelta(days=100) * ((count - number) / count)
        rows.append(row | {"state": draw.choice(STATES), "created_at": created})
        worker = (
            "rare" if number < 5 else "old" if number < count // 10 else draw.choice(("w0", "w0", "w0", "w1", "w2"))
        )
        tries.append(
            {"job_id": row["job_id"], "epoch": 1, "round": 1, "number": 1, "worker": worker, "token": "t",
             "started_at": created, "ended_at": created, "outcome": "completed", "announced": []}
        )  # fmt: skip
    connection.execute(insert(jobs), rows)
    connection.execute(insert(attempts), tries)
