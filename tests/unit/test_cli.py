"""The command line without a broker: usage, errors, records, option sets, schemas."""

from __future__ import annotations

import asyncio
import io
import json
import signal
import subprocess
import sys
import time

import pytest
from desk import message
from rich.cells import cell_len
from rich.console import Console

from worker.cli.doctor import outcome, say_finding
from worker.cli.options import check_options
from worker.cli.render import JOB_LIST, age, size, span
from worker.cli.tables import Column, aligned, cut_middle, fitted_table, fitted_widths
from worker.cli.words import printable
from worker.core.attempt import Artifact, Progress, Result
from worker.core.errors import InvalidJob, MountMissing
from worker.core.finding import Finding
from worker.core.record import WorkerRecord
from worker.engine.toollog import packed
from worker.registry import Registry
from worker.tasks.ffmpeg import FfmpegTask

COMMANDS = (
    "run", "submit", "jobs", "job", "logs", "watch", "cancel", "retry", "workers", "pause", "resume", "drain", "schema",
    "validate", "doctor", "dead list", "dead show", "dead replay", "dead purge", "option-sets list",
    "option-sets get", "option-sets put", "option-sets delete",
)  # fmt: skip


def one_line(answer, code=1):
    assert answer.code == code, answer
    assert answer.out == ""
    (line,) = answer.err.splitlines()
    assert line.startswith("leveret: ")
    return line


@pytest.mark.parametrize("command", COMMANDS)
def test_every_command_explains_itself(desk, command):
    answer = desk.type(*command.split(), "--help")
    assert answer.code == 0
    assert answer.out.startswith(f"Usage: leveret {command}")
    assert answer.err == ""


def test_help_lists_every_command_and_cuts_none_of_its_lines(desk):
    answer = desk.type("--help")
    assert answer.code == 0
    assert {command.split()[0] for command in COMMANDS} <= set(answer.out.split())
    assert "..." not in answer.out.partition("Commands:")[2]


def test_the_version_is_told(desk):
    assert desk.type("--version").out.startswith("leveret 0")


@pytest.mark.parametrize(
    ("arguments", "word"),
    [
        ("bogus", "No such command 'bogus'"),
        ("jobs --stat dead", "--state"),
        ("jobs --state lost", "'lost' is not one of"),
        ("jobs --limit 0", "--limit"),
        ("job", "ID"),
        ("dead", "Missing command"),
        ("dead replay", "--all"),
        ("dead replay x --all", "--all"),
        ("dead purge", "--yes"),
        ("pause", "--all"),
        ("option-sets put echo name", "--options"),
        ("--lanes moon", "'moon' is no lane"),
        ("--drain jobs", "belong to `run`"),
    ],
)
def test_wrong_usage_is_one_line_and_exit_2(desk, arguments, word):
    assert word in one_line(desk.type(*arguments.split()), 2)


def test_a_database_that_is_behind_names_the_command(desk, monkeypatch):
    monkeypatch.setenv("WORKER_DATABASE_URL", f"sqlite:///{desk.folder}/new.db")
    (desk.folder / "new.db").touch()
    assert "behind on migrations" in one_line(desk.type("jobs"))


@pytest.mark.parametrize("command", ["jobs", "job x", "workers", "cancel x --unseen", "option-sets list", "watch"])
def test_who_looks_for_a_database_that_is_not_there_makes_none(desk, monkeypatch, command):
    place = desk.folder / "typo" / "new.db"
    monkeypatch.setenv("WORKER_DATABASE_URL", f"sqlite:///{place}")
    line = one_line(desk.type(*command.split()))
    assert f"there is no database at {place}: is WORKER_DATABASE_URL right?" in line
    assert not place.parent.exists()


def test_submit_without_a_database_names_provision(desk, monkeypatch):
    monkeypatch.setenv("WORKER_DATABASE_URL", f"sqlite:///{desk.folder}/new.db")
    assert "python -m infra provision" in one_line(desk.type("submit", desk.write("job.json", message("mine"))))


def test_a_wrong_setting_is_named(desk, monkeypatch):
    monkeypatch.setenv("WORKER_LEASE_SECONDS", "soon")
    assert "WORKER_LEASE_SECONDS" in one_line(desk.type("jobs"))


def test_a_fault_of_ours_is_one_line_too(desk):
    code = 'import worker.cli as c; c.GROUPS = ("words",); c.main()'
    done = subprocess.run(
        [sys.executable, "-c", code, "jobs"], env=desk.environment(), capture_output=True, text=True, check=False
    )
    assert done.returncode == 1
    (line,) = done.stderr.splitlines()
    assert "AttributeError" in line


# ---------------------------------------------------------------- submit


@pytest.mark.parametrize(
    ("body", "word"),
    [
        ("nonsense", "not JSON"),
        ("[]", "a job is a JSON object, not a list"),
        ('{"tasks": [{"module": "ecko", "data": {}}]}', "did you mean 'echo'?"),
        ('{"tasks": [{"module": "echo", "data": {"text": "a", "time": 2}}]}', "did you mean 'times'?"),
        ('{"job_id": "../x", "tasks": [{"module": "echo", "data": {"text": "a"}}]}', "job_id"),
    ],
)
def test_a_bad_message_is_told_before_anything_happens(desk, body, word):
    assert word in one_line(desk.type("submit", desk.write("job.json", body)))
    assert desk.type("jobs", "--json").out == "[]\n"


def test_every_problem_of_a_message_has_its_line(desk):
    tasks = [{"module": "echo", "data": {"times": 99}}, {"module": "nothing", "data": {}}]
    answer = desk.type("submit", desk.write("job.json", json.dumps({"tasks": tasks})))
    assert answer.code == 1
    paths = [line.split(": ")[1] for line in answer.err.splitlines()]
    assert paths == ["tasks[0].data.text", "tasks[0].data.times", "tasks[1]"]


def test_a_missing_file_is_told(desk):
    assert "cannot read nowhere.json: No such file" in one_line(desk.type("submit", "nowhere.json"))


def test_a_broker_that_is_away_leaves_no_row_behind(desk):
    body = '{"tasks": [{"module": "echo", "data": {"text": "a"}}]}'
    line = one_line(desk.type("submit", desk.write("job.json", body)))
    assert "127.0.0.1:1 does not answer (Connection refused)" in line
    assert "guest:guest" not in line
    assert desk.type("jobs", "--json").out == "[]\n"


# ---------------------------------------------------------------- jobs


def test_a_job_as_json_has_exactly_the_public_shape(desk):
    body = desk.insert("a-job")
    attempt = desk.claimed("a-job", body)
    desk.ask(lambda rows: rows.report(attempt, Progress(41.5, "echo", 60.0, 2.0, 42.0)))
    answer = desk.type("job", "a-job", "--json")
    assert answer.code == 0
    assert answer.err == ""
    document = json.loads(answer.out)
    assert set(document) == {
        "job_id", "title", "state", "round", "lane", "priority", "dialect", "attempts", "progress", "artifacts",
        "manifest_url", "thumbnail_url", "error", "error_type", "facts", "created_at", "started_at", "finished_at",
        "metrics",
    }  # fmt: skip
    assert (document["state"], document["lane"], document["priority"]) == ("running", "cpu", "low")
    assert document["progress"] == {
        "percent": 41.5, "task": "echo", "fps": 60.0, "speed": 2.0, "eta_seconds": 42.0,
    }  # fmt: skip
    (attempt_document,) = document["attempts"]
    keys = {"number", "worker", "started_at", "ended_at", "outcome", "error", "error_type"}
    assert keys <= set(attempt_document)


def test_jobs_can_be_listed_by_state_newest_first(desk):
    desk.completed("one")
    desk.died("two")
    listed = json.loads(desk.type("jobs", "--json").out)
    assert {job["job_id"] for job in listed} == {"one", "two"}
    assert [job["job_id"] for job in json.loads(desk.type("jobs", "--state", "dead", "--json").out)] == ["two"]
    assert len(json.loads(desk.type("jobs", "--limit", "1", "--json").out)) == 1
    table = desk.type("jobs").out
    assert table.splitlines()[0].split() == [
        "JOB", "TITLE", "STATE", "PROGRESS", "LANE", "PRIORITY", "CREATED", "ERROR",
    ]  # fmt: skip
    lines = {line.split()[0]: line for line in table.splitlines()}
    assert lines["two"].endswith("ffmpeg exited 1 after 3 s")
    assert "  completed  100 %  " in lines["one"]


def test_a_long_error_is_cut_in_the_list_and_whole_with_the_job(desk):
    why = "ffmpeg exited 1: " + "x" * 200
    desk.died("two", why)
    line = desk.type("jobs").out.splitlines()[1]
    assert line.endswith("x…")
    assert len(line.partition("ffmpeg")[2]) == 100 - len("ffmpeg")
    assert why in desk.type("job", "two").out


@pytest.mark.parametrize(("end", "progress"), [("complete", "100 %"), ("confirm_cancel", "41.5 % echo")])
def test_an_ended_job_tells_how_far_it_came_and_how_long_it_took_but_no_speed(desk, end, progress):
    attempt = desk.claimed("a-job", desk.insert("a-job"))
    desk.ask(lambda rows: rows.report(attempt, Progress(41.5, "echo", 60.0, 2.0, 42.0)))
    assert "41.5 % echo, 60 fps, 2x, 0:42 left" in desk.type("job", "a-job").out
    rest = (Result(),) if end == "complete" else ()
    desk.ask(lambda rows: getattr(rows, end)(attempt, *rest))
    said = desk.type("job", "a-job").out
    facts = dict(line.split(maxsplit=1) for line in said.partition("\n\n")[0].splitlines())
    assert (facts["progress"], facts["took"]) == (progress, "0:00")
    assert f"  {progress}  " in desk.type("jobs").out


def test_started_is_of_the_last_round_and_attempts_tell_their_round(desk):
    body = desk.died("a-job")
    desk.ask(lambda rows: rows.reopen("a-job"))
    facts = [line.split()[0] for line in desk.type("job", "a-job").out.partition("\n\n")[0].splitlines()]
    assert "started" not in facts
    assert "took" not in facts
    desk.claimed("a-job", body)
    table = desk.type("job", "a-job").out.partition("\n\n")[2].splitlines()
    assert table[0].split()[:3] == ["ROUND", "ATTEMPT", "WORKER"]
    assert [line.split()[:2] for line in table[1:]] == [["1", "1"], ["2", "1"]]


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


def test_no_jobs_is_said(desk):
    assert desk.type("jobs").out == "no jobs\n"


def test_a_foreign_title_steers_no_terminal(desk):
    body = b'{"job_id": "evil", "job_title": "a\\u001b[31mb\\nc", "tasks": [{"module": "echo", "data": {"text": "x"}}]}'
    desk.insert("evil", body)
    for command in (("jobs",), ("job", "evil")):
        said = desk.type(*command).out
        assert "\x1b" not in said
        assert "a\\x1b[31mb" in said


def test_an_unknown_job_is_told_with_the_nearest_one(desk):
    desk.insert("holiday-film")
    assert "did you mean 'holiday-film'?" in one_line(desk.type("job", "holiday-flim"))
    assert one_line(desk.type("watch", "holiday-flim"))


@pytest.mark.parametrize(("make", "code", "state"), [("completed", 0, "completed"), ("died", 1, "dead")])
def test_watch_ends_as_the_job_ended(desk, make, code, state):
    getattr(desk, make)("a-job")
    answer = desk.type("watch", "a-job")
    assert answer.code == code
    assert answer.out.startswith(f"a-job  {state}")


def test_watch_of_a_cancelled_job_ends_with_2(desk):
    desk.insert("a-job")
    assert desk.type("cancel", "a-job").out == "a-job is cancelled\n"
    assert desk.type("watch", "a-job").code == 2


def test_an_artifact_is_shown_with_its_size(desk, tmp_path):
    body = desk.insert("a-job")
    attempt = desk.claimed("a-job", body)
    made = Artifact("file", tmp_path / "a", "nas://a.mkv", "video/x-matroska", bytes=3 << 20, sha256="", duration=61)
    desk.ask(lambda rows: rows.complete(attempt, Result(artifacts=(made,))))
    (artifact,) = json.loads(desk.type("job", "a-job", "--json").out)["artifacts"]
    assert artifact["role"] == "file"
    assert (artifact["uri"], artifact["bytes"], artifact["duration"]) == ("nas://a.mkv", 3 << 20, 61.0)
    assert "3.0 MiB" in desk.type("job", "a-job").out


def test_cancelling_what_has_ended_is_refused(desk):
    desk.completed("done")
    desk.died("gone")
    assert "done is completed already" in one_line(desk.type("cancel", "done"))
    assert "gone is dead already" in one_line(desk.type("cancel", "gone"))


def test_cancelling_a_running_job_asks_its_worker(desk):
    attempt = desk.claimed("a-job", desk.insert("a-job"))
    assert "its worker stops it" in desk.type("cancel", "a-job").out
    assert desk.ask(lambda rows: rows.renew(attempt)).cancel


def test_cancelling_an_id_that_is_not_there_is_refused_and_leaves_nothing(desk):
    desk.insert("holiday-film")
    line = one_line(desk.type("cancel", "holiday-flim"))
    assert "there is no job 'holiday-flim'; did you mean 'holiday-film'? `--unseen` cancels a message" in line
    assert "no job 'x'; `--unseen` cancels" in one_line(desk.type("cancel", "x"))
    assert [job["job_id"] for job in json.loads(desk.type("jobs", "--json").out)] == ["holiday-film"]


def test_cancelling_what_no_worker_has_seen_leaves_a_tombstone_without_a_lane(desk):
    answer = desk.type("cancel", "later", "--unseen", "--json")
    assert json.loads(answer.out) == {"job_id": "later", "state": "cancelled"}
    assert desk.record("later").state == "cancelled"
    facts = dict(line.split(maxsplit=1) for line in desk.type("job", "later").out.splitlines())
    assert facts["lane"] == "-"
    assert desk.type("jobs").out.splitlines()[1].split()[2:6] == ["cancelled", "-", "-", "-"]


def test_the_beginning_of_an_id_is_enough_where_it_means_one_job(desk):
    desk.completed("3f2a9c01-one")
    desk.insert("3f2a9c02-two")
    for command in ("job", "watch"):
        assert "3f2a9c01-one" in desk.type(command, "3f2a9c01").out
    assert "no tool of the job 3f2a9c01-one" in one_line(desk.type("logs", "3f2a9c01"))
    assert desk.type("cancel", "3f2a9c02").out == "3f2a9c02-two is cancelled\n"
    line = one_line(desk.type("job", "3f2a"))
    assert "2 jobs" in line
    assert "3f2a9c01-one" in line
    assert "3f2a9c02-two" in line
    assert "there is no job '3f2'" in one_line(desk.type("job", "3f2"))


def test_ctrl_c_ends_a_watch_with_130_and_without_a_trace(desk):
    desk.insert("a-job")
    # A shell starts what it puts in the background with Ctrl-C ignored, and so may whoever runs these tests.
    watching = subprocess.Popen(
        ["env", "--default-signal=INT", sys.executable, "-m", "worker", "watch"],
        env=desk.environment(), stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
    )  # fmt: skip
    assert watching.stdout.readline().startswith("a-job  queued")
    watching.send_signal(signal.SIGINT)
    _, errors = watching.communicate(timeout=20)
    assert (watching.returncode, errors) == (130, "")


@pytest.mark.parametrize("unbuffered", ["", "1"])
def test_a_reader_that_is_gone_is_no_error_to_tell(desk, unbuffered):
    for number in range(3):
        desk.insert(f"job-{number}")
    listing = subprocess.Popen(
        [sys.executable, "-m", "worker", "jobs"],
        env=desk.environment() | {"PYTHONUNBUFFERED": unbuffered}, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
    )  # fmt: skip
    listing.stdout.close()
    assert listing.stderr.read() == b""
    listing.stderr.close()
    listing.wait(timeout=20)


# ---------------------------------------------------------------- workers


def beat(desk, worker_id="render-1"):
    record = WorkerRecord(
        worker_id=worker_id, hostname="render", pid=1, version="1", status="idle", lanes=["cpu", "visualize"]
    )
    return desk.ask(lambda rows: rows.beat(record))


def test_workers_are_listed_in_the_public_shape(desk):
    assert desk.type("workers").out == "no worker has ever told of itself here\n"
    beat(desk)
    (worker,) = json.loads(desk.type("workers", "--json").out)
    assert {
        "worker_id", "hostname", "version", "status", "job_id", "job_title", "lanes", "capabilities", "hardware",
        "seen_at",
    } <= set(worker)  # fmt: skip
    assert {"cpu_percent", "ram_percent", "disk_free_bytes", "cores"} <= set(worker["hardware"])
    assert "cpu,visualize" in desk.type("workers").out


def test_a_worker_is_shown_with_its_jobs_id_and_how_long_ago_it_was_seen(desk):
    record = WorkerRecord(
        worker_id="w", hostname="h", pid=1, version="1", status="in_progress", lanes=["cpu"],
        job_id="3f2a9c01-0000-4000-8000-000000000000", job_title="Holiday",
    )  # fmt: skip
    desk.ask(lambda rows: rows.beat(record))
    line = desk.type("workers").out.splitlines()[1]
    assert "  3f2a9c01 Holiday  " in line
    assert " s ago  " in line
    assert "  in_progress  " in line
    desk.type("pause", "w")
    desk.ask(lambda rows: rows.beat(record))
    assert "  in_progress, then paused  " in desk.type("workers").out
    desk.type("resume", "w")
    assert "then" not in desk.type("workers").out
    assert [age(0.9), age(59), age(61), age(7300), age(90000), age(-3)] == ["0 s", "59 s", "1 min", "2 h", "1 d", "0 s"]


@pytest.mark.parametrize(("command", "wanted"), [("pause", "pause"), ("drain", "drain"), ("resume", "run")])
def test_a_worker_hears_what_people_want_of_it(desk, command, wanted):
    beat(desk)
    beat(desk, "render-2")
    assert desk.type(command, "render-1").out == f"render-1 is asked to {wanted}\n"
    assert beat(desk) == wanted
    assert beat(desk, "render-2") == "run"
    everyone = json.loads(desk.type(command, "--all", "--json").out)
    assert everyone == {"wanted": wanted, "workers": ["render-1", "render-2"]}
    assert beat(desk, "render-2") == wanted


def test_an_unknown_worker_is_told_with_the_nearest_one(desk):
    beat(desk)
    assert "did you mean 'render-1'?" in one_line(desk.type("pause", "rendr-1"))


# ---------------------------------------------------------------- option sets


def test_option_sets_are_stored_shown_and_deleted(desk):
    assert desk.type("option-sets", "put", "echo", "loud", "--options", '{"times": 9}').code == 0
    predecessors = desk.write("set.json", '{"name": "soft", "options": {"times": 1}}')
    assert desk.type("option-sets", "put", "echo", "soft", predecessors).code == 0
    listed = json.loads(desk.type("option-sets", "list", "--json").out)
    assert [(item["name"], item["options"]) for item in listed] == [("loud", {"times": 9}), ("soft", {"times": 1})]
    shown = desk.type("option-sets", "get", "echo", "soft").out
    assert json.loads(shown) == {"module": "echo", "name": "soft", "options": {"times": 1}}
    assert desk.type("option-sets", "put", "echo", "soft", desk.write("again.json", shown)).code == 0
    assert "soft" in desk.type("option-sets", "list", "echo").out
    assert desk.type("option-sets", "delete", "echo", "loud").code == 0
    assert "no option set 'loud'" in one_line(desk.type("option-sets", "delete", "echo", "loud"))
    assert "did you mean 'soft'?" in one_line(desk.type("option-sets", "get", "echo", "sofd"))


@pytest.mark.parametrize(
    ("module", "options", "word"),
    [
        ("ecko", "{}", "did you mean 'echo'?"),
        ("echo", "[]", "options are a JSON object"),
        ("echo", "{", "not JSON"),
        ("echo", '{"name": "other", "options": {}}', "'other'"),
    ],
)
def test_a_wrong_option_set_is_refused(desk, module, options, word):
    assert word in one_line(desk.type("option-sets", "put", module, "mine", "--options", options))
    assert json.loads(desk.type("option-sets", "list", "--json").out) == []


@pytest.mark.parametrize(
    ("options", "path"),
    [
        ({"codec": "libopus", "b": "128k", "ac": 2, "vbr": "on"}, None),
        ({"codec": "libx265", "x265-params": {"bframes": 8}, "pix_fmt": "yuv420p10le"}, None),
        ({"codec": "libopus", "filter_script": "/etc/passwd"}, "options.filter_script"),
    ],
)
def test_ffmpegs_options_are_checked_by_its_own_model(options, path):
    registry = Registry({"ffmpeg": FfmpegTask()})
    if path is None:
        check_options(registry, "ffmpeg", options)
        return
    with pytest.raises(InvalidJob) as caught:
        check_options(registry, "ffmpeg", options)
    assert [problem.path for problem in caught.value.problems] == [path]


# ---------------------------------------------------------------- schema, validate


def test_the_schema_of_a_message_names_its_fields_and_the_modules_here(desk):
    document = json.loads(desk.type("schema").out)
    assert {"job_id", "priority", "tasks"} <= set(document["properties"])
    assert "echo" in document["$defs"]["TaskMessage"]["properties"]["module"]["examples"]
    assert json.loads(desk.type("schema", "echo", "--json").out)["required"] == ["text"]
    assert "did you mean 'echo'?" in one_line(desk.type("schema", "ecco"))


def test_a_valid_message_is_told_with_its_lane(desk):
    name = desk.write("job.json", '{"shine": {"text": "a"}, "job_title": "x"}')
    answer = desk.type("validate", name)
    assert (answer.code, answer.err) == (0, "")
    told = dict(line.split(maxsplit=1) for line in answer.out.splitlines())
    assert told == {
        "message": "valid", "dialect": "flat", "modules": "shine", "lane": "nvenc", "priority": "normal",
    }  # fmt: skip


def test_an_invalid_message_is_told_as_one_document(desk):
    name = desk.write("job.json", '{"tasks": [{"echo": {}}, {"nothing": {}}]}')
    answer = desk.type("validate", name, "--json")
    assert (answer.code, answer.err) == (1, "")
    document = json.loads(answer.out)
    assert (document["valid"], document["dialect"], document["modules"]) == (False, "task map", ["echo", "nothing"])
    assert [problem["path"] for problem in document["problems"]] == ["tasks[0].echo.text", "tasks[1].nothing"]
    garbage = desk.type("validate", desk.write("garbage", b"\xff"))
    assert garbage.code == 1
    assert "not UTF-8" in garbage.err


# ---------------------------------------------------------------- doctor, render


def test_the_doctor_tells_a_wrong_setting_as_a_finding(desk, monkeypatch):
    monkeypatch.setenv("WORKER_RETRY_DELAYS", "never")
    answer = desk.type("doctor", "--json")
    assert (answer.code, answer.err) == (1, "")
    document = json.loads(answer.out)
    assert document["ok"] is False
    assert "WORKER_RETRY_DELAYS" in document["checks"][0]["fact"]


def test_the_doctor_keeps_within_100_columns_and_says_what_to_do_below(capsys):
    command = "python -m infra " + "provision" * 12
    say_finding("root /srv/" + "x" * 80, Finding(status="error", fact="word " * 60, advice=f"run {command} soon"))
    lines = capsys.readouterr().out.splitlines()
    assert lines[0].startswith("error    root /srv/")
    assert lines[0].split()[3] == "word"
    below = [line.strip() for line in lines if "to do" in line]
    assert below == ["to do: run python -m infra"]
    assert [line.strip() for line in lines if len(line) > 100] == ["provision" * 12]


def test_the_doctor_names_the_variable_of_a_folder_that_is_missing_and_makes_no_database(desk, monkeypatch):
    monkeypatch.setenv("WORKER_NAS_ROOT", str(desk.folder / "nas"))
    monkeypatch.setenv("WORKER_ROOTS", str(desk.folder / "more"))
    monkeypatch.setenv("WORKER_DATABASE_URL", f"sqlite:///{desk.folder}/typo/new.db")
    found = {check["name"]: check for check in json.loads(desk.type("doctor", "--json").out)["checks"]}
    assert found[f"nas {desk.folder}/nas"]["advice"].endswith("correct WORKER_NAS_ROOT")
    assert found[f"root {desk.folder}/more"]["advice"].endswith("correct WORKER_ROOTS")
    assert "is WORKER_DATABASE_URL right?" in found["database"]["fact"]
    assert not (desk.folder / "typo").exists()
    monkeypatch.delenv("WORKER_NAS_ROOT")
    found = {check["name"]: check for check in json.loads(desk.type("doctor", "--json").out)["checks"]}
    assert found["nas"]["status"] == "ok"


async def test_a_check_that_fails_or_hangs_is_an_error(monkeypatch):
    async def sick():
        raise MountMissing("/srv/nas is not mounted")

    async def silent():
        await asyncio.Event().wait()
        raise AssertionError

    monkeypatch.setattr("worker.cli.doctor.CHECK_SECONDS", 0.05)
    assert (await outcome(sick)).fact == "/srv/nas is not mounted"
    started = time.monotonic()
    assert (await outcome(silent)).status == "error"
    assert time.monotonic() - started < 5


def test_sizes_spans_and_cells_are_readable():
    assert [size(0), size(1023), size(1536), size(123 << 20), size(5 << 50)] == [
        "0 B", "1023 B", "1.5 KiB", "123 MiB", "5120 TiB",
    ]  # fmt: skip
    assert [span(None), span(0), span(59.6), span(3723)] == ["", "0:00", "1:00", "1:02:03"]
    assert printable("a\x07\u202eb") == "a\\x07\\u202eb"
    assert aligned([("A", "B"), ("日本", "x\ny"), ("", "z")]) == ["A     B", "日本  x y", "-     z"]


def test_logs_are_printed_and_a_job_without_any_says_so(desk):
    body = desk.insert("j1")
    assert "no tool of the job j1 has said anything" in one_line(desk.type("logs", "j1"))
    attempt = desk.claimed("j1", body)
    desk.ask(lambda repository: repository.store_log(attempt, packed("$ ffmpeg\nall is \x1b[31mwell\n")))
    answer = desk.type("logs", "j1")
    assert (answer.code, answer.out) == (0, "$ ffmpeg\nall is \\x1b[31mwell\n")
    assert json.loads(desk.type("logs", "j1", "--attempt", "1", "--json").out)["worker"] == "a-worker"
    assert "in attempt 2" in one_line(desk.type("logs", "j1", "--attempt", "2"))
    assert "there is no job" in one_line(desk.type("logs", "j2"))
    assert desk.type("logs", "j1", "--follow", "--json").code == 2


def test_who_follows_a_log_sees_all_of_it_and_ends_with_the_job(desk):
    body = desk.insert("j1")
    attempt = desk.claimed("j1", body)
    desk.ask(lambda repository: repository.store_log(attempt, packed("one\ntwo\n")))
    desk.ask(lambda repository: repository.complete(attempt, Result()))
    answer = desk.type("logs", "j1", "--follow")
    assert answer.code == 0
    assert answer.out.splitlines()[0].startswith("--- attempt 1 on a-worker")
    assert answer.out.endswith("one\ntwo\n")


def test_jobs_are_filtered(desk):
    desk.claimed("j1", desk.insert("j1"))
    desk.insert("j2")
    assert [job["job_id"] for job in json.loads(desk.type("jobs", "--worker", "a-worker", "--json").out)] == ["j1"]
    assert len(json.loads(desk.type("jobs", "--lane", "cpu", "--since", "5m", "--json").out)) == 2
    assert json.loads(desk.type("jobs", "--lane", "qsv", "--json").out) == []
    assert "is no age" in one_line(desk.type("jobs", "--since", "yesterday"), 2)
    assert desk.type("jobs", "--lane", "bogus").code == 2


def test_a_worker_loads_nothing_that_only_commands_use():
    code = "import sys, worker.app.worker, worker.cli; print(*sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert not {"pika", "httpx", "boto3", "prometheus_client", "worker.cli.tables"} & set(done.stdout.split())
