"""The command line with a real broker: submit, retry, the dead letters, the doctor."""

from __future__ import annotations

import hashlib
import json
import shutil
import subprocess
import sys
import time
import uuid
from datetime import UTC, datetime
from urllib.parse import urlsplit

import httpx
import pytest
from desk import message
from mail import bury, channel_of, depth, taken, wait_for_dead

from worker import app
from worker.core.attempt import Failure, Result
from worker.core.record import RefusalRecord, WorkerRecord
from worker.core.routing import DEAD_QUEUE, EVENTS, JOBS, UNROUTED, topology

GARBAGE = b"{ this is no job"


@pytest.fixture
def office(desk, broker_url, monkeypatch):
    """A desk whose broker answers."""
    monkeypatch.setenv("WORKER_BROKER_URL", broker_url)
    return desk


def sha(body):
    return hashlib.sha256(body).hexdigest()


def refuse(desk, body, *problems, message_id="by-message", kind="InvalidJob"):
    """Record a refusal as a worker does."""
    refusal = RefusalRecord(
        refusal_id=sha(body)[:8], message_id=message_id, body_sha256=sha(body), excerpt="", error="; ".join(problems),
        error_type=kind, problems=list(problems), worker="a-worker", refused_at=datetime.now(UTC),
    )  # fmt: skip
    desk.ask(lambda rows: rows.refuse(refusal))


def waiting(url, queue):
    with channel_of(url) as channel:
        return depth(channel, queue)


def arrived(url, queue):
    """Return (properties, body) of the next message, acknowledged."""
    with channel_of(url) as channel:
        method, properties, body = taken(channel, queue)
        channel.basic_ack(method.delivery_tag)
        return properties, body


def buried(office, url, job_id, why="ffmpeg exited 1 after 3 s"):
    """Let a job die, in the database and in the broker."""
    body = office.died(job_id, why)
    bury(url, [body], message_id=job_id)
    return body


# ---------------------------------------------------------------- submit


def test_what_a_command_brings_about_is_an_event(office, broker_url):
    with channel_of(broker_url) as channel:
        ear = channel.queue_declare("", exclusive=True).method.queue
        channel.queue_bind(ear, EVENTS, "job.#")
        office.write("job.json", message("j1"))
        assert office.type("submit", "job.json").code == 0
        assert office.type("cancel", "j1").code == 0
        assert office.type("retry", "j1").code == 0
        heard = [json.loads(taken(channel, ear)[2]) for _ in range(3)]
    assert [(event["state"], event["job_id"]) for event in heard] == [
        ("queued", "j1"),
        ("cancelled", "j1"),
        ("queued", "j1"),
    ]
    assert heard[0]["title"] == "Title of j1"


def test_submit_publishes_the_very_bytes_and_records_the_job(office, broker_url):
    body = b'\n{"echo":   {"text": "\xc3\xa4"}, "job_title": "As typed"}\n'
    worker = WorkerRecord(worker_id="w", hostname="h", pid=1, version="1", status="in_progress", lanes=["cpu"])
    office.ask(lambda rows: rows.beat(worker))
    answer = office.type("submit", office.write("job.json", body))
    assert (answer.code, answer.err) == (0, "")
    job_id = answer.out.strip()
    properties, published = arrived(broker_url, "media.cpu.normal")
    assert published == body
    assert (properties.message_id, properties.type, properties.delivery_mode) == (job_id, "flat", 2)
    record = office.record(job_id)
    assert (record.title, record.state, record.lane, record.priority) == ("As typed", "queued", "cpu", "normal")
    assert office.claimed(job_id, published).number == 1


@pytest.mark.parametrize(
    ("fields", "flags", "queue"),
    [
        ({}, (), "media.nvenc.normal"),
        ({"priority": "low"}, (), "media.nvenc.low"),
        ({"priority": "low", "lane": "cpu"}, ("--priority", "high"), "media.cpu.high"),
        ({"lane": "cpu"}, ("--lane", "qsv"), "media.qsv.normal"),
    ],
)
def test_a_job_goes_where_the_flags_then_the_message_then_its_tasks_say(office, broker_url, fields, flags, queue):
    text = json.dumps(fields | {"tasks": [{"module": "shine", "data": {"text": "a"}}]})
    document = json.loads(office.type("submit", office.write("job.json", text), *flags, "--json").out)
    properties, _ = arrived(broker_url, queue)
    assert properties.message_id == document["job_id"]
    assert f"media.{document['lane']}.{document['priority']}" == queue
    assert document["state"] == "queued"


@pytest.mark.parametrize(("make", "helps"), [("insert", False), ("completed", False), ("died", True)])
def test_an_id_that_exists_is_refused_and_names_retry_where_it_helps(office, broker_url, make, helps):
    getattr(office, make)("mine")
    again = office.type("submit", office.write("job.json", message("mine")))
    assert again.code == 1
    assert "choose another id" in again.err
    assert ("`leveret retry mine`" in again.err) is helps
    assert waiting(broker_url, "media.cpu.normal") == 0


@pytest.mark.parametrize(("end", "code"), [("complete", 0), ("bury", 1), ("cancel", 2)])
def test_submit_that_waits_ends_as_the_job_ends(office, broker_url, end, code):
    process = subprocess.Popen(
        [sys.executable, "-m", "worker", "submit", "-", "--wait", "--json"],
        env=office.environment(), stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
    )  # fmt: skip
    process.stdin.write(message("mine"))
    process.stdin.close()
    _, body = arrived(broker_url, "media.cpu.normal")
    attempt = office.claimed("mine", body)
    match end:
        case "complete":
            office.ask(lambda rows: rows.complete(attempt, Result()))
        case "bury":
            office.ask(lambda rows: rows.bury(attempt, Failure("broken", "ToolFailed", "a-worker", 1)))
        case _:
            office.ask(lambda rows: rows.confirm_cancel(attempt))
    out, errors = process.stdout.read(), process.stderr.read()
    process.stdout.close()
    process.stderr.close()
    assert process.wait(timeout=20) == code
    lonely, *reasons = errors.decode().splitlines()
    assert lonely == "leveret: no living worker serves the lane cpu: the job waits until one does"
    assert reasons == (["leveret: mine is dead: ToolFailed: broken"] if end == "bury" else [])
    assert json.loads(out)["job_id"] == "mine"


def test_on_a_terminal_submit_shows_a_progress_bar(office, broker_url):
    office.write("job.json", message("mine"))
    # A terminal without a pseudo-terminal: a container may have none. Rich is told by the environment.
    program = "import sys\nfrom worker.cli import main, follow\nfollow.on_terminal = lambda: True\nmain()"
    process = subprocess.Popen(
        [sys.executable, "-c", program, "submit", "job.json", "--watch"],
        env=office.environment() | {"TERM": "xterm", "COLUMNS": "120", "FORCE_COLOR": "1", "TTY_INTERACTIVE": "1"},
        stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
    )  # fmt: skip
    _, body = arrived(broker_url, "media.cpu.normal")
    attempt = office.claimed("mine", body)
    office.ask(lambda rows: rows.complete(attempt, Result()))
    shown, _ = process.communicate(timeout=30)
    assert process.returncode == 0
    assert "mine" in shown
    assert "━" in shown
    assert "completed" in shown
    assert "Traceback" not in shown


def test_a_message_that_could_not_be_published_waits_for_retry(office, broker_url):
    with channel_of(broker_url) as channel:
        channel.exchange_delete(JOBS)
    try:
        answer = office.type("submit", office.write("job.json", message("mine")))
    finally:
        with channel_of(broker_url) as channel:
            channel.exchange_declare(JOBS, "topic", durable=True, arguments={"alternate-exchange": UNROUTED})
            for binding in topology().bindings:
                channel.queue_bind(binding.queue, binding.exchange, binding.routing_key)
    assert answer.code == 1
    assert "media.jobs" in answer.err
    assert "`leveret retry mine` publishes it" in answer.err
    assert office.record("mine").state == "cancelled"
    assert office.type("retry", "mine").code == 0
    properties, body = arrived(broker_url, "media.cpu.normal")
    assert properties.message_id == "mine"
    assert office.claimed("mine", body).round == 2


# ---------------------------------------------------------------- retry


def test_retry_of_a_dead_job_replays_its_message_in_a_new_round(office, broker_url):
    body = buried(office, broker_url, "mine")
    answer = office.type("retry", "mine", "--json")
    assert answer.code == 0
    assert (json.loads(answer.out)["state"], json.loads(answer.out)["round"]) == ("queued", 2)
    properties, published = arrived(broker_url, "media.cpu.low")
    assert published == body
    assert "x-death" not in properties.headers
    wait_for_dead(broker_url, 0)
    assert office.claimed("mine", published).round == 2


def test_retry_leaves_the_dead_messages_of_others_alone(office, broker_url):
    borrowed = b'{"job_id": "mine", "tasks": [{"module": "echo", "data": {"text": "another"}}]}'
    bury(broker_url, [borrowed, GARBAGE], message_id=None)
    refuse(office, borrowed, "the id mine belongs to a job with another body", message_id=None, kind="IdReused")
    body = buried(office, broker_url, "mine")
    assert office.type("retry", "mine").code == 0
    assert arrived(broker_url, "media.cpu.low")[1] == body
    wait_for_dead(broker_url, 2)


def test_retry_without_a_dead_message_publishes_what_the_database_keeps(office, broker_url):
    office.died("mine-and-only")
    answer = office.type("retry", "mine")
    assert answer.code == 0
    assert "from the database" in answer.out
    _, body = arrived(broker_url, "media.cpu.low")
    attempt = office.claimed("mine-and-only", body)
    assert (attempt.round, attempt.job.title) == (2, "Title of mine-and-only")
    assert attempt.job.tasks[0].data == {"text": "hello"}


def test_retry_publishes_a_queued_job_whose_message_was_lost(office, broker_url):
    office.insert("mine")
    assert office.type("retry", "mine").code == 0
    _, body = arrived(broker_url, "media.cpu.low")
    assert office.claimed("mine", body).number == 1


def test_retry_of_an_id_that_was_cancelled_before_it_came_is_refused(office):
    office.type("cancel", "later", "--unseen")
    answer = office.type("retry", "later")
    assert answer.code == 1
    assert "the database keeps no message of later" in answer.err


def test_retry_leaves_a_queued_job_that_waits_its_turn(office, broker_url):
    assert office.type("submit", office.write("job.json", message("mine"))).code == 0
    answer = office.type("retry", "mine")
    assert answer.code == 1
    assert "1 messages wait in media.cpu.normal" in answer.err
    assert (office.record("mine").state, waiting(broker_url, "media.cpu.normal")) == ("queued", 1)


def test_retry_refuses_what_is_running_or_done(office, broker_url):
    office.completed("done")
    office.claimed("busy", office.insert("busy"))
    assert "submit it again under another id" in office.type("retry", "done").err
    assert "busy is running" in office.type("retry", "busy").err
    assert office.type("retry", "nobody").code == 1


# ---------------------------------------------------------------- the dead


def test_the_dead_are_listed_with_their_reasons(office, broker_url):
    assert office.type("dead", "list").out == "no dead messages\n"
    assert json.loads(office.type("dead", "list", "--json").out) == []
    buried(office, broker_url, "mine")
    bury(broker_url, [GARBAGE])
    refuse(office, GARBAGE, "not JSON: at line 1", "and more")
    for _ in range(2):
        listed = json.loads(office.type("dead", "list", "--json").out)
        wait_for_dead(broker_url, 2)
    by_kind = {entry["kind"]: entry for entry in listed}
    assert set(by_kind) == {"job", "refusal"}
    assert by_kind["job"]["reasons"] == ["ffmpeg exited 1 after 3 s"]
    assert (by_kind["job"]["job_id"], by_kind["job"]["error_type"]) == ("mine", "ToolFailed")
    assert by_kind["refusal"]["reasons"] == ["not JSON: at line 1", "and more"]
    assert by_kind["refusal"]["sha256"] == sha(GARBAGE)
    table = office.type("dead", "list", "--limit", "1").out
    assert "… and 1 older ones" in table


def test_a_body_that_was_refused_once_and_died_as_a_job_later_is_that_job(office, broker_url):
    refuse(office, message("mine"), "unknown module 'echo'", message_id="mine")
    buried(office, broker_url, "mine")
    (entry,) = json.loads(office.type("dead", "list", "--json").out)
    assert (entry["kind"], entry["reasons"]) == ("job", ["ffmpeg exited 1 after 3 s"])


def test_the_newest_dead_message_is_shown_with_every_reason(office, broker_url):
    bury(broker_url, [GARBAGE])
    refuse(office, GARBAGE, "not JSON: at line 1", "and more")
    said = office.type("dead", "show").out
    assert "reason: not JSON: at line 1" in said
    assert "reason: and more" in said
    assert GARBAGE.decode() in said
    for name in (sha(GARBAGE)[:8], "by-message"):
        assert json.loads(office.type("dead", "show", name, "--json").out)["body"] == GARBAGE.decode()
    wait_for_dead(broker_url, 1)
    assert "no dead message is called 'elsewhere'" in office.type("dead", "show", "elsewhere").err


def test_showing_when_nothing_is_dead_is_told(office):
    answer = office.type("dead", "show")
    assert (answer.code, answer.out) == (1, "")


def test_bytes_that_are_no_text_can_be_shown(office, broker_url):
    bury(broker_url, [b"\xff\x1b[31m\x00"])
    said = office.type("dead", "show")
    assert said.code == 0
    assert "\x1b" not in said.out
    assert "\\xff" in said.out


def test_a_dead_message_shows_no_secret(office, broker_url):
    valid = b'{"renderType": "GOURCE", "repoURL": "https://u:pw@h/r", "videoId": "v", "token": "hush\\u0021"}'
    broken = b'{"renderType": "GOURCE", "token": "hush"'
    bury(broker_url, [valid, broken])
    for name in (sha(valid)[:10], sha(broken)[:10]):
        shown = office.type("dead", "show", name, "--json").out
        assert json.loads(shown)["sha256"].startswith(name)
        assert "hush" not in shown
        assert "pw@" not in shown


def test_dead_messages_with_one_id_are_told_apart_by_digest(office, broker_url):
    first, second = message("twin", "a"), message("twin", "b")
    bury(broker_url, [first, second], message_id=None)
    answer = office.type("dead", "show", "twin")
    assert answer.code == 1
    assert sha(first)[:12] in answer.err
    assert office.type("dead", "show", sha(second)[:12]).code == 0


def test_a_replayed_refusal_goes_out_as_it_came(office, broker_url):
    bury(broker_url, [GARBAGE])
    refuse(office, GARBAGE, "not JSON")
    assert office.type("dead", "replay", sha(GARBAGE)[:12]).code == 0
    properties, body = arrived(broker_url, "media.cpu.low")
    assert (body, properties.message_id) == (GARBAGE, "by-message")
    wait_for_dead(broker_url, 0)


def test_all_are_replayed_but_for_a_job_that_is_done(office, broker_url):
    body = office.completed("done")
    bury(broker_url, [body], message_id="done")
    buried(office, broker_url, "mine")
    bury(broker_url, [GARBAGE])
    answer = office.type("dead", "replay", "--all", "--json")
    assert answer.code == 1
    assert json.loads(answer.out)["replayed"] == 2
    assert "done is completed" in answer.err
    wait_for_dead(broker_url, 1)
    assert waiting(broker_url, "media.cpu.low") == 2
    assert office.record("mine").state == "queued"


def test_purging_deletes_what_was_named_and_no_more(office, broker_url):
    bury(broker_url, [GARBAGE, b"more"])
    refuse(office, GARBAGE, "not JSON")
    assert office.type("dead", "purge", sha(GARBAGE)[:12], "--yes").out == "1 dead message deleted\n"
    wait_for_dead(broker_url, 1)
    assert office.ask(lambda rows: rows.refusals()) == []
    assert json.loads(office.type("dead", "purge", "-y", "--json").out) == {"purged": 1}
    wait_for_dead(broker_url, 0)


def test_a_killed_looker_loses_no_dead_message(office, broker_url):
    bury(broker_url, [GARBAGE])
    code = (
        "import time; from worker.adapters.publisher import Publisher; import os\n"
        "broker = Publisher(os.environ['WORKER_BROKER_URL']).__enter__()\n"
        "print(len(list(broker.dead_letters())), flush=True); time.sleep(60)"
    )
    looker = subprocess.Popen([sys.executable, "-c", code], env=office.environment(), stdout=subprocess.PIPE)
    assert looker.stdout.readline() == b"1\n"
    assert waiting(broker_url, DEAD_QUEUE) == 0
    looker.kill()
    looker.wait()
    looker.stdout.close()
    wait_for_dead(broker_url, 1)


# ---------------------------------------------------------------- doctor


def test_the_doctor_finds_what_is_well_and_what_is_not(office, broker_url, monkeypatch):
    document = json.loads(office.type("doctor", "--json").out)
    found = {check["name"]: check for check in document["checks"]}
    assert {"settings", "database", "broker", "storage", "scratch", "ffmpeg", "ffprobe", "gource"} <= set(found)
    assert {found[name]["status"] for name in ("settings", "database", "clock", "broker", "scratch")} == {"ok"}
    assert "sqlite 3." in found["database"]["fact"]
    patience = found["broker time-out"]
    assert patience["status"] == "warning"
    assert "RabbitMQ 3." in patience["fact"]
    assert "after 1800 s" in patience["fact"]
    assert "consumer_timeout = 86400000" in patience["advice"]
    monkeypatch.setenv("WORKER_BROKER_TIMEOUT_SECONDS", "172800")
    assert found["ffmpeg"]["fact"].startswith(shutil.which("ffmpeg") + ": ffmpeg ")
    monkeypatch.setenv("WORKER_RETRY_DELAYS", "7,8")
    monkeypatch.setenv("WORKER_FFMPEG", str(office.folder / "none"))
    monkeypatch.setenv("WORKER_SCRATCH_FREE_BYTES", str(1 << 60))
    answer = office.type("doctor", "--json")
    assert (answer.code, answer.err) == (1, "")
    found = {check["name"]: check for check in json.loads(answer.out)["checks"]}
    assert "media.retry.7s is missing" in found["broker"]["fact"]
    assert found["broker time-out"]["status"] == "ok"
    assert found["broker"]["advice"] == "run `python -m infra provision`"
    assert {found[name]["status"] for name in ("broker", "ffmpeg", "scratch")} == {"error"}


def test_the_doctor_names_what_broker_and_database_do_not_permit(office, broker_url, services, monkeypatch):
    management = services.environment()["RABBITMQ_MANAGEMENT_URL"]
    secret = uuid.uuid4().hex
    with httpx.Client(base_url=management) as client:
        client.put("api/users/looker", json={"password": secret, "tags": ""}).raise_for_status()
        rights = {"configure": ".*", "write": r"^media\.(events|dl.*|cpu.*)$", "read": "^media.events$"}
        client.put("api/permissions/%2F/looker", json=rights).raise_for_status()
    address = urlsplit(broker_url)
    monkeypatch.setenv("WORKER_BROKER_URL", f"amqp://looker:{secret}@{address.hostname}:{address.port}/")
    database = str(office.folder / "jobs.db")
    monkeypatch.setenv("WORKER_DATABASE_URL", f"sqlite:///file:{database}?mode=ro&uri=true")
    monkeypatch.setattr(app.doctor, "refuse_missing_sqlite", lambda _settings: None)
    found = {check["name"]: check for check in json.loads(office.type("doctor", "--json").out)["checks"]}
    told = found["broker"]
    assert told["status"] == "error"
    assert "may not publish to media.unrouted, publish to media.jobs" in told["fact"]
    assert "publish to media.events" not in told["fact"]
    assert told["fact"].endswith("read media.dlq")
    assert "set_permissions" in told["advice"]
    with httpx.Client(base_url=management) as client:
        client.delete("api/users/looker").raise_for_status()
    assert found["database"]["status"] == "error"
    assert "readonly" in found["database"]["fact"] or "read-only" in found["database"]["fact"]


def test_the_doctor_ends_soon_where_nothing_answers(desk):
    started = time.monotonic()
    answer = desk.type("doctor")
    assert answer.code == 1
    assert "Connection refused" in answer.out
    assert time.monotonic() - started < 30
