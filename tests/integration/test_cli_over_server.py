"""The commands with LEVERET_SERVER: the same words as with the database and the broker, and without their passwords."""

from __future__ import annotations

import asyncio
import json
import os
import re
import socket
import threading
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path

import pytest

import worker.app.doctor
from tests.support.command_line import message, one_line
from tests.support.dead_letters import GARBAGE, buried, refuse, sha
from tests.support.queues import bury
from tests.support.served import served
from worker.cli.commands import COMMANDS
from worker.cli.follow import until_ended
from worker.core.attempt import Result
from worker.core.finding import Finding
from worker.core.record import Hardware, WorkerRecord
from worker.remote import connected
from worker.web.access import digest_of

TOKENS = {role: f"lvt_{role}-of-a-test" for role in ("viewer", "operator", "admin")}
NOT_COMPARED = {"run", "doctor"}
"""A worker itself, and what looks at another host over a server."""
HOOK = '{"url": "https://127.0.0.1:1/", "secret": "a-secret-of-a-test"}'


@pytest.fixture
def server(cli_with_broker, monkeypatch):
    # Workers that beat once are alive for the whole test.
    monkeypatch.setenv("WORKER_HEARTBEAT_SECONDS", "1000")
    monkeypatch.setenv("WORKER_SERVE_REQUESTS_PER_SECOND", "5")
    (cli_with_broker.folder / "nas").mkdir()
    monkeypatch.setenv("WORKER_NAS_ROOT", str(cli_with_broker.folder / "nas"))
    lines = ",".join(f"{role}:{role}:{digest_of(token)}" for role, token in TOKENS.items())
    monkeypatch.setenv("WORKER_SERVE_TOKENS", lines)
    with served() as running:
        yield running


@contextmanager
def afar(address, token):
    """Let commands know the server alone: neither the database nor the broker."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("WORKER_DATABASE_URL", "postgresql://127.0.0.1:1/none")
        patch.setenv("WORKER_BROKER_URL", "amqp://127.0.0.1:1/")
        patch.setenv("LEVERET_SERVER", address)
        patch.setenv("LEVERET_TOKEN", token)
        yield


def same(text):
    """Return what a command said without what may differ: twins' names, ages and times of day."""
    text = re.sub(r"\d+(\.\d+)? (s|min) ago", "N ago", text.replace("-afar", "-here"))
    # From 4.3 each look at a dead letter is counted by a second header.
    text = re.sub(r'(delivery|acquired)-count": \d+', r'\1-count": N', text)
    text = re.sub(r"\d{4}-\d\d-\d\d.\d\d:\d\d:\d\d(\.\d+)?Z?", "TIME", text)
    text = re.sub(r'"owner": ("[^"]*"|null)', '"owner": WHO', text)
    text = re.sub(r"[\w-]{43}", "SECRET", re.sub(r"\b[0-9a-f]{24}(\.[0-9a-f]{6})?\b", "ID", text))
    return re.sub(r"[0-9a-f]{64}|\b[0-9a-f]{32}\b|[0-9a-f-]{36}|\b[0-9a-f]{12}\b", "HEX", text)


LOOKS = (
    "jobs", "jobs --json", "jobs --state dead --limit 1", "jobs --since 1h --text title", "jobs --until 3d",
    "job done", "job done --json", "job don", "job nowhere", "logs done", "logs nowhere", "logs done --follow",
    "watch done", "watch died", "workers", "workers --json", "dead list", "dead list --json", "dead show",
    "dead show died --json", "dead show nowhere", "option-sets list", "option-sets list echo --json",
    "option-sets get echo loud", "option-sets get echo lout", "schema", "schema echo", "schema ecko",
    "validate good.json", "validate good.json --json", "validate bad.json", "validate bad.json --json", "reconcile",
    "reconcile --json", "undo", "undo --json", "undo nowhere", "notifications list", "notifications list --json",
    "notifications get none", "templates list", "templates list --json", "templates get web-mp4",
    "templates get none", "templates try look nas://in/a.mkv title=b --json", "templates try look nas://in/none.mkv",
    "templates try new nas://in/a.mkv --file look.json", "templates try new nas://in/a.mkv --file bad.json",
    "templates try picky nas://in/a.mkv", "submit -t look nas://in/*.mkv nas://in/c.txt --dry-run --json",
    "submit -t look nas://in/*.mov", "submit -t none nas://in/*.mkv --dry-run", "folders list",
    "folders get inbox --json", "folders get inbix", "folders files inbox --json", "hooks list --json",
    "hooks get push", "hooks calls push", "schedules list", "schedules get nightly", "schedules get none",
    "scan nas://in -t look", "scan nas://in -t look --json", "scan nas://none -t look", "scan nas://in -t none",
    "scan nas://in -t look what=1", "schedules run none",
)  # fmt: skip
TWINS = (
    "submit NAME.json --json", "submit NAME.json", "cancel NAME", "cancel NAME", "cancel done", "retry NAME",
    "retry NAME --json", "retry done", "cancel nowhere", "cancel --unseen unseen-WHERE", "submit bad.json",
    "submit good.json --lane nvenc", "dead replay died-WHERE", "dead replay nowhere", "dead replay --all",
    "dead replay --all --json", "dead purge none -y", "dead purge -y", "pause w", "resume w --json", "drain gone-WHERE",
    "pause --all", "forget gone-WHERE", "forget w", "forget --silent 7d", 'option-sets put echo NAME {"text":"a"}',
    "option-sets put echo NAME", "option-sets put nothing NAME {}", "option-sets delete echo NAME",
    "option-sets delete echo NAME --json", "reconcile --mend",
    "undo done", "undo done --forget", "notifications put n-WHERE hook.json", "notifications put n-WHERE bad.json",
    "notifications get n-WHERE", "notifications test n-WHERE", "notifications test none",
    "templates put t-WHERE template.json --json", "templates put t-WHERE bad.json", "templates get t-WHERE",
    "templates delete t-WHERE", "templates delete t-WHERE",
    "notifications delete n-WHERE", "notifications delete n-WHERE --json",
    "submit -t look-WHERE nas://in/*.mkv --limit 1", "submit -t look-WHERE nas://in/*.mkv --again --lane nvenc --json",
    "submit -t look-WHERE nas://in/a.mkv nas://in/none.mkv", "submit -t plain-WHERE",
    "submit -t look-WHERE nas://in/a.mkv nothing=x", "folders put f-WHERE nas://watched --template look",
    "folders put f-WHERE /etc --template look", "folders pause f-WHERE", "folders resume f-WHERE",
    "folders delete f-WHERE", "folders delete f-WHERE", "hooks put h-WHERE made.json --json",
    "hooks put h-WHERE own.json", "hooks put h-WHERE bad.json", "hooks delete h-WHERE", "hooks delete h-WHERE",
    "schedules put s-WHERE --cron 30-3-*-*-* -t look-WHERE nas://in/*.mkv", "schedules put s-WHERE --cron x -t look",
    "schedules run s-WHERE", "schedules run s-WHERE --json", "schedules delete s-WHERE", "schedules delete s-WHERE",
)  # fmt: skip


def arguments(line, where):
    """Return a command of TWINS; JSON goes behind --options."""
    parts = words(line.replace("NAME", f"twin-{where}").replace("WHERE", where))
    at = next((number for number, part in enumerate(parts) if part.startswith("{")), None)
    return parts if at is None else [*parts[:at], "--options", *parts[at:]]


def prepare(cli, broker_url):
    cli.completed("done")
    buried(cli, broker_url, "died")
    bury(broker_url, [GARBAGE])
    refuse(cli, GARBAGE, "not JSON: at line 1")
    for name in ("w", "gone-here", "gone-afar"):
        found = WorkerRecord(
            worker_id=name, hostname="host", pid=1, version="0.1.0", status="idle", lanes=["cpu"], hardware=Hardware()
        )
        cli.ask(lambda rows, found=found: rows.beat(found))
    cli.type("option-sets", "put", "echo", "loud", "--options", '{"text": "A"}')
    cli.write("good.json", '{"tasks": [{"module": "echo", "data": {"text": "a"}}], "job_title": "good"}')
    cli.write("hook.json", HOOK)
    cli.write("template.json", json.dumps(json.loads(cli.type("templates", "get", "web-mp4").out)))
    prepare_intake(cli)
    cli.write("bad.json", '{"tasks": [{"module": "ecko", "data": {}}, {"module": "echo", "data": {}}]}')


LOOK = {
    "variables": {"title": "{{ source.stem }}"},
    "job": {"job_title": "{{ title }}", "tasks": [{"module": "echo", "data": {"text": "{{ source.uri }}"}}]},
}
PICKY = {"when": "source.suffix == 'avi'"}
PLAIN = {"job": {"job_title": "Plain", "tasks": [{"module": "echo", "data": {"text": "a"}}]}}


def prepare_intake(cli):
    """Store what templates, folders, hooks and schedules work on."""
    folder = Path(os.environ["WORKER_NAS_ROOT"]) / "in"
    folder.mkdir(parents=True)
    for name in ("a.mkv", "b.mkv", "c.txt"):
        (folder / name).write_text(name)
    documents = {"look": LOOK, "look-here": LOOK, "look-afar": LOOK, "picky": LOOK | PICKY}
    for name, document in (documents | {"plain-here": PLAIN, "plain-afar": PLAIN}).items():
        assert cli.type("templates", "put", name, cli.write("look.json", json.dumps(document))).code == 0
    cli.write("look.json", json.dumps(LOOK))
    own = {"kind": "json", "template": "look", "secret": "a-secret-of-a-test"}
    cli.write("own.json", json.dumps(own))
    cli.write("made.json", json.dumps({"kind": "json", "template": "look"}))
    for line in (
        "folders put inbox nas://watched --template look", "folders pause inbox", "hooks put push own.json",
        "schedules put nightly --cron 30-3-*-*-* -t look nas://in/*.mkv",
    ):  # fmt: skip
        assert cli.type(*words(line)).code == 0, line


def words(line):
    """Return a command of one line as its words; a time of day is written with dashes."""
    return [part.replace("-", " ") if part.endswith("-*-*-*") else part for part in line.split()]


def test_every_command_says_the_same_over_a_server(cli_with_broker, broker_url, server):
    prepare(cli_with_broker, broker_url)
    for line in LOOKS:
        here = cli_with_broker.type(*words(line))
        with afar(server.address, TOKENS["admin"]):
            there = cli_with_broker.type(*words(line))
        assert same(there.out) == same(here.out), line
        assert (there.code, same(there.err)) == (here.code, same(here.err)), line
    for where in ("here", "afar"):
        cli_with_broker.write(f"twin-{where}.json", message(f"twin-{where}"))
        buried(cli_with_broker, broker_url, f"died-{where}")
    for line in TWINS:
        here = cli_with_broker.type(*arguments(line, "here"))
        with afar(server.address, TOKENS["admin"]):
            there = cli_with_broker.type(*arguments(line, "afar"))
        if line.startswith("dead") and ("--all" in line or line.endswith("purge -y")):
            # The first of the two took them all.
            continue
        assert same(there.out) == same(here.out), line
        assert (there.code, same(there.err)) == (here.code, same(here.err)), line


def test_every_command_is_tried_over_a_server():
    untried = {
        command.name
        for command in COMMANDS
        if not {command.name, command.word} & NOT_COMPARED
        and not any(line == command.name or line.startswith(f"{command.name} ") for line in (*LOOKS, *TWINS))
    }
    assert untried == set()


def test_all_dead_messages_are_replayed_and_purged_over_a_server(cli_with_broker, broker_url, server):
    buried(cli_with_broker, broker_url, "one")
    buried(cli_with_broker, broker_url, "two")
    with afar(server.address, TOKENS["admin"]):
        said = cli_with_broker.type("dead", "replay", "--all").out
        assert said.count("is published again in round 2, to media.cpu.low") == 2
        assert cli_with_broker.type("dead", "replay", "--all").out == "no dead messages\n"
        bury(broker_url, [GARBAGE])
        wrong = cli_with_broker.type("dead", "replay", sha(GARBAGE)[:8], "--with", cli_with_broker.write("x", b"{"))
        assert (wrong.code, wrong.out) == (1, "")
        assert cli_with_broker.type("dead", "purge", "-y").out == "1 dead message deleted\n"


def test_a_forbidden_command_and_a_wrong_token_are_reported_in_one_line(cli_with_broker, server, monkeypatch):
    with afar(server.address, TOKENS["viewer"]):
        assert cli_with_broker.type("jobs").out == "no jobs\n"
        refused = one_line(cli_with_broker.type("pause", "--all"))
        assert refused == "leveret: this needs the role operator; viewer is viewer"
        found = json.loads(cli_with_broker.type("doctor", "--json").out)["checks"]
        assert [check["status"] for check in found] == ["ok", "warning"]
        assert "needs the role admin" in found[1]["fact"]
    with afar(server.address, "lvt_another"):
        line = one_line(cli_with_broker.type("jobs"))
        assert line == f"leveret: the server {server.address} does not know this token: is LEVERET_TOKEN right?"
        assert "lvt_another" not in line
    with afar(server.address, ""):
        assert "asks for a token: set LEVERET_TOKEN" in one_line(cli_with_broker.type("job", "x"))

    async def well():
        return Finding(status="ok", fact="it answers")

    monkeypatch.setattr(worker.app.doctor, "checks", lambda _: [("database", well)])
    with afar(server.address, TOKENS["admin"]):
        found = json.loads(cli_with_broker.type("doctor", "--json").out)["checks"]
        assert "knows us as admin, admin" in found[0]["fact"]
        assert [check["name"] for check in found] == ["server", "database"]
        assert "unset LEVERET_SERVER" in cli_with_broker.type("doctor", "--prove").out


async def test_a_job_is_watched_over_a_server_that_is_ended_and_started_meanwhile(cli_with_broker, server):
    prepared = await asyncio.to_thread(lambda: cli_with_broker.claimed("long", cli_with_broker.insert("long")))
    states, seen = [], asyncio.Event()

    def show(record):
        states.append(record.state)
        seen.set()

    async with connected(server.address, TOKENS["viewer"]) as known:
        watching = asyncio.create_task(until_ended(known, "long", show))
        await asyncio.wait_for(seen.wait(), 60)
        await asyncio.to_thread(server.end)
        await asyncio.to_thread(server.start)
        done = Result(total_seconds=1.5)
        await asyncio.to_thread(cli_with_broker.ask, lambda rows: rows.complete(prepared, done))
        record = await asyncio.wait_for(watching, 60)
    assert (states[0], record.state) == ("running", "completed")


class Answers(BaseHTTPRequestHandler):
    """Another program on the port: it answers as it is set to."""

    status, body, place = 200, b"<html>", ""

    def do_GET(self):
        self.send_response(self.status)
        if self.place:
            self.send_header("Location", self.place)
        self.end_headers()
        self.wfile.write(self.body)

    def log_message(self, *_):
        """Say nothing."""


@contextmanager
def stranger(**values):
    found = HTTPServer(("127.0.0.1", 0), type("Some", (Answers,), values))
    thread = threading.Thread(target=found.serve_forever)
    thread.start()
    try:
        yield f"http://127.0.0.1:{found.server_port}"
    finally:
        found.shutdown()
        thread.join()
        found.server_close()


def whoami(version):
    return json.dumps({"name": "anna", "role": "admin", "version": version}).encode()


@pytest.mark.parametrize(
    ("values", "word"),
    [
        ({}, "answers, but is no Leveret server (200 OK): is LEVERET_SERVER right?"),
        ({"status": 404}, "answers, but is no Leveret server (404 Not Found)"),
        ({"status": 404, "body": b'{"type": "about:blank"}'}, "is no Leveret server"),
        ({"status": 502}, "does not answer (502 Bad Gateway)"),
        ({"status": 301, "place": "https://media.example/"}, "sends us to https://media.example/"),
        ({"body": whoami("99.0.0")}, f"is Leveret 99.0.0, and this command is {worker.__version__}: install"),
        ({"body": b"[1]"}, "is no Leveret server"),
        ({"body": b"{}"}, "is no Leveret server"),
    ],
)
def test_a_server_that_is_none_of_ours_or_of_another_version_is_reported(cli, values, word):
    with stranger(**values) as address, afar(address, "lvt_a"):
        assert word in one_line(cli.type("jobs"))


def test_a_server_that_is_down_is_reported_at_once(cli):
    with socket.socket() as closed:
        closed.bind(("127.0.0.1", 0))
        address = f"http://127.0.0.1:{closed.getsockname()[1]}"
        with afar(address, "lvt_a"):
            for command in ("jobs", "pause --all", "submit good.json"):
                cli.write("good.json", message("a"))
                line = one_line(cli.type(*command.split()))
                assert f"the server {address} does not answer (" in line
                assert "is LEVERET_SERVER right?" in line


@pytest.mark.parametrize(
    ("server_value", "token", "word"),
    [
        ("media.example:8080", "", "LEVERET_SERVER: it is no address of a server: write http://host:port"),
        ("http://anna:secret@media.example", "", "LEVERET_SERVER: it holds a password"),
        ("http://media.example:x", "", "LEVERET_SERVER: it is no address"),
        ("http://127.0.0.1:1", "a b", "LEVERET_TOKEN: it is no token"),
    ],
)
def test_a_wrong_address_or_token_is_reported_without_being_shown(cli, server_value, token, word):
    with afar(server_value, token):
        line = one_line(cli.type("jobs"))
    assert word in line
    assert "secret" not in line
    assert "a b" not in line
