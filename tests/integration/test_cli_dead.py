"""`leveret dead` with a real broker: looked at, replayed and purged, and nothing lost meanwhile."""

from __future__ import annotations

import json
import subprocess
import sys

import pika.exceptions
import pytest

from tests.support.command_line import message
from tests.support.dead_letters import GARBAGE, arrived, buried, refuse, sha, waiting
from tests.support.hostile import EXPIRATION, UNDECODABLE, publish_all, short
from tests.support.queues import bury, channel_of, wait_for_dead
from worker.core.message.wire import MAX_BODY_BYTES
from worker.core.routing import DEAD_QUEUE, JOBS


def test_the_dead_are_listed_with_their_reasons(cli_with_broker, broker_url):
    assert cli_with_broker.type("dead", "list").out == "no dead messages\n"
    assert json.loads(cli_with_broker.type("dead", "list", "--json").out) == []
    buried(cli_with_broker, broker_url, "mine")
    bury(broker_url, [GARBAGE])
    refuse(cli_with_broker, GARBAGE, "not JSON: at line 1", "and more")
    for _ in range(2):
        listed = json.loads(cli_with_broker.type("dead", "list", "--json").out)
        wait_for_dead(broker_url, 2)
    by_kind = {entry["kind"]: entry for entry in listed}
    assert set(by_kind) == {"job", "refusal"}
    assert by_kind["job"]["reasons"] == ["ffmpeg exited 1 after 3 s"]
    assert (by_kind["job"]["job_id"], by_kind["job"]["error_type"]) == ("mine", "ToolFailed")
    assert by_kind["refusal"]["reasons"] == ["not JSON: at line 1", "and more"]
    assert by_kind["refusal"]["sha256"] == sha(GARBAGE)
    table = cli_with_broker.type("dead", "list", "--limit", "1").out
    assert "… and 1 older ones" in table


def test_a_body_that_was_refused_once_and_died_as_a_job_later_is_that_job(cli_with_broker, broker_url):
    refuse(cli_with_broker, message("mine"), "unknown module 'echo'", message_id="mine")
    buried(cli_with_broker, broker_url, "mine")
    (entry,) = json.loads(cli_with_broker.type("dead", "list", "--json").out)
    assert (entry["kind"], entry["reasons"]) == ("job", ["ffmpeg exited 1 after 3 s"])


def test_the_newest_dead_message_is_shown_with_every_reason(cli_with_broker, broker_url):
    bury(broker_url, [GARBAGE])
    refuse(cli_with_broker, GARBAGE, "not JSON: at line 1", "and more")
    said = cli_with_broker.type("dead", "show").out
    assert "reason: not JSON: at line 1" in said
    assert "reason: and more" in said
    assert GARBAGE.decode() in said
    for name in (sha(GARBAGE)[:8], "by-message"):
        assert json.loads(cli_with_broker.type("dead", "show", name, "--json").out)["body"] == GARBAGE.decode()
    wait_for_dead(broker_url, 1)
    assert "no dead message is called 'elsewhere'" in cli_with_broker.type("dead", "show", "elsewhere").err


def test_showing_when_nothing_is_dead_is_reported(cli_with_broker):
    answer = cli_with_broker.type("dead", "show")
    assert (answer.code, answer.out) == (1, "")


def test_bytes_that_are_no_text_can_be_shown(cli_with_broker, broker_url):
    bury(broker_url, [b"\xff\x1b[31m\x00"])
    said = cli_with_broker.type("dead", "show")
    assert said.code == 0
    assert "\x1b" not in said.out
    assert "\\xff" in said.out


def test_a_dead_message_shows_no_secret(cli_with_broker, broker_url):
    valid = b'{"renderType": "GOURCE", "repoURL": "https://u:pw@h/r", "videoId": "v", "token": "hush\\u0021"}'
    broken = b'{"renderType": "GOURCE", "token": "hush"'
    bury(broker_url, [valid, broken])
    for name in (sha(valid)[:10], sha(broken)[:10]):
        shown = cli_with_broker.type("dead", "show", name, "--json").out
        assert json.loads(shown)["sha256"].startswith(name)
        assert "hush" not in shown
        assert "pw@" not in shown


def test_dead_messages_with_one_id_are_distinct_by_digest(cli_with_broker, broker_url):
    first, second = message("twin", "a"), message("twin", "b")
    bury(broker_url, [first, second], message_id=None)
    answer = cli_with_broker.type("dead", "show", "twin")
    assert answer.code == 1
    assert sha(first)[:12] in answer.err
    assert cli_with_broker.type("dead", "show", sha(second)[:12]).code == 0


def test_a_replayed_refusal_goes_out_as_it_came(cli_with_broker, broker_url):
    bury(broker_url, [GARBAGE])
    refuse(cli_with_broker, GARBAGE, "not JSON")
    assert cli_with_broker.type("dead", "replay", sha(GARBAGE)[:12]).code == 0
    properties, body = arrived(broker_url, "media.cpu.low")
    assert (body, properties.message_id) == (GARBAGE, "by-message")
    wait_for_dead(broker_url, 0)


def test_all_are_replayed_but_for_a_job_that_is_done(cli_with_broker, broker_url):
    body = cli_with_broker.completed("done")
    bury(broker_url, [body], message_id="done")
    buried(cli_with_broker, broker_url, "mine")
    bury(broker_url, [GARBAGE])
    answer = cli_with_broker.type("dead", "replay", "--all", "--json")
    assert answer.code == 1
    assert json.loads(answer.out)["replayed"] == 2
    assert "done is completed" in answer.err
    wait_for_dead(broker_url, 1)
    assert waiting(broker_url, "media.cpu.low") == 2
    assert cli_with_broker.record("mine").state == "queued"


def test_purging_deletes_what_was_named_and_no_more(cli_with_broker, broker_url):
    bury(broker_url, [GARBAGE, b"more"])
    refuse(cli_with_broker, GARBAGE, "not JSON")
    assert cli_with_broker.type("dead", "purge", sha(GARBAGE)[:12], "--yes").out == "1 dead message deleted\n"
    wait_for_dead(broker_url, 1)
    assert cli_with_broker.ask(lambda rows: rows.refusals()) == []
    assert json.loads(cli_with_broker.type("dead", "purge", "-y", "--json").out) == {"purged": 1}
    wait_for_dead(broker_url, 0)


def test_a_killed_looker_loses_no_dead_message(cli_with_broker, broker_url):
    bury(broker_url, [GARBAGE])
    code = (
        "import time; from worker.adapters.rabbitmq.publisher import Publisher; import os\n"
        "broker = Publisher(os.environ['WORKER_BROKER_URL']).__enter__()\n"
        "print(len(list(broker.dead_letters())), flush=True); time.sleep(60)"
    )
    looker = subprocess.Popen([sys.executable, "-c", code], env=cli_with_broker.environment(), stdout=subprocess.PIPE)
    assert looker.stdout.readline() == b"1\n"
    assert waiting(broker_url, DEAD_QUEUE) == 0
    looker.kill()
    looker.wait()
    looker.stdout.close()
    wait_for_dead(broker_url, 1)


def test_a_dead_message_that_no_client_decodes_hides_no_other(cli_with_broker, broker_url):
    # They expire: what a forged death does to RabbitMQ 3.10 then is another matter.
    expiring = [own | {EXPIRATION: short("1")} for name, own in UNDECODABLE.items() if name != "deep death"]
    hostile = [(b"bad %d" % number, own, "cpu.low") for number, own in enumerate(expiring)]
    publish_all(broker_url, [*hostile, (b"bad key", {EXPIRATION: short("1")}, b"cpu.low\xff")])
    wait_for_dead(broker_url, len(hostile) + 1)
    bury(broker_url, [GARBAGE])
    listed = json.loads(cli_with_broker.type("dead", "list", "--json").out)
    assert len(listed) == len(hostile) + 2
    for entry in listed:
        shown = cli_with_broker.type("dead", "show", entry["sha256"][:12], "--json")
        assert (shown.code, json.loads(shown.out)["sha256"]) == (0, entry["sha256"])
    assert cli_with_broker.type("dead", "show", sha(GARBAGE)[:12]).code == 0
    assert cli_with_broker.type("dead", "replay", sha(b"bad 0")[:12]).code == 0
    assert cli_with_broker.type("dead", "purge", sha(b"bad 1")[:12], "--yes").code == 0
    assert cli_with_broker.type("dead", "replay", "--all").code == 0
    wait_for_dead(broker_url, 0)


def test_a_dead_job_is_replayed_with_another_document_in_the_place_of_a_wrong_one(cli_with_broker, broker_url):
    buried(cli_with_broker, broker_url, "mine")
    wrong = cli_with_broker.write("wrong.json", message("another"))
    assert "the dead message is the job mine" in cli_with_broker.type("dead", "replay", "mine", "--with", wrong).err
    wait_for_dead(broker_url, 1)
    right = cli_with_broker.write("right.json", b'{"tasks": [{"module": "echo", "data": {"text": "corrected"}}]}')
    assert cli_with_broker.type("dead", "replay", "mine", "--with", right).code == 0
    properties, body = arrived(broker_url, "media.cpu.normal")
    assert (properties.message_id, json.loads(body)["tasks"][0]["data"]) == ("mine", {"text": "corrected"})
    wait_for_dead(broker_url, 0)
    record = cli_with_broker.record("mine")
    assert (record.state, record.round, record.document["tasks"][0]["data"]) == ("queued", 2, {"text": "corrected"})


def test_of_a_message_of_megabytes_only_what_a_job_may_have_is_held_and_it_is_not_replayed(cli_with_broker, broker_url):
    body = b"[" + b" " * 3_000_000
    bury(broker_url, [body])
    (entry,) = json.loads(cli_with_broker.type("dead", "list", "--json").out)
    assert (entry["bytes"], entry["sha256"]) == (len(body), sha(body))
    assert (
        len(json.loads(cli_with_broker.type("dead", "show", "by-message", "--json").out)["body"]) == MAX_BODY_BYTES + 1
    )
    refused = cli_with_broker.type("dead", "replay", "by-message")
    assert (refused.code, "too many for a job" in refused.err) == (1, True)
    wait_for_dead(broker_url, 1)
    assert cli_with_broker.type("dead", "purge", "by-message", "--yes").code == 0
    wait_for_dead(broker_url, 0)


def test_the_broker_takes_no_message_of_more_megabytes_than_a_worker_can_hold_of_each_queue(broker_url):
    with channel_of(broker_url) as channel, pytest.raises(pika.exceptions.ChannelClosedByBroker) as refused:
        channel.basic_publish(JOBS, "cpu.low", b" " * (17 << 20))
    assert refused.value.reply_code == 406
