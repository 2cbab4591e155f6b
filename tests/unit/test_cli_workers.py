"""`leveret workers`, and what `pause`, `drain` and `resume` ask of them."""

from __future__ import annotations

import json

import pytest

from tests.support.command_line import one_line
from worker.adapters.sql.schema import moment
from worker.adapters.sql.schema import workers as table
from worker.core.figures import age
from worker.core.record import WorkerRecord


def beat(cli, worker_id="render-1"):
    record = WorkerRecord(
        worker_id=worker_id, hostname="render", pid=1, version="1", status="idle", lanes=["cpu", "visualize"]
    )
    return cli.ask(lambda rows: rows.beat(record))


def test_workers_are_listed_in_the_public_shape(cli):
    assert cli.type("workers").out == "no worker has ever reported here\n"
    beat(cli)
    (worker,) = json.loads(cli.type("workers", "--json").out)
    assert {
        "worker_id", "hostname", "version", "status", "job_id", "job_title", "lanes", "capabilities", "hardware",
        "seen_at",
    } <= set(worker)  # fmt: skip
    assert {"cpu_percent", "ram_percent", "disk_free_bytes", "cores"} <= set(worker["hardware"])
    assert "cpu,visualize" in cli.type("workers").out


def test_a_worker_is_shown_with_its_jobs_id_and_how_long_ago_it_was_seen(cli):
    record = WorkerRecord(
        worker_id="w", hostname="h", pid=1, version="1", status="in_progress", lanes=["cpu"],
        job_id="3f2a9c01-0000-4000-8000-000000000000", job_title="Holiday",
    )  # fmt: skip
    cli.ask(lambda rows: rows.beat(record))
    line = cli.type("workers").out.splitlines()[1]
    assert "  3f2a9c01 Holiday  " in line
    assert " s ago  " in line
    assert "  running  " in line
    cli.type("pause", "w")
    cli.ask(lambda rows: rows.beat(record))
    assert "  running, then paused  " in cli.type("workers").out
    cli.type("resume", "w")
    assert "then" not in cli.type("workers").out
    assert [age(0.9), age(59), age(61), age(7300), age(90000), age(-3)] == ["0 s", "59 s", "1 min", "2 h", "1 d", "0 s"]


@pytest.mark.parametrize(("command", "wanted"), [("pause", "pause"), ("drain", "drain"), ("resume", "run")])
def test_a_steering_command_reaches_the_named_worker_alone(cli, command, wanted):
    beat(cli)
    beat(cli, "render-2")
    assert cli.type(command, "render-1").out == f"render-1 is asked to {wanted}\n"
    assert beat(cli) == wanted
    assert beat(cli, "render-2") == "run"
    everyone = json.loads(cli.type(command, "--all", "--json").out)
    assert everyone == {"wanted": wanted, "workers": ["render-1", "render-2"]}
    assert beat(cli, "render-2") == wanted


def test_an_unknown_worker_is_reported_with_the_nearest_one(cli):
    beat(cli)
    assert "did you mean 'render-1'?" in one_line(cli.type("pause", "rendr-1"))


def test_why_a_worker_takes_no_jobs_is_reported_whole_on_a_line_of_its_own(cli):
    problem = "/srv/media is not there: mount it, make it, or correct WORKER_STORAGE_URL (its default)"
    record = WorkerRecord(
        worker_id="w", hostname="h", pid=1, version="1", status="paused", lanes=["cpu"], problem=problem
    )
    cli.ask(lambda rows: rows.beat(record))
    assert cli.type("workers").out.splitlines()[-1] == f"w: {problem}"


def silence(cli, *names, seconds):
    def work(connection):
        connection.execute(table.update().where(table.c.worker_id.in_(names)).values(seen_at=moment(-seconds)))

    cli.ask(lambda rows: rows._database.write(work))


def test_offline_workers_are_forgotten_by_name_or_by_age_and_living_ones_never(cli):
    for name in ("alive", "gone-1", "gone-2", "gone-3"):
        beat(cli, name)
    silence(cli, "gone-1", "gone-2", seconds=2 * 86400)
    silence(cli, "gone-3", seconds=3600)
    assert "is not offline: `leveret drain alive` ends it" in one_line(cli.type("forget", "alive"))
    assert cli.type("forget", "gone-1").out == "gone-1 is forgotten; it is listed again if it comes back\n"
    assert json.loads(cli.type("forget", "--silent", "1d", "--json").out) == {"forgotten": ["gone-2"]}
    assert cli.type("forget", "--silent", "1d").out == "no worker was silent for so long\n"
    # Who is asked to go on is who can: what is offline is left out.
    assert json.loads(cli.type("resume", "--all", "--json").out)["workers"] == ["alive"]
    assert {one["worker_id"] for one in json.loads(cli.type("workers", "--json").out)} == {"alive", "gone-3"}
