"""The commands that read a message or explain one: `submit`, `validate` and `schema`, without a broker."""

from __future__ import annotations

import json

import pytest

from tests.support.command_line import message, one_line
from worker.media.capabilities import Capabilities


def test_submit_without_a_database_names_provision(cli, monkeypatch):
    monkeypatch.setenv("WORKER_DATABASE_URL", f"sqlite:///{cli.folder}/new.db")
    assert "python -m infra provision" in one_line(cli.type("submit", cli.write("job.json", message("mine"))))


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
def test_a_bad_message_is_reported_before_anything_happens(cli, body, word):
    assert word in one_line(cli.type("submit", cli.write("job.json", body)))
    assert cli.type("jobs", "--json").out == "[]\n"


def test_every_problem_of_a_message_has_its_line(cli):
    tasks = [{"module": "echo", "data": {"times": 99}}, {"module": "nothing", "data": {}}]
    answer = cli.type("submit", cli.write("job.json", json.dumps({"tasks": tasks})))
    assert answer.code == 1
    paths = [line.split(": ")[1] for line in answer.err.splitlines()]
    assert paths == ["tasks[0].data.text", "tasks[0].data.times", "tasks[1]"]


def test_a_missing_file_is_reported(cli):
    assert "cannot read nowhere.json: No such file" in one_line(cli.type("submit", "nowhere.json"))


def test_a_broker_that_is_away_leaves_no_row_behind(cli):
    body = '{"tasks": [{"module": "echo", "data": {"text": "a"}}]}'
    line = one_line(cli.type("submit", cli.write("job.json", body)))
    assert "127.0.0.1:1 does not answer (Connection refused)" in line
    assert "guest:guest" not in line
    assert cli.type("jobs", "--json").out == "[]\n"


def test_the_schema_of_a_message_names_its_fields_and_the_modules_here(cli):
    document = json.loads(cli.type("schema").out)
    assert {"job_id", "priority", "tasks"} <= set(document["properties"])
    assert "echo" in document["$defs"]["TaskMessage"]["properties"]["module"]["examples"]
    assert json.loads(cli.type("schema", "echo", "--json").out)["required"] == ["text"]
    assert "did you mean 'echo'?" in one_line(cli.type("schema", "ecco"))


def test_a_valid_message_is_reported_with_its_lane(cli):
    name = cli.write("job.json", '{"shine": {"text": "a"}, "job_title": "x"}')
    answer = cli.type("validate", name)
    assert (answer.code, answer.err) == (0, "")
    facts = dict(line.split("  ", 1) for line in answer.out.splitlines())
    assert "the sources exist" in facts.pop("not checked")
    assert {name.strip(): fact.strip() for name, fact in facts.items()} == {
        "message": "valid", "dialect": "flat", "modules": "shine", "lane": "nvenc", "priority": "normal",
    }  # fmt: skip


def test_an_invalid_message_is_reported_as_one_document(cli):
    name = cli.write("job.json", '{"tasks": [{"echo": {}}, {"nothing": {}}]}')
    answer = cli.type("validate", name, "--json")
    assert (answer.code, answer.err) == (1, "")
    document = json.loads(answer.out)
    assert (document["valid"], document["dialect"], document["modules"]) == (False, "task map", ["echo", "nothing"])
    assert [problem["path"] for problem in document["problems"]] == ["tasks[0].echo.text", "tasks[1].nothing"]
    garbage = cli.type("validate", cli.write("garbage", b"\xff"))
    assert garbage.code == 1
    assert "not UTF-8" in garbage.err


def test_validate_here_looks_at_what_a_worker_of_this_host_would_refuse(cli, monkeypatch):
    async def proved(_settings):
        return Capabilities(proved=True, encoders={"libx264": True}, tools={"ffmpeg": True, "ffprobe": True})

    monkeypatch.setattr("worker.app.direct.here.capabilities", proved)
    storage = cli.folder / "storage"
    storage.mkdir()
    monkeypatch.setenv("WORKER_STORAGE_URL", f"file://{storage}/")

    def facts(*words, **output):
        maps = [{"specifier": "v", "options": {"codec": "libx264"}} | output]
        data = {"sources": [str(storage / "film.mkv")], "output_maps": maps, "output_file": "out.mkv"}
        name = cli.write("job.json", json.dumps({"tasks": [{"module": "ffmpeg", "data": data}]}))
        answer = json.loads(cli.type("validate", name, "--json", *words).out)
        return answer["valid"], [one["message"] for one in answer["problems"]], len(answer["not_checked"])

    assert facts() == (True, [], 3)
    assert facts("--here") == (False, [f"{storage}/film.mkv does not exist"], 0)
    (storage / "film.mkv").touch()
    assert facts("--here") == (True, [], 0)
    assert "no option set 'unheard'" in facts("--here", option_set="unheard")[1][0]
    assert facts("--here", options={"codec": "hevc_nvenc"})[1] == [
        "this host lacks encoder:hevc_nvenc (not in this ffmpeg)"
    ]
