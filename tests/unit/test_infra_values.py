"""Provisioning's own values, and the locked requirements."""

import os
import re
import sys
import tomllib
from pathlib import Path

import pytest

from infra.__main__ import main
from infra.broker import _parsed, difference
from infra.leftovers import leftovers
from infra.local import postgres
from infra.settings import DEFAULT_BROKER, ProvisionSettings, overlay
from worker.core.errors import Misconfigured
from worker.core.routing import DEFAULT_DELAYS
from worker.settings import Settings

ROOT = Path(__file__).resolve().parents[2]
LOCKS = ("requirements.txt", "requirements-dev.txt", "requirements-s3.txt")


def locked(lock):
    return dict(re.findall(r"^([a-z0-9-]+)==(\S+)", (ROOT / lock).read_text(), re.MULTILINE))


def test_provisioning_has_the_defaults_of_the_worker(monkeypatch):
    for name in ("WORKER_BROKER_URL", "WORKER_DATABASE_URL", "WORKER_RETRY_DELAYS"):
        monkeypatch.delenv(name, raising=False)
    worker = Settings(_env_file=None)
    assert worker.broker_url.get_secret_value() == DEFAULT_BROKER
    assert worker.database_url.get_secret_value() == ProvisionSettings.read(os.environ).database_url
    assert ProvisionSettings.read({}).retry_delays == worker.retry_delays == DEFAULT_DELAYS


def test_retry_delays_are_read_as_the_worker_reads_them():
    assert ProvisionSettings.read({"WORKER_RETRY_DELAYS": "1, 2.5,"}).retry_delays == (1.0, 2.5)
    with pytest.raises(Misconfigured, match="WORKER_RETRY_DELAYS is 'soon'"):
        ProvisionSettings.read({"WORKER_RETRY_DELAYS": "soon"})


def test_a_local_service_never_mixes_with_given_variables():
    given = {"AWS_ENDPOINT_URL_S3": "https://storage.example", "PATH": "/bin"}
    local = {"AWS_ENDPOINT_URL_S3": "http://127.0.0.1:1", "AWS_ACCESS_KEY_ID": "local"}
    broker = {"WORKER_BROKER_URL": "amqp://127.0.0.1:2/"}
    assert overlay(given, (local, broker)) == given | broker
    setting = {"WORKER_BROKER_TIMEOUT_SECONDS": "60"}
    assert overlay(setting, (broker | {"WORKER_BROKER_TIMEOUT_SECONDS": "5"},)) == broker | setting


@pytest.mark.parametrize(
    ("reply", "expected"),
    [
        (
            (
                "PRECONDITION_FAILED - inequivalent arg 'x-delivery-limit' for queue 'media.dlq' in vhost '/': "
                "received the value '20' of type 'signedint' but current is the value '5' of type 'signedint'"
            ),
            "x-delivery-limit: wanted 20, there 5",
        ),
        (
            (
                "PRECONDITION_FAILED - inequivalent arg 'x-dead-letter-exchange' for queue 'media.dlq' in vhost '/': "
                "received none but current is the value 'media.dlx' of type 'longstr'"
            ),
            "x-dead-letter-exchange: wanted nothing, there media.dlx",
        ),
        (
            (
                "PRECONDITION_FAILED - inequivalent arg 'type' for exchange 'media.jobs' in vhost '/': "
                "received 'topic' but current is 'fanout'"
            ),
            "type: wanted topic, there fanout",
        ),
        ("something new", "something new"),
    ],
)
def test_the_difference_is_read_from_the_text_of_the_refusal(reply, expected):
    assert _parsed(reply) == expected


def test_a_difference_names_every_argument_that_differs_and_no_other():
    wanted = {"x-queue-type": "quorum", "x-delivery-limit": 20, "x-overflow": "reject-publish"}
    found = {"x-queue-type": "quorum", "x-delivery-limit": 5, "x-max-length": 3}
    assert difference(wanted, found) == (
        "x-delivery-limit: wanted 20, there 5; x-max-length: wanted nothing, there 3; "
        "x-overflow: wanted reject-publish, there nothing"
    )
    assert not difference(wanted, wanted)


@pytest.mark.parametrize("lock", LOCKS)
def test_a_lock_pins_and_hashes_everything_and_names_no_host(lock):
    text = (ROOT / lock).read_text()
    assert "://" not in text
    entries = re.split(r"\n(?=\S)", text.strip())
    for entry in entries:
        assert re.match(r"[a-z0-9-]+(\[[a-z,]+\])?==\S+( ; .*)? \\\n", entry), entry[:80]
        assert "--hash=sha256:" in entry


def test_the_locks_hold_every_direct_dependency_and_agree_on_its_version():
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())
    groups = project["dependency-groups"]

    def names(requirements):
        return {re.match(r"[\w-]+", text)[0] for text in requirements if isinstance(text, str)}

    run, developer, s3 = (locked(lock) for lock in LOCKS)
    assert names(project["project"]["dependencies"] + groups["build"]) <= run.keys()
    assert names(groups["s3"]) == s3.keys()
    assert names(groups["dev"]) <= developer.keys()
    assert run.items() | s3.items() <= developer.items()


def test_all_programs_that_are_missing_are_reported_before_any_service_starts(monkeypatch, tmp_path, capsys):
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setattr(sys, "executable", str(tmp_path / "python"))
    monkeypatch.setattr(postgres, "CLUSTERS", tmp_path)
    state = tmp_path / "state"
    code = main(["--state", str(state), "up", "--with", "s3,postgres"])
    expected = capsys.readouterr()
    assert (code, expected.out, state.exists()) == (1, "", False)
    assert "weed and postgres are not installed: run `make setup S3=1 POSTGRES=1`, or install" in expected.err


@pytest.mark.parametrize(
    ("stated", "database", "storage"),
    [
        ({}, "/home/anna/.local/state/leveret/leveret.db", "/home/anna/.local/share/leveret/storage/"),
        ({"XDG_STATE_HOME": "/s", "XDG_DATA_HOME": "/d"}, "/s/leveret/leveret.db", "/d/leveret/storage/"),
        # The specification of these folders says so: a path that is not absolute counts for nothing.
        (
            {"XDG_STATE_HOME": "s"},
            "/home/anna/.local/state/leveret/leveret.db",
            "/home/anna/.local/share/leveret/storage/",
        ),
    ],
)
def test_default_places_do_not_depend_on_the_folder_of_a_command(stated, database, storage, monkeypatch, tmp_path):
    for name in ("WORKER_DATABASE_URL", "WORKER_STORAGE_URL", "XDG_STATE_HOME", "XDG_DATA_HOME"):
        monkeypatch.delenv(name, raising=False)
    for name, value in ({"HOME": "/home/anna"} | stated).items():
        monkeypatch.setenv(name, value)
    seen = set()
    for folder in ("one", "other"):
        (tmp_path / folder).mkdir()
        monkeypatch.chdir(tmp_path / folder)
        worker = Settings(_env_file=None)
        seen.add(
            (
                worker.database_url.get_secret_value(),
                worker.storage_url,
                ProvisionSettings.read(os.environ).database_url,
            )
        )
    assert seen == {(f"sqlite:///{database}", f"file://{storage}", f"sqlite:///{database}")}


def test_a_user_without_an_account_and_a_home_has_places_too(monkeypatch):
    monkeypatch.setattr(os, "getuid", lambda: 54321)
    for name in ("HOME", "WORKER_DATABASE_URL", "WORKER_STORAGE_URL", "XDG_STATE_HOME", "XDG_DATA_HOME"):
        monkeypatch.delenv(name, raising=False)
    assert Settings(_env_file=None).storage_url == "file:///.local/share/leveret/storage/"
    assert ProvisionSettings.read(os.environ).database_url == "sqlite:////.local/state/leveret/leveret.db"


def test_purge_lists_what_it_leaves(tmp_path):
    state, home = tmp_path / "state", tmp_path / "home"
    environment = {"HOME": str(home), "WORKER_SCRATCH": str(tmp_path / "scratch")}
    assert list(leftovers(state, environment)) == []
    for folder in (state / "demo", state / "storage", tmp_path / "scratch" / "a.1", home / ".local/state/leveret"):
        folder.mkdir(parents=True)
    (state / "lock").touch()
    (home / ".local/state/leveret/leveret.db").touch()
    assert list(leftovers(state, environment)) == [
        f"left in {state}: demo, storage",
        f"left: the database of workers without settings, {home}/.local/state/leveret/leveret.db",
        f"left: scratch, {tmp_path}/scratch",
    ]
