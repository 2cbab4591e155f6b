"""`leveret reconcile`: what the database, the broker and the storage do not agree on, shown and mended."""

from __future__ import annotations

import json
from contextlib import contextmanager
from dataclasses import replace
from typing import TYPE_CHECKING

import pytest

from tests.support.command_line import message
from tests.support.queues import channel_of, depth, taken
from worker.core.attempt import Artifact, Result

if TYPE_CHECKING:
    from collections.abc import Iterator

pytestmark = pytest.mark.xdist_group("rabbitmq")


@pytest.fixture
def cli_with_broker(cli, broker_url, monkeypatch):
    """A command line whose broker answers, with a storage."""
    monkeypatch.setenv("WORKER_BROKER_URL", broker_url)
    (cli.folder / "storage").mkdir()
    monkeypatch.setenv("WORKER_STORAGE_URL", f"file://{cli.folder}/storage")
    return cli


def reconciled(cli_with_broker, *words: str) -> tuple[int, list[dict]]:
    answer = cli_with_broker.type("reconcile", "--json", "--overdue", "0", *words)
    assert answer.err == ""
    return answer.code, json.loads(answer.out)


@contextmanager
def message_in(url: str, queue: str) -> Iterator[tuple[object, bytes]]:
    with channel_of(url) as channel:
        method, properties, body = taken(channel, queue)
        yield properties, body
        channel.basic_ack(method.delivery_tag)


def test_reconcile_reports_nothing_where_database_broker_and_storage_agree(cli_with_broker):
    cli_with_broker.completed("done")
    assert reconciled(cli_with_broker) == (0, [])
    answer = cli_with_broker.type("reconcile")
    assert (answer.code, answer.out) == (0, "database, broker and storage agree\n")


def test_a_row_whose_message_is_lost_is_shown_and_on_request_published_again(cli_with_broker, broker_url):
    cli_with_broker.insert("lost")
    code, found = reconciled(cli_with_broker)
    assert (code, [(item["kind"], item["job_id"], item["done"]) for item in found]) == (
        1,
        [("job without a message", "lost", "")],
    )
    with channel_of(broker_url) as channel:
        assert depth(channel, "media.cpu.low") == 0
    code, found = reconciled(cli_with_broker, "--mend")
    assert (code, found[0]["done"]) == (0, "published again, from the database")
    with message_in(broker_url, "media.cpu.low") as (properties, body):
        assert (properties.message_id, properties.delivery_mode) == ("lost", 2)
        # The database knows the very body that was published: a worker may claim it.
        cli_with_broker.claimed("lost", body)
    assert cli_with_broker.record("lost").state == "running"


def test_a_job_whose_message_waits_is_left_alone(cli_with_broker, broker_url):
    cli_with_broker.type("submit", cli_with_broker.write("job.json", message("waits")), "--priority", "low")
    assert cli_with_broker.record("waits").state == "queued"
    assert reconciled(cli_with_broker, "--mend") == (0, [])


def test_more_overdue_rows_than_messages_are_reported_and_not_guessed_at(cli_with_broker, broker_url):
    cli_with_broker.type("submit", cli_with_broker.write("job.json", message("waits")), "--priority", "low")
    cli_with_broker.insert("lost")
    code, found = reconciled(cli_with_broker, "--mend")
    assert code == 1
    assert found[0]["fact"].startswith("at least 1: 2 jobs of media.cpu.low are overdue, and 1 messages wait")


def test_an_expired_lease_without_a_message_is_mended(cli_with_broker, broker_url):
    body = cli_with_broker.insert("left")
    attempt = cli_with_broker.claimed("left", body)
    cli_with_broker.ask(lambda rows: rows.renew(replace(attempt, lease_seconds=-5.0)))
    code, found = reconciled(cli_with_broker, "--mend")
    assert (code, found[0]["fact"].split(";")[0]) == (0, "running")
    record = cli_with_broker.record("left")
    assert (record.state, record.attempts[0].outcome) == ("queued", "crashed")


def test_orphaned_uploads_pending_deletions_and_left_scratch_are_shown_and_mended(cli_with_broker):
    storage, scratch = cli_with_broker.folder / "storage", cli_with_broker.folder / "scratch"
    body = cli_with_broker.insert("made")
    attempt = cli_with_broker.claimed("made", body)
    orphan, main, source = storage / "made/e1-0123456789ab/segment", storage / "made/main", storage / "source"
    orphan.parent.mkdir(parents=True)
    for path in (orphan, main, source):
        path.write_text("x")
    artifact = Artifact("file", main, f"file://{main}", "text/plain", 1, "f" * 64)
    cli_with_broker.ask(lambda rows: rows.announce(attempt, [f"file://{orphan}", f"file://{main}"]))
    cli_with_broker.ask(
        lambda rows: rows.complete(attempt, Result(artifacts=(artifact,), deletions=(f"file://{source}",)))
    )
    (scratch / "made.7").mkdir(parents=True)
    code, found = reconciled(cli_with_broker)
    kinds = [(item["kind"], item["job_id"], item["done"]) for item in found]
    assert (code, kinds) == (
        1,
        [("deletion that is due", "made", ""), ("orphaned upload", "made", ""), ("left scratch", "made", "")],
    )
    assert orphan.exists()
    code, found = reconciled(cli_with_broker, "--mend")
    assert (code, [item["done"] for item in found]) == (0, ["deleted", "deleted", "removed"])
    assert [path.exists() for path in (orphan, main, source, scratch / "made.7")] == [False, True, False, False]
    assert reconciled(cli_with_broker) == (0, [])
