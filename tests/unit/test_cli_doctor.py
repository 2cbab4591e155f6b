"""`leveret doctor`: what it finds, how it says so, and that no check holds it up."""

from __future__ import annotations

import asyncio
import json
import time

from worker.cli.doctor import say_finding
from worker.control.doctor import outcome
from worker.core.errors import MountMissing
from worker.core.finding import Finding


def test_the_doctor_states_a_wrong_setting_as_a_finding(cli, monkeypatch):
    monkeypatch.setenv("WORKER_RETRY_DELAYS", "never")
    answer = cli.type("doctor", "--json")
    assert (answer.code, answer.err) == (1, "")
    document = json.loads(answer.out)
    assert document["ok"] is False
    assert "WORKER_RETRY_DELAYS" in document["checks"][0]["fact"]


def test_the_doctor_warns_of_a_variable_that_nothing_reads(cli, monkeypatch):
    monkeypatch.setenv("WORKER_LANE", "cpu")
    settings = json.loads(cli.type("doctor", "--json").out)["checks"][0]
    assert settings["status"] == "warning"
    assert "WORKER_LANE is no setting; did you mean 'WORKER_LANES'?" in settings["fact"]


def test_the_doctor_keeps_within_100_columns_and_says_what_to_do_below(capsys):
    command = "python -m infra " + "provision" * 12
    say_finding("root /srv/" + "x" * 80, Finding(status="error", fact="word " * 60, advice=f"run {command} soon"))
    lines = capsys.readouterr().out.splitlines()
    assert lines[0].startswith("error    root /srv/")
    assert lines[0].split()[3] == "word"
    below = [line.strip() for line in lines if "to do" in line]
    assert below == ["to do: run python -m infra"]
    assert [line.strip() for line in lines if len(line) > 100] == ["provision" * 12]


def test_the_doctor_names_the_variable_of_a_folder_that_is_missing_and_makes_no_database(cli, monkeypatch):
    monkeypatch.setenv("WORKER_NAS_ROOT", str(cli.folder / "nas"))
    monkeypatch.setenv("WORKER_ROOTS", str(cli.folder / "more"))
    monkeypatch.setenv("WORKER_DATABASE_URL", f"sqlite:///{cli.folder}/typo/new.db")
    found = {check["name"]: check for check in json.loads(cli.type("doctor", "--json").out)["checks"]}
    assert found[f"nas {cli.folder}/nas"]["advice"].endswith("correct WORKER_NAS_ROOT")
    assert found[f"root {cli.folder}/more"]["advice"].endswith("correct WORKER_ROOTS")
    assert "is WORKER_DATABASE_URL right?" in found["database"]["fact"]
    assert not (cli.folder / "typo").exists()
    monkeypatch.delenv("WORKER_NAS_ROOT")
    found = {check["name"]: check for check in json.loads(cli.type("doctor", "--json").out)["checks"]}
    assert found["nas"]["status"] == "ok"


async def test_a_check_that_fails_or_hangs_is_an_error(monkeypatch):
    async def sick():
        raise MountMissing("/srv/nas is not mounted")

    async def silent():
        await asyncio.Event().wait()
        raise AssertionError

    monkeypatch.setattr("worker.control.doctor.CHECK_SECONDS", 0.05)
    assert (await outcome(sick)).fact == "/srv/nas is not mounted"
    started = time.monotonic()
    assert (await outcome(silent)).status == "error"
    assert time.monotonic() - started < 5
