"""`leveret jobs` and `leveret job`: which jobs are listed, and what is shown of each."""

from __future__ import annotations

import hashlib
import json
import re

import pytest

from tests.support.command_line import one_line
from worker.core.attempt import Artifact, Progress, Result
from worker.core.message.dialects import decode
from worker.core.record import WorkerRecord

A_WORKER = WorkerRecord(worker_id="w1", hostname="h", pid=1, version="1", status="idle", lanes=["cpu"])


def test_a_job_as_json_has_exactly_the_public_shape(cli):
    body = cli.insert("a-job")
    attempt = cli.claimed("a-job", body)
    cli.ask(lambda rows: rows.report(attempt, Progress(41.5, "echo", 60.0, 2.0, 42.0)))
    answer = cli.type("job", "a-job", "--json")
    assert answer.code == 0
    assert answer.err == ""
    document = json.loads(answer.out)
    assert set(document) == {
        "job_id", "title", "state", "round", "lane", "priority", "dialect", "attempts", "progress",
        "parts", "artifacts",
        "manifest_url", "thumbnail_url", "error", "error_type", "facts", "created_at", "started_at", "finished_at",
        "metrics", "modules", "retry_at", "callback", "callback_error", "refused_by", "waits",
    }  # fmt: skip
    assert (document["state"], document["lane"], document["priority"]) == ("running", "cpu", "low")
    assert document["progress"] == {
        "percent": 41.5, "task": "echo", "fps": 60.0, "speed": 2.0, "eta_seconds": 42.0,
    }  # fmt: skip
    (attempt_document,) = document["attempts"]
    keys = {"number", "worker", "started_at", "ended_at", "outcome", "error", "error_type"}
    assert keys <= set(attempt_document)


def test_jobs_can_be_listed_by_state_newest_first(cli):
    cli.completed("one")
    cli.died("two")
    listed = json.loads(cli.type("jobs", "--json").out)
    assert {job["job_id"] for job in listed} == {"one", "two"}
    assert [job["job_id"] for job in json.loads(cli.type("jobs", "--state", "dead", "--json").out)] == ["two"]
    assert len(json.loads(cli.type("jobs", "--limit", "1", "--json").out)) == 1
    table = cli.type("jobs").out
    assert table.splitlines()[0].split() == [
        "JOB", "TITLE", "STATE", "PROGRESS", "LANE", "PRIORITY", "CREATED", "ERROR",
    ]  # fmt: skip
    lines = {line.split()[0]: line for line in table.splitlines()}
    assert lines["two"].endswith("ffmpeg exited 1 after 3 s")
    assert "  completed  100 %  " in lines["one"]


def test_a_long_error_is_cut_in_the_list_and_whole_with_the_job(cli):
    why = "ffmpeg exited 1: " + "x" * 200
    cli.died("two", why)
    line = cli.type("jobs").out.splitlines()[1]
    assert line.endswith("x…")
    assert len(line.partition("ffmpeg")[2]) == 100 - len("ffmpeg")
    assert why in cli.type("job", "two").out


@pytest.mark.parametrize(("end", "progress"), [("complete", "100 %"), ("confirm_cancel", "41.5 % echo")])
def test_an_ended_job_states_how_far_it_came_and_how_long_it_took_but_no_speed(cli, end, progress):
    attempt = cli.claimed("a-job", cli.insert("a-job"))
    cli.ask(lambda rows: rows.report(attempt, Progress(41.5, "echo", 60.0, 2.0, 42.0)))
    assert "41.5 % echo, 60 fps, 2x, 0:42 left" in cli.type("job", "a-job").out
    rest = (Result(),) if end == "complete" else ()
    cli.ask(lambda rows: getattr(rows, end)(attempt, *rest))
    said = cli.type("job", "a-job").out
    facts = dict(line.split(maxsplit=1) for line in said.partition("\n\n")[0].splitlines())
    assert facts["progress"] == progress
    assert re.fullmatch(r"0:[0-5]\d", facts["took"])
    assert f"  {progress}  " in cli.type("jobs").out


def test_a_job_that_waits_states_no_speed_and_no_time_left(cli):
    attempt = cli.claimed("a-job", cli.insert("a-job"))
    cli.ask(lambda rows: rows.report(attempt, Progress(41.5, "echo", 60.0, 0.00013, 42.0)))
    assert "41.5 % echo, 60 fps, 0:42 left\n" in cli.type("job", "a-job").out
    cli.ask(lambda rows: rows.release(attempt, "interrupted", "the worker is going down"))
    assert "progress   41.5 % echo\n" in cli.type("job", "a-job").out


def test_started_is_of_the_last_round_and_attempts_state_their_round(cli):
    body = cli.died("a-job")
    cli.ask(lambda rows: rows.reopen("a-job"))
    facts = [line.split()[0] for line in cli.type("job", "a-job").out.partition("\n\n")[0].splitlines()]
    assert "started" not in facts
    assert "took" not in facts
    cli.claimed("a-job", body)
    table = cli.type("job", "a-job").out.partition("\n\n")[2].splitlines()
    assert table[0].split()[:3] == ["ROUND", "ATTEMPT", "WORKER"]
    assert [line.split()[:2] for line in table[1:]] == [["1", "1"], ["2", "1"]]


def test_no_jobs_is_said(cli):
    assert cli.type("jobs").out == "no jobs\n"


def test_a_foreign_title_steers_no_terminal(cli):
    body = b'{"job_id": "evil", "job_title": "a\\u001b[31mb\\nc", "tasks": [{"module": "echo", "data": {"text": "x"}}]}'
    cli.insert("evil", body)
    for command in (("jobs",), ("job", "evil")):
        said = cli.type(*command).out
        assert "\x1b" not in said
        assert "a\\x1b[31mb" in said


def test_an_unknown_job_is_reported_with_the_nearest_one(cli):
    cli.insert("holiday-film")
    assert "did you mean 'holiday-film'?" in one_line(cli.type("job", "holiday-flim"))
    assert one_line(cli.type("watch", "holiday-flim"))


def test_an_artifact_is_shown_with_its_size(cli, tmp_path):
    body = cli.insert("a-job")
    attempt = cli.claimed("a-job", body)
    made = Artifact("file", tmp_path / "a", "nas://a.mkv", "video/x-matroska", bytes=3 << 20, sha256="", duration=61)
    cli.ask(lambda rows: rows.complete(attempt, Result(artifacts=(made,))))
    (artifact,) = json.loads(cli.type("job", "a-job", "--json").out)["artifacts"]
    assert artifact["role"] == "file"
    assert (artifact["uri"], artifact["bytes"], artifact["duration"]) == ("nas://a.mkv", 3 << 20, 61.0)
    assert "3.0 MiB" in cli.type("job", "a-job").out


def test_the_beginning_of_an_id_is_enough_where_it_means_one_job(cli):
    cli.completed("3f2a9c01-one")
    cli.insert("3f2a9c02-two")
    for command in ("job", "watch"):
        assert "3f2a9c01-one" in cli.type(command, "3f2a9c01").out
    assert "no tool of the job 3f2a9c01-one" in one_line(cli.type("logs", "3f2a9c01"))
    assert cli.type("cancel", "3f2a9c02").out == "3f2a9c02-two is cancelled\n"
    line = one_line(cli.type("job", "3f2a"))
    assert "2 jobs" in line
    assert "3f2a9c01-one" in line
    assert "3f2a9c02-two" in line
    assert "there is no job '3f2'; of an id give at least 4 characters" in one_line(cli.type("job", "3f2"))


def test_jobs_are_filtered(cli):
    cli.claimed("j1", cli.insert("j1"))
    cli.insert("j2")
    assert [job["job_id"] for job in json.loads(cli.type("jobs", "--worker", "a-worker", "--json").out)] == ["j1"]
    assert len(json.loads(cli.type("jobs", "--lane", "cpu", "--since", "5m", "--json").out)) == 2
    assert json.loads(cli.type("jobs", "--lane", "qsv", "--json").out) == []
    assert "is no age" in one_line(cli.type("jobs", "--since", "yesterday"), 2)
    assert cli.type("jobs", "--lane", "bogus").code == 2


def test_a_queued_job_says_why_it_waits(cli):
    body = cli.insert("a-job")
    assert cli.type("job", "a-job").out.count("no living worker serves cpu") == 1
    cli.ask(lambda rows: rows.beat(A_WORKER))
    asked = (decode(body, "a-job"), hashlib.sha256(body).hexdigest(), "cpu", "low", "w1")
    cli.ask(lambda rows: rows.decline(*asked, lacking="tool:mkvmerge (not installed)"))
    why = "w1 cannot do it: tool:mkvmerge (not installed), and no other worker serves cpu"
    assert f"waits      {why}" in cli.type("job", "a-job").out
    document = json.loads(cli.type("job", "a-job", "--json").out)
    assert document["waits"] == why
    assert document["refused_by"] == {"w1": "tool:mkvmerge (not installed)"}


@pytest.mark.parametrize(("url", "name"), [("/out/b.mkv", "file"), ("/out/master.m3u8", "manifest")])
def test_only_a_playlist_is_called_a_manifest(cli, url, name):
    attempt = cli.claimed("j1", cli.insert("j1"))
    cli.ask(lambda repository: repository.complete(attempt, Result(total_seconds=1.5, manifest_url=url)))
    lines = [line.split() for line in cli.type("job", "j1").out.splitlines()]
    assert [name, url] in lines
