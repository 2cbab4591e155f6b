"""`leveret cancel`: what it asks, what it refuses, and what it leaves in the database."""

from __future__ import annotations

import json

from tests.support.command_line import one_line


def test_cancelling_what_has_ended_is_refused(cli):
    cli.completed("done")
    cli.died("gone")
    assert "done is completed already" in one_line(cli.type("cancel", "done"))
    assert "gone is dead already" in one_line(cli.type("cancel", "gone"))


def test_cancelling_a_running_job_asks_its_worker(cli):
    attempt = cli.claimed("a-job", cli.insert("a-job"))
    assert "its worker stops it" in cli.type("cancel", "a-job").out
    assert cli.ask(lambda rows: rows.renew(attempt)).cancel


def test_cancelling_an_id_that_is_not_there_is_refused_and_leaves_nothing(cli):
    cli.insert("holiday-film")
    line = one_line(cli.type("cancel", "holiday-flim"))
    assert "there is no job 'holiday-flim'; did you mean 'holiday-film'? `--unseen` cancels a message" in line
    assert "no job 'x'; `--unseen` cancels" in one_line(cli.type("cancel", "x"))
    assert [job["job_id"] for job in json.loads(cli.type("jobs", "--json").out)] == ["holiday-film"]


def test_cancelling_what_no_worker_has_seen_leaves_a_tombstone_without_a_lane(cli):
    answer = cli.type("cancel", "later", "--unseen", "--json")
    assert json.loads(answer.out) == {"job_id": "later", "state": "cancelled"}
    assert cli.record("later").state == "cancelled"
    facts = dict(line.split(maxsplit=1) for line in cli.type("job", "later").out.splitlines())
    assert facts["lane"] == "-"
    assert cli.type("jobs").out.splitlines()[1].split()[2:6] == ["cancelled", "-", "-", "-"]
