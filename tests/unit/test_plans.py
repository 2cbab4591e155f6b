"""What SQLite does for the questions that the page asks all the time: no walk through every job there is."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
from sqlalchemy import create_engine, event, insert

from infra.migrations import upgrade
from worker.adapters.sql import views
from worker.adapters.sql.jobs import listing
from worker.adapters.sql.schema import attempts, moment
from worker.core.listing import JobFilter

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from sqlalchemy import Connection


@pytest.fixture(scope="module")
def connection(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Connection]:
    folder: Path = tmp_path_factory.mktemp("plans")
    url = f"sqlite:///{folder / 'jobs.db'}"
    upgrade(url)
    engine = create_engine(url)
    with engine.connect() as opened:
        tried = {"epoch": 1, "round": 1, "number": 1, "worker": "busy", "token": "t", "announced": []}
        rows = [tried | {"job_id": f"job-{number}"} for number in range(600)]
        opened.execute(insert(attempts).values(started_at=moment()), rows)
        yield opened
    engine.dispose()


def plan(connection: Connection, ask: Callable[[Connection], Any]) -> str:
    """Return how SQLite answers a question, step by step."""
    asked: list[tuple[str, Any]] = []

    def note(_: Any, __: Any, statement: str, parameters: Any, *___: Any) -> None:
        asked.append((statement, parameters))

    event.listen(connection, "before_cursor_execute", note)
    ask(connection)
    event.remove(connection, "before_cursor_execute", note)
    steps = [connection.exec_driver_sql(f"EXPLAIN QUERY PLAN {text}", values).all() for text, values in asked]
    return "\n".join(str(row[3]) for rows in steps for row in rows)


def test_a_look_for_changes_walks_through_no_index_of_jobs(connection: Connection) -> None:
    found = plan(connection, lambda it: views.changes(it, ["job-1"]))
    assert "SEARCH jobs USING INDEX ix_jobs_state" in found
    assert "SCAN jobs" not in found


def test_waiting_jobs_and_the_newest_results_are_found_without_a_full_scan(connection: Connection) -> None:
    for ask in (lambda it: views.waiting(it, 25), lambda it: views.results(it, 8), views.depths):
        assert "SCAN jobs" not in plan(connection, ask)


def test_the_jobs_of_a_busy_worker_are_met_in_their_order_and_not_sorted(connection: Connection) -> None:
    found = plan(connection, lambda it: listing.page(it, JobFilter(worker="busy"), 50, None))
    assert "SCAN jobs USING COVERING INDEX ix_jobs_listing" in found
    assert "TEMP B-TREE" not in found
    few = plan(connection, lambda it: listing.page(it, JobFilter(worker="seldom"), 50, None))
    assert "SCAN jobs" not in few


@pytest.mark.parametrize(
    "chosen", [JobFilter(), JobFilter(lane="cpu"), JobFilter(module="hls"), JobFilter(text="film")]
)
def test_a_list_is_read_in_its_order_also_where_nobody_has_counted_the_rows(
    connection: Connection, chosen: JobFilter
) -> None:
    # SQLite without ANALYZE, which nobody runs.
    found = plan(connection, lambda it: listing.page(it, chosen, 50, None))
    assert "SCAN jobs USING COVERING INDEX ix_jobs_listing" in found
    assert "TEMP B-TREE" not in found
