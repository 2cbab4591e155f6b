"""`leveret retry` with a real broker: a new round of a job that ended, or whose message was lost."""

from __future__ import annotations

import json

import pika

from tests.support.command_line import message
from tests.support.dead_letters import GARBAGE, arrived, buried, refuse, waiting
from tests.support.planned import as_jobs, plan_of
from tests.support.queues import bury, channel_of, wait_for_dead
from tests.support.repositories import granted
from worker.core.attempt import Failure
from worker.core.routing import retry_name


def test_retry_of_a_dead_job_replays_its_message_in_a_new_round(cli_with_broker, broker_url):
    body = buried(cli_with_broker, broker_url, "mine")
    answer = cli_with_broker.type("retry", "mine", "--json")
    assert answer.code == 0
    assert (json.loads(answer.out)["state"], json.loads(answer.out)["round"]) == ("queued", 2)
    properties, published = arrived(broker_url, "media.cpu.low")
    assert published == body
    assert "x-death" not in properties.headers
    wait_for_dead(broker_url, 0)
    assert cli_with_broker.claimed("mine", published).round == 2


def test_retry_leaves_the_dead_messages_of_others_alone(cli_with_broker, broker_url):
    borrowed = b'{"job_id": "mine", "tasks": [{"module": "echo", "data": {"text": "another"}}]}'
    bury(broker_url, [borrowed, GARBAGE], message_id=None)
    refuse(
        cli_with_broker,
        borrowed,
        "the id mine belongs to a job with another body",
        message_id=None,
        kind="IdReused",
    )
    body = buried(cli_with_broker, broker_url, "mine")
    assert cli_with_broker.type("retry", "mine").code == 0
    assert arrived(broker_url, "media.cpu.low")[1] == body
    wait_for_dead(broker_url, 2)


def test_retry_without_a_dead_message_publishes_what_the_database_keeps(cli_with_broker, broker_url):
    cli_with_broker.died("mine-and-only")
    answer = cli_with_broker.type("retry", "mine")
    assert answer.code == 0
    assert "from the database" in answer.out
    _, body = arrived(broker_url, "media.cpu.low")
    attempt = cli_with_broker.claimed("mine-and-only", body)
    assert (attempt.round, attempt.job.title) == (2, "Title of mine-and-only")
    assert attempt.job.tasks[0].data == {"text": "hello"}


def test_retry_publishes_a_queued_job_whose_message_was_lost(cli_with_broker, broker_url):
    cli_with_broker.insert("mine")
    assert cli_with_broker.type("retry", "mine").code == 0
    _, body = arrived(broker_url, "media.cpu.low")
    assert cli_with_broker.claimed("mine", body).number == 1


def test_retry_of_a_part_runs_the_job_that_it_is_of(cli_with_broker, broker_url):
    body = cli_with_broker.insert("film")
    attempt, plan = cli_with_broker.claimed("film", body), plan_of(count=2)
    planned = as_jobs(plan, "film")

    async def buried_part(repository):
        await repository.divide(attempt, plan.document(), planned, ())
        part = await granted(repository, a_job=planned[1].job, digest=planned[1].digest)
        await repository.bury(part, Failure("broken", "ToolFailed", "a-worker", 4))
        messages = await repository.outbox(0.0, 10)
        await repository.published([message.number for message in messages])

    cli_with_broker.ask(buried_part)
    assert cli_with_broker.record("film").state == "dead"
    answer = cli_with_broker.type("retry", "film.p0001", "--json")
    assert answer.code == 0, answer.err
    assert (json.loads(answer.out)["job_id"], json.loads(answer.out)["round"]) == ("film", 2)
    assert cli_with_broker.claimed("film", arrived(broker_url, "media.cpu.low")[1]).round == 2


def test_retry_of_an_id_that_was_cancelled_before_it_came_is_refused(cli_with_broker):
    cli_with_broker.type("cancel", "later", "--unseen")
    answer = cli_with_broker.type("retry", "later")
    assert answer.code == 1
    assert "the database keeps no message of later" in answer.err


def test_retry_leaves_a_queued_job_that_waits_its_turn(cli_with_broker, broker_url):
    assert cli_with_broker.type("submit", cli_with_broker.write("job.json", message("mine"))).code == 0
    answer = cli_with_broker.type("retry", "mine")
    assert answer.code == 1
    assert "1 messages wait in media.cpu.normal" in answer.err
    assert (cli_with_broker.record("mine").state, waiting(broker_url, "media.cpu.normal")) == ("queued", 1)


def test_retry_refuses_what_is_running_or_done(cli_with_broker, broker_url):
    cli_with_broker.completed("done")
    cli_with_broker.claimed("busy", cli_with_broker.insert("busy"))
    assert "submit it again under another id" in cli_with_broker.type("retry", "done").err
    assert "busy is running" in cli_with_broker.type("retry", "busy").err
    assert cli_with_broker.type("retry", "nobody").code == 1


def test_retry_of_a_retrying_job_takes_its_message_out_of_the_delay_and_lets_it_run_now(cli_with_broker, broker_url):
    body = cli_with_broker.insert("mine")
    attempt = cli_with_broker.claimed("mine", body)
    failure = Failure("the storage is away", "StorageUnavailable", "a-worker", 1)
    cli_with_broker.ask(lambda rows: rows.retry_later(attempt, failure, 30.0))
    with channel_of(broker_url) as channel:
        channel.queue_purge(retry_name(30))
        properties = pika.BasicProperties(delivery_mode=2, message_id="mine", headers={"x-attempt": 1, "x-round": 1})
        channel.basic_publish(retry_name(30), "", body, properties, mandatory=True)
    assert "next try" in cli_with_broker.type("job", "mine").out
    answer = json.loads(cli_with_broker.type("retry", "mine", "--json").out)
    assert (answer["job_id"], answer["round"]) == ("mine", 1)
    properties, published = arrived(broker_url, "media.cpu.low")
    assert (published, properties.message_id, properties.headers["x-attempt"]) == (body, "mine", 1)
    assert waiting(broker_url, retry_name(30)) == 0
    assert cli_with_broker.claimed("mine", published).number == 2
