"""`leveret submit` with a real broker: what it publishes, where, and how it waits."""

from __future__ import annotations

import json
import subprocess
import sys

import pytest

from tests.support.command_line import message
from tests.support.dead_letters import arrived, waiting
from tests.support.queues import channel_of, taken
from worker.core.attempt import Failure, Result
from worker.core.record import WorkerRecord
from worker.core.routing import EVENTS, JOBS, UNROUTED
from worker.core.topology import topology


def test_commands_publish_events(cli_with_broker, broker_url):
    with channel_of(broker_url) as channel:
        ear = channel.queue_declare("", exclusive=True).method.queue
        channel.queue_bind(ear, EVENTS, "job.#")
        cli_with_broker.write("job.json", message("j1"))
        assert cli_with_broker.type("submit", "job.json").code == 0
        assert cli_with_broker.type("cancel", "j1").code == 0
        assert cli_with_broker.type("retry", "j1").code == 0
        events = [json.loads(taken(channel, ear)[2]) for _ in range(3)]
    assert [(event["state"], event["job_id"]) for event in events] == [
        ("queued", "j1"),
        ("cancelled", "j1"),
        ("queued", "j1"),
    ]
    assert events[0]["title"] == "Title of j1"


def test_submit_publishes_the_very_bytes_and_records_the_job(cli_with_broker, broker_url):
    body = b'\n{"echo":   {"text": "\xc3\xa4"}, "job_title": "As typed"}\n'
    worker = WorkerRecord(worker_id="w", hostname="h", pid=1, version="1", status="in_progress", lanes=["cpu"])
    cli_with_broker.ask(lambda rows: rows.beat(worker))
    answer = cli_with_broker.type("submit", cli_with_broker.write("job.json", body))
    assert (answer.code, answer.err) == (0, "")
    job_id = answer.out.strip()
    properties, published = arrived(broker_url, "media.cpu.normal")
    assert published == body
    assert (properties.message_id, properties.type, properties.delivery_mode) == (job_id, "flat", 2)
    record = cli_with_broker.record(job_id)
    assert (record.title, record.state, record.lane, record.priority) == ("As typed", "queued", "cpu", "normal")
    assert cli_with_broker.claimed(job_id, published).number == 1


@pytest.mark.parametrize(
    ("fields", "flags", "queue"),
    [
        ({}, (), "media.nvenc.normal"),
        ({"priority": "low"}, (), "media.nvenc.low"),
        ({"priority": "low", "lane": "cpu"}, ("--priority", "high"), "media.cpu.high"),
        ({"lane": "cpu"}, ("--lane", "qsv"), "media.qsv.normal"),
    ],
)
def test_a_job_goes_where_the_flags_then_the_message_then_its_tasks_say(
    cli_with_broker, broker_url, fields, flags, queue
):
    text = json.dumps(fields | {"tasks": [{"module": "shine", "data": {"text": "a"}}]})
    document = json.loads(cli_with_broker.type("submit", cli_with_broker.write("job.json", text), *flags, "--json").out)
    properties, _ = arrived(broker_url, queue)
    assert properties.message_id == document["job_id"]
    assert f"media.{document['lane']}.{document['priority']}" == queue
    assert document["state"] == "queued"


@pytest.mark.parametrize(("make", "helps"), [("insert", False), ("completed", False), ("died", True)])
def test_an_id_that_exists_is_refused_and_names_retry_where_it_helps(cli_with_broker, broker_url, make, helps):
    getattr(cli_with_broker, make)("mine")
    again = cli_with_broker.type("submit", cli_with_broker.write("job.json", message("mine")))
    assert again.code == 1
    assert "choose another id" in again.err
    assert ("`leveret retry mine`" in again.err) is helps
    assert waiting(broker_url, "media.cpu.normal") == 0


@pytest.mark.parametrize(("end", "code"), [("complete", 0), ("bury", 1), ("cancel", 2)])
def test_submit_that_waits_ends_as_the_job_ends(cli_with_broker, broker_url, end, code):
    process = subprocess.Popen(
        [sys.executable, "-m", "worker", "submit", "-", "--wait", "--json"],
        env=cli_with_broker.environment(), stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
    )  # fmt: skip
    process.stdin.write(message("mine"))
    process.stdin.close()
    _, body = arrived(broker_url, "media.cpu.normal")
    attempt = cli_with_broker.claimed("mine", body)
    match end:
        case "complete":
            cli_with_broker.ask(lambda rows: rows.complete(attempt, Result()))
        case "bury":
            cli_with_broker.ask(lambda rows: rows.bury(attempt, Failure("broken", "ToolFailed", "a-worker", 1)))
        case _:
            cli_with_broker.ask(lambda rows: rows.confirm_cancel(attempt))
    out, errors = process.stdout.read(), process.stderr.read()
    process.stdout.close()
    process.stderr.close()
    assert process.wait(timeout=20) == code
    lonely, *reasons = errors.decode().splitlines()
    assert lonely == "leveret: no living worker serves the lane cpu: the job waits until one does"
    assert reasons == (["leveret: mine is dead: ToolFailed: broken"] if end == "bury" else [])
    assert json.loads(out)["job_id"] == "mine"


def test_on_a_terminal_submit_shows_a_progress_bar(cli_with_broker, broker_url):
    cli_with_broker.write("job.json", message("mine"))
    # A terminal without a pseudo-terminal: a container may have none. Rich reads the environment.
    program = "import sys\nfrom worker.cli import main, follow\nfollow.on_terminal = lambda: True\nmain()"
    process = subprocess.Popen(
        [sys.executable, "-c", program, "submit", "job.json", "--watch"],
        env=cli_with_broker.environment()
        | {"TERM": "xterm", "COLUMNS": "120", "FORCE_COLOR": "1", "TTY_INTERACTIVE": "1"},
        stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
    )  # fmt: skip
    _, body = arrived(broker_url, "media.cpu.normal")
    attempt = cli_with_broker.claimed("mine", body)
    cli_with_broker.ask(lambda rows: rows.complete(attempt, Result()))
    shown, _ = process.communicate(timeout=30)
    assert process.returncode == 0
    assert "mine" in shown
    assert "━" in shown
    assert "completed" in shown
    assert "Traceback" not in shown


def test_a_message_that_could_not_be_published_waits_for_retry(cli_with_broker, broker_url):
    with channel_of(broker_url) as channel:
        channel.exchange_delete(JOBS)
    try:
        answer = cli_with_broker.type("submit", cli_with_broker.write("job.json", message("mine")))
    finally:
        with channel_of(broker_url) as channel:
            channel.exchange_declare(JOBS, "topic", durable=True, arguments={"alternate-exchange": UNROUTED})
            for binding in topology().bindings:
                channel.queue_bind(binding.queue, binding.exchange, binding.routing_key)
    assert answer.code == 1
    assert "media.jobs" in answer.err
    assert "`leveret retry mine` publishes it" in answer.err
    assert cli_with_broker.record("mine").state == "cancelled"
    assert cli_with_broker.type("retry", "mine").code == 0
    properties, body = arrived(broker_url, "media.cpu.normal")
    assert properties.message_id == "mine"
    assert cli_with_broker.claimed("mine", body).round == 2


def test_submit_says_at_once_that_a_callback_is_refused_and_that_no_worker_is_well(cli_with_broker):
    worker = WorkerRecord(
        worker_id="w", hostname="h", pid=1, version="1", status="paused", lanes=["cpu"], problem="/srv is not there"
    )
    cli_with_broker.ask(lambda rows: rows.beat(worker))
    body = json.loads(message("mine")) | {"callback_url": "https://127.0.0.1/done"}
    answer = cli_with_broker.type("submit", cli_with_broker.write("job.json", json.dumps(body)))
    assert (answer.code, answer.out) == (0, "mine\n")
    callback, worker_line = answer.err.splitlines()
    assert callback.startswith(
        "leveret: callback_url is refused: 127.0.0.1 leads to 127.0.0.1, which is no public address"
    )
    assert worker_line == "leveret: every worker of the lane cpu has a problem: w: /srv is not there"
