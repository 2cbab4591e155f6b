"""What publishers that never read our manual send, on a real broker: a job where it can be one, else a dead letter."""

from __future__ import annotations

import asyncio
import gzip
import json
import resource
from datetime import UTC, datetime
from typing import Any

import pytest
from aio_pika import DeliveryMode

from tests.support.engine import document
from worker.core.attempt import Completed, Dead, Forward
from worker.core.listing import JobFilter
from worker.core.message.wire import MAX_BODY_BYTES

pytestmark = pytest.mark.xdist_group("rabbitmq")

PLAIN = json.dumps(document(job_id="foreign")).encode()
DEPTH = 10_000

TAKEN: dict[str, tuple[bytes, dict[str, Any]]] = {
    "a transient message": (PLAIN, {"delivery_mode": DeliveryMode.NOT_PERSISTENT}),
    "no content type": (PLAIN, {"content_type": None}),
    "a content type that is wrong": (PLAIN, {"content_type": "image/png"}),
    "a content type of another encoding": (PLAIN, {"content_type": "application/json; charset=utf-16"}),
    "a content encoding that is not so": (PLAIN, {"content_encoding": "gzip"}),
    "a type that we do not know": (PLAIN, {"type": "celery.task", "app_id": "x", "user_id": None}),
    "a byte order mark": (b"\xef\xbb\xbf" + PLAIN, {}),
    "blanks around it": (b"\r\n\t " + PLAIN + b"\n" * 1000, {}),
    "as many bytes as are allowed": (PLAIN + b" " * (MAX_BODY_BYTES - len(PLAIN)), {}),
    "a priority of the message": (PLAIN, {"priority": 255}),
    "a time long past": (PLAIN, {"timestamp": datetime(1971, 1, 1, tzinfo=UTC)}),
    "somebody's reply-to": (PLAIN, {"reply_to": "amq.rabbitmq.reply-to.x", "correlation_id": "ü" * 80}),
    "our own headers, as nonsense": (
        PLAIN,
        {"headers": {"x-attempt": "many", "x-round": -1, "x-first-queued-at": [], "x-lane": 7, "x-refused-by": {}}},
    ),
    "counts beyond every count": (PLAIN, {"headers": {"x-attempt": 2**62, "x-round": 2**62, "x-max-attempts": -1}}),
    "a death that no broker wrote": (PLAIN, {"headers": {"x-death": [{"reason": "expired", "count": -1}, None, 5]}}),
    "headers of every kind": (
        PLAIN,
        {
            "headers": {
                "ä" * 60: bytearray(b"\xff\xfe"),
                "n": None,
                "f": 1.5,
                "t": datetime.now(UTC),
                "l": [{"a": [1, True]}],
            }
        },
    ),
    "two hundred headers": (PLAIN, {"headers": {f"h{index}": "x" * 200 for index in range(200)}}),
    "an id of the message beside the body's": (PLAIN, {"message_id": "../other id"}),
}

REFUSED: dict[str, tuple[bytes, str]] = {
    "nothing": (b"", "not JSON"),
    "UTF-16": (PLAIN.decode().encode("utf-16"), "not UTF-8"),
    "UTF-32": (PLAIN.decode().encode("utf-32-be"), "NUL|not JSON"),
    "Latin-1": (json.dumps(document(job_title="ü"), ensure_ascii=False).encode("latin-1"), "not UTF-8"),
    "EBCDIC": (PLAIN.decode().encode("cp500"), "not UTF-8|not JSON"),
    "gzip": (gzip.compress(PLAIN), "not UTF-8"),
    "one byte more than is allowed": (PLAIN + b" " * (MAX_BODY_BYTES - len(PLAIN) + 1), "at most"),
    "a key that is twice": (PLAIN.replace(b"{", b'{"job_id": "other", ', 1), "is twice"),
    "a key that is twice, deep inside": (
        b'{"tasks": [{"module": "write", "data": {"name": "a", "name": "b"}}]}',
        "is twice",
    ),
    "lists ten thousand deep": (b"[" * DEPTH + b"]" * DEPTH, "deeper than"),
    "objects ten thousand deep": (b'{"a":' * DEPTH + b"1" + b"}" * DEPTH, "deeper than"),
    "ten thousand deep and never closed": (b'{"tasks":' + b"[" * DEPTH, "deeper than"),
    "depth hidden behind a quote": (b'{"a": "\\"", "b": ' + b"[" * DEPTH + b"]" * DEPTH + b"}", "deeper than"),
    "NaN": (b'{"job_id": "a", "timeout": NaN, "tasks": []}', "no number"),
    "a number of five thousand digits": (b'{"timeout": ' + b"9" * 5000 + b"}", "digits"),
    "a NUL in a text": (b'{"job_id": "a", "job_title": "a\\u0000b", "tasks": []}', "NUL"),
    "half a surrogate pair": (b'{"job_id": "a", "job_title": "\\ud800", "tasks": []}', "surrogate"),
    "two documents": (PLAIN + PLAIN, "not JSON"),
    "Python's own pickle": (b"\x80\x04\x95\x10\x00", "not UTF-8"),
    "a list of jobs": (b"[" + PLAIN + b"]", "not a list"),
    "a text": (json.dumps(PLAIN.decode()).encode(), "not a str"),
    "an id that is a path": (json.dumps(document(job_id="../../etc")).encode(), "job_id"),
    "a hundred and one tasks": (json.dumps(document(tasks=[{"module": "write", "data": {}}] * 101)).encode(), "100"),
}


@pytest.mark.parametrize("name", TAKEN)
async def test_a_job_is_done_whatever_its_publisher_says_around_it(harness, broker, name):
    body, properties = TAKEN[name]
    await broker.publish(body, **properties)
    settlement = await harness.one()
    assert isinstance(settlement.outcome, Completed)
    record = await harness.repository.job("foreign")
    assert (record.state, len(record.attempts)) == ("completed", 1)
    await broker.settled()


@pytest.mark.parametrize("name", REFUSED)
async def test_a_message_that_is_no_job_is_dead_with_a_reason_and_the_next_one_runs(harness, broker, name):
    body, word = REFUSED[name]
    await broker.publish(body, message_id="foreign")
    assert isinstance((await harness.one()).outcome, Dead)
    (refusal,) = await harness.repository.refusals()
    assert any(found in "; ".join(refusal.problems) for found in word.split("|")), refusal.problems
    assert len(refusal.excerpt) <= 2000
    letter = await broker.dead()
    assert (letter.body, letter.message_id) == (body, "foreign")
    await broker.publish(PLAIN)
    assert isinstance((await harness.one()).outcome, Completed)
    await broker.settled()


async def test_a_transient_message_without_ids_or_type_is_persistent_once_it_is_ours(harness, broker):
    await broker.publish_bare({"tasks": [{"module": "write", "data": {}}]})
    adopted = (await harness.one()).outcome
    assert isinstance(adopted, Forward)
    assert isinstance((await harness.one()).outcome, Completed)
    (job,) = (await harness.repository.page(JobFilter("completed"), 10)).jobs
    assert job.job_id


async def test_hostile_messages_take_no_memory_that_stays(harness, broker):
    bodies = [REFUSED[name][0] for name in REFUSED if len(REFUSED[name][0]) > DEPTH]
    for body in bodies:
        await broker.publish(body)
        await harness.one()
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    for number in range(10):
        await asyncio.gather(*(broker.publish(body + b" " * number) for body in bodies))
        for _ in bodies:
            await harness.one()
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 64 * 1024


async def test_the_record_of_a_refused_message_holds_no_password(harness, broker):
    url = "https://bob:planted@example.org/a"
    await broker.publish({"job_id": "foreign", "tasks": [{"module": "write", "data": {}, url: 1}], "callback_url": url})
    await harness.one()
    (refusal,) = await harness.repository.refusals()
    assert "planted" not in refusal.model_dump_json()
    assert "[hidden]@example.org" in "".join(refusal.problems)


async def test_the_same_message_without_an_id_is_as_many_jobs_as_it_was_published(harness, broker):
    """At an idle worker deliveries race in and come back as redelivered: they are other messages all the same."""
    body = {"tasks": [{"module": "write", "data": {}}]}
    times = 6
    for _ in range(times):
        for key in ("cpu.high", "cpu.normal", "cpu.low"):
            await broker.publish_bare(body, key)
        for _ in range(3):
            delivery = await harness.consumer.next()
            await delivery.give_back()
    async with asyncio.timeout(60):
        while await harness.repository.counts() != {"completed": 3 * times}:
            await harness.one()
    await broker.settled()
