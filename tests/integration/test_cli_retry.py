"""`leveret retry` with a real broker: a new round of a job that ended, or whose message was lost."""

from __future__ import annotations

import json

from desk import message
from mail import bury, wait_for_dead
from office import GARBAGE, arrived, buried, refuse, waiting


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
